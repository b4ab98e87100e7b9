"""How ChatGLM3 is shown its tools, and how its earlier calls are written: letter by letter as it was trained.

Sources: `build_chat_input` in `tokenization_chatglm.py` of THUDM's chatglm3-6b, `composite_demo` and `PROMPT.md` of its
repository. Functions are a JSON list under a sentence; the code interpreter is a system prompt of its own.
"""

import json
from typing import Final

from glmserve.v1.message_pb2 import ToolCall
from glmserve_server.dialects import pythoncall
from glmserve_server.dialects.toolbox import Toolbox, declaration
from glmserve_server.text import half_character

INTERPRETER: Final = "interpreter"
"""What the model calls the built-in tool `python`."""

CALL_BEGINS: Final = f"```python\n{pythoncall.NAME}("
"""What comes after the name of a function that is called."""

_FUNCTIONS: Final = "Answer the following questions as best as you can. You have access to the following tools:"
_CODE: Final = (
    "你是一位智能AI助手，你叫ChatGLM，你连接着一台电脑，但请注意不能联网。"
    "在使用Python解决任务时，你可以运行代码并得到结果，如果运行结果有错误，你需要尽可能对代码进行改进。"
    "你可以处理用户上传到电脑上的文件，文件默认存储路径是/mnt/data/。"
)


def system_prompt(toolbox: Toolbox, own: str) -> str:
    """The content of the first system turn: the request's own system message, if it has one, and the tools."""
    parts = [own] if own else []
    if "python" in toolbox.builtins and _CODE not in own:
        parts.append(_CODE)
    if toolbox.functions:
        if _FUNCTIONS not in own:
            parts.append(_FUNCTIONS)
        functions = [declaration(function) for function in toolbox.functions]
        parts.append(json.dumps(functions, indent=4, ensure_ascii=False))
    return "\n".join(parts)


def metadata(call: ToolCall, toolbox: Toolbox) -> str:
    """The first line of an earlier call's turn."""
    return INTERPRETER if _is_interpreted(call, toolbox) else call.name


def content(call: ToolCall, toolbox: Toolbox) -> str:
    """What follows it."""
    if _is_interpreted(call, toolbox):
        return f"```python\n{_code(call.arguments_json)}\n```"
    return f"```python\n{pythoncall.written(call.arguments_json)}\n```"


def _is_interpreted(call: ToolCall, toolbox: Toolbox) -> bool:
    return call.name == "python" and call.name in toolbox.earlier


def _code(arguments_json: str) -> str:
    try:
        code = json.loads(arguments_json)["code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return arguments_json
    return code if isinstance(code, str) and not half_character(code) else arguments_json

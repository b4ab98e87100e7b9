"""How GLM-4 is told of functions: the first system turn of a conversation with tools."""

from __future__ import annotations

import json
from collections.abc import Sequence

from .conversation import Turn

PREAMBLE = (
    "你是一个名为 ChatGLM 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 模型开发的，"
    "你的任务是针对用户的问题和要求提供适当的答复和支持。\n\n# 可用工具"
)
ENDING = "\n在调用上述函数时，请使用 Json 格式表示调用的参数。"

EXAMPLE = {
    "name": "get_weather",
    "description": "Get the current weather of a city",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "The city"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "The unit"},
            "days": {"type": "integer"},
            "limit": {"type": "number"},
        },
        "required": ["city"],
    },
}


def declaration(functions: Sequence[dict]) -> Turn:
    """Return the system turn that declares functions: objects of name, description and parameters."""
    parts = (
        f"\n\n## {function['name']}\n\n{json.dumps(function, ensure_ascii=False, indent=4)}{ENDING}"
        for function in functions
    )
    return Turn("system", PREAMBLE + "".join(parts))


def call(name: str, arguments: dict) -> Turn:
    """Return the turn in which the assistant calls a function."""
    return Turn("assistant", json.dumps(arguments, ensure_ascii=False), name)

"""Checks a chat request before anything is done with it, once for both faces.

Field paths are the contract's: `temperature`, `messages[0].content`, `tools[2].function.name`.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Final

from glmserve.v1 import content_pb2, message_pb2, tool_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest, ResponseFormat
from glmserve.v1.message_pb2 import Message, ToolCall
from glmserve.v1.token_pb2 import TokenizeRequest
from glmserve.v1.tool_pb2 import AllowedTools, Tool, ToolChoice
from glmserve_server.errors import InvalidArgument
from glmserve_server.text import half_character

# The comments in proto/ and docs/http.md name these bounds as well.
MAX_MESSAGES: Final = 4096
MAX_PARTS: Final = 16_384
MAX_CALLS: Final = 4096
MAX_IMAGES: Final = 64
MAX_IMAGE_BYTES: Final = 20 * 1024 * 1024
MAX_TOOLS: Final = 128
MAX_TOOLS_BYTES: Final = 1024 * 1024
MAX_STOPS: Final = 4
MAX_STOP_CHARS: Final = 1024
MAX_LOGIT_BIAS: Final = 1024
MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_SCHEMA_DEPTH: Final = 64
MAX_NAME_CHARS: Final = 256
MAX_KEY_CHARS: Final = 1024
MAX_TOKEN_IDS: Final = 1 << 20

_STRINGS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS: Final = re.compile(r"[\[\]{}]")
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")

_OF_CONVERSATIONS: Final = ("tools", "tool_choice", "response_format", "reasoning")
"""Fields that mean something in conversations alone."""

# field: (smallest, largest); see the comments in chat.proto.
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "max_completion_tokens": (1, math.inf),
    "n": (1, 128),
    "temperature": (0, 2),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "repetition_penalty": (0.01, 2),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "top_logprobs": (0, 20),
}


def check(request: ChatCompletionRequest) -> None:
    """Raises `InvalidArgument` for the first fault found."""
    _check_numbers(request)
    _check_stops(request)
    for key in ("prompt_cache_key", "user"):
        _check_length(getattr(request, key), MAX_KEY_CHARS, key)
    if request.HasField("prompt"):
        _check_prompt(request)
    else:
        _check_messages(request)
    functions = _check_tools(request)
    if request.HasField("tool_choice"):
        _check_tool_choice(request.tool_choice, functions)
    if request.HasField("response_format"):
        _check_response_format(request.response_format)


def check_tokenize(request: TokenizeRequest) -> None:
    """Raises `InvalidArgument` for tokens that are to become tokens. The rest is for `check`."""
    if request.chat.prompt.HasField("token_ids"):
        raise InvalidArgument("prompt must be a text, not token_ids, which are tokens already", field="prompt")


def check_token_ids(ids: Sequence[int], path: str) -> None:
    """Raises `InvalidArgument` for too many."""
    if len(ids) > MAX_TOKEN_IDS:
        raise InvalidArgument(f"{path} may hold at most {MAX_TOKEN_IDS} ids, not {len(ids)}", field=path)


def _check_numbers(request: ChatCompletionRequest) -> None:
    for field, (low, high) in _RANGES.items():
        if request.HasField(field):  # type: ignore[arg-type]
            _check_range(field, getattr(request, field), low, high)
    _check_count(len(request.logit_bias), MAX_LOGIT_BIAS, "entries", "logit_bias")
    for token, bias in request.logit_bias.items():
        _check_range(f"logit_bias[{token}]", bias, -100, 100)
    if request.top_logprobs and not request.logprobs:
        raise InvalidArgument("top_logprobs needs logprobs to be true", field="top_logprobs")


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if low <= value <= high:
        return
    wanted = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
    raise InvalidArgument(f"{field} must be {wanted}, not {value:g}", field=field)


def _check_count(count: int, most: int, things: str, path: str) -> None:
    if count > most:
        raise InvalidArgument(f"{path} may have at most {most} {things}, not {count}", field=path)


def _check_length(text: str, most: int, path: str) -> None:
    _check_count(len(text), most, "characters", path)


def _check_stops(request: ChatCompletionRequest) -> None:
    _check_count(len(request.stop), MAX_STOPS, "strings", "stop")
    for index, stop in enumerate(request.stop):
        if not 1 <= len(stop) <= MAX_STOP_CHARS:
            raise InvalidArgument(
                f"a stop string must have 1 to {MAX_STOP_CHARS} characters, not {len(stop)}", field=f"stop[{index}]"
            )


def _check_prompt(request: ChatCompletionRequest) -> None:
    if request.messages:
        raise InvalidArgument("prompt takes the place of messages: give one of the two", field="prompt")
    for field, _ in request.ListFields():
        if field.name in _OF_CONVERSATIONS:
            raise InvalidArgument(f"{field.name} goes with messages, not with a prompt", field=field.name)
    kind = request.prompt.WhichOneof("prompt")
    if kind is None:
        raise InvalidArgument("prompt must hold a text or token_ids", field="prompt")
    if kind == "token_ids":
        ids = request.prompt.token_ids.ids
        if not ids:
            raise InvalidArgument("prompt.token_ids must hold at least one id", field="prompt.token_ids")
        check_token_ids(ids, "prompt.token_ids.ids")


def _check_messages(request: ChatCompletionRequest) -> None:
    if not 1 <= len(request.messages) <= MAX_MESSAGES:
        raise InvalidArgument(
            f"messages must hold 1 to {MAX_MESSAGES} messages, not {len(request.messages)}", field="messages"
        )
    parts = [part for message in request.messages for part in message.content]
    images = sum(part.HasField("image") for part in parts)
    calls = sum(len(message.tool_calls) for message in request.messages)
    _check_count(len(parts), MAX_PARTS, "parts of content in all", "messages")
    _check_count(images, MAX_IMAGES, "images in all", "messages")
    _check_count(calls, MAX_CALLS, "tool calls in all", "messages")
    for index, message in enumerate(request.messages):
        _check_message(message, f"messages[{index}]")


def _check_message(message: Message, path: str) -> None:
    role = message.role
    if role not in message_pb2.Role.values() or role == message_pb2.ROLE_UNSPECIFIED:
        raise InvalidArgument(f"{path}.role must be one of Role's names, not {role}", field=f"{path}.role")
    if role == message_pb2.ROLE_TOOL and not message.tool_call_id:
        raise InvalidArgument(
            f"{path}.tool_call_id must name the call that this message answers", field=f"{path}.tool_call_id"
        )
    if role != message_pb2.ROLE_ASSISTANT and not message.content:
        raise InvalidArgument(f"{path}.content must hold at least one part", field=f"{path}.content")
    for name in ("tool_calls", "reasoning_content"):
        if role != message_pb2.ROLE_ASSISTANT and getattr(message, name):
            raise InvalidArgument(f"{path}.{name} is for assistant messages only", field=f"{path}.{name}")
    for name in ("name", "tool_call_id"):
        _check_length(getattr(message, name), MAX_NAME_CHARS, f"{path}.{name}")
    for index, part in enumerate(message.content):
        _check_part(part, role, f"{path}.content[{index}]")
    for index, call in enumerate(message.tool_calls):
        _check_call(call, f"{path}.tool_calls[{index}]")


def _check_call(call: ToolCall, path: str) -> None:
    if not call.name:
        raise InvalidArgument(f"{path}.name must not be empty", field=f"{path}.name")
    _check_length(call.name, MAX_NAME_CHARS, f"{path}.name")
    _check_length(call.id, MAX_NAME_CHARS, f"{path}.id")


def _check_part(part: content_pb2.ContentPart, role: message_pb2.Role.ValueType, path: str) -> None:
    kind = part.WhichOneof("part")
    if kind is None:
        raise InvalidArgument(f"{path} must hold text or an image", field=path)
    if kind == "text":
        return
    if role != message_pb2.ROLE_USER:
        raise InvalidArgument(f"{path} holds an image, which only user messages may", field=path)
    source = part.image.WhichOneof("source")
    if source is None or (source == "data" and not part.image.data):
        raise InvalidArgument(f"{path}.image must hold data or a url", field=f"{path}.image")
    _check_count(len(part.image.data), MAX_IMAGE_BYTES, "bytes", f"{path}.image")


def _check_tools(request: ChatCompletionRequest) -> set[str]:
    """Returns the names of the declared functions."""
    _check_count(len(request.tools), MAX_TOOLS, "tools", "tools")
    size = sum(tool.ByteSize() for tool in request.tools)
    _check_count(size, MAX_TOOLS_BYTES, "bytes in all", "tools")
    names: set[str] = set()
    for index, tool in enumerate(request.tools):
        path = f"tools[{index}]"
        _check_tool(tool, path)
        name = tool.function.name or tool_pb2.BuiltinTool.Name(tool.builtin).removeprefix("BUILTIN_TOOL_").lower()
        if name in names:
            raise InvalidArgument(f"{path} {name!r} is declared twice", field=path)
        names.add(name)
    return {tool.function.name for tool in request.tools if tool.HasField("function")}


def _check_tool(tool: Tool, path: str) -> None:
    kind = tool.WhichOneof("tool")
    if kind is None or (kind == "builtin" and tool.builtin not in tool_pb2.BuiltinTool.values()[1:]):
        raise InvalidArgument(f"{path} must hold a function or the name of a built-in tool", field=path)
    if kind == "function":
        _check_name(tool.function.name, f"{path}.function.name")
        if tool.function.HasField("parameters_json"):
            _check_schema(tool.function.parameters_json, f"{path}.function.parameters_json")


def _check_tool_choice(choice: ToolChoice, functions: set[str]) -> None:
    kind = choice.WhichOneof("choice")
    if kind is None or (kind == "mode" and choice.mode == ToolChoice.MODE_UNSPECIFIED):
        raise InvalidArgument("tool_choice must hold a mode, a function's name or allowed tools", field="tool_choice")
    if kind == "mode" and choice.mode == ToolChoice.MODE_REQUIRED and not functions:
        raise InvalidArgument("tool_choice requires a tool call, but tools declares no function", field="tool_choice")
    if kind == "function_name":
        _check_declared(choice.function_name, functions, "tool_choice.function_name")
    if kind == "allowed_tools":
        _check_allowed_tools(choice.allowed_tools, functions)


def _check_allowed_tools(allowed: AllowedTools, functions: set[str]) -> None:
    path = "tool_choice.allowed_tools"
    if allowed.mode not in (ToolChoice.MODE_AUTO, ToolChoice.MODE_REQUIRED):
        raise InvalidArgument(f"{path}.mode must be auto or required", field=f"{path}.mode")
    if not allowed.function_names:
        raise InvalidArgument(f"{path}.function_names must name at least one function", field=f"{path}.function_names")
    _check_count(len(allowed.function_names), MAX_TOOLS, "names", f"{path}.function_names")
    for index, name in enumerate(allowed.function_names):
        _check_declared(name, functions, f"{path}.function_names[{index}]")


def _check_declared(name: str, functions: set[str], path: str) -> None:
    if name not in functions:
        raise InvalidArgument(f"{path} {name[:64]!r} is not a function that tools declares", field=path)


def _check_response_format(form: ResponseFormat) -> None:
    kind = form.WhichOneof("format")
    if kind is None:
        raise InvalidArgument("response_format must be text, json_object or json_schema", field="response_format")
    if kind == "json_schema":
        _check_name(form.json_schema.name, "response_format.json_schema.name")
        _check_schema(form.json_schema.schema_json, "response_format.json_schema.schema_json")


def _check_name(name: str, path: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"{path} must have 1 to 64 characters of a-z A-Z 0-9 _ -, not {name[:80]!r}", field=path)


def _check_schema(text: str, path: str) -> None:
    _check_count(len(text.encode()), MAX_SCHEMA_BYTES, "bytes", path)
    try:
        schema = json.loads(text)
        written = json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{path} is not JSON: {error}", field=path) from None
    if not isinstance(schema, dict):
        raise InvalidArgument(f"{path} must be a JSON object", field=path)
    _check_count(_depth(text), MAX_SCHEMA_DEPTH, "levels of nesting", path)
    if half := half_character(written):
        raise InvalidArgument(f"{path} has half a character, {half}", field=path)


def _depth(text: str) -> int:
    """How deep JSON is nested."""
    deepest = depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest

"""`messages`: OpenAI's conversation to the contract's `Message`s."""

from collections.abc import Callable, Mapping

from glmserve.v1 import content_pb2, message_pb2
from glmserve_gateway.body import Json, kind, quote
from glmserve_gateway.errors import InvalidRequest, Unsupported
from glmserve_gateway.images import image
from glmserve_gateway.values import items, mapping, reads, required, string, wrong_type

ROLES: Mapping[str, message_pb2.Role.ValueType] = {
    "system": message_pb2.ROLE_SYSTEM,
    "developer": message_pb2.ROLE_DEVELOPER,
    "user": message_pb2.ROLE_USER,
    "assistant": message_pb2.ROLE_ASSISTANT,
    "tool": message_pb2.ROLE_TOOL,
    "function": message_pb2.ROLE_TOOL,
}
"""OpenAI's roles. `function` is the old name of `tool`: it names the function and not the call."""


@reads({"type": "array", "minItems": 1, "maxItems": 4096, "items": {"$ref": "#/components/schemas/Message"}})
def messages(value: Json, path: str) -> list[message_pb2.Message]:
    """The conversation, oldest message first."""
    value = items(value, path)
    if not value:
        raise InvalidRequest(f"{path} must hold at least one message", path)
    made: list[message_pb2.Message] = []
    for i, item in enumerate(value):
        made.append(_message(item, f"{path}[{i}]", made))
    return made


def _message(value: Json, path: str, earlier: list[message_pb2.Message]) -> message_pb2.Message:
    value = mapping(value, path)
    role = string(required(value, "role", path), f"{path}.role")
    if role not in ROLES:
        raise InvalidRequest(f"{path}.role must be one of {', '.join(ROLES)}, not {quote(role)}", f"{path}.role")
    message = message_pb2.Message(role=ROLES[role])
    if (name := value.get("name")) is not None:
        message.name = string(name, f"{path}.name")
    if role == "assistant":
        _read_assistant(message, value, path, call_id=f"call_{len(earlier)}")
    elif role == "function" and value.get("content") is None:
        message.content.add(text="")  # a function that gave nothing
    else:
        message.content.extend(_content(required(value, "content", path), f"{path}.content"))
    if role == "tool":
        message.tool_call_id = string(required(value, "tool_call_id", path), f"{path}.tool_call_id")
    elif role == "function":
        name = string(required(value, "name", path), f"{path}.name")
        message.tool_call_id = _last_call_id(name, earlier)
        message.ClearField("name")
    return message


def _read_assistant(message: message_pb2.Message, value: dict[str, Json], path: str, *, call_id: str) -> None:
    if value.get("audio") is not None:
        raise Unsupported(f"{path}.audio is not supported: no model here speaks", f"{path}.audio")
    if (content := value.get("content")) is not None:
        message.content.extend(_content(content, f"{path}.content"))
    if (refusal := value.get("refusal")) is not None:
        message.content.add(text=string(refusal, f"{path}.refusal"))
    if (thoughts := value.get("reasoning_content")) is not None:
        message.reasoning_content = string(thoughts, f"{path}.reasoning_content")
    if (calls := value.get("tool_calls")) is not None:
        calls = items(calls, f"{path}.tool_calls")
        message.tool_calls.extend(_tool_call(call, f"{path}.tool_calls[{i}]") for i, call in enumerate(calls))
    if (call := value.get("function_call")) is not None:
        message.tool_calls.append(_function_call(call, f"{path}.function_call", call_id))


def _content(value: Json, path: str) -> list[content_pb2.ContentPart]:
    if isinstance(value, str):
        return [content_pb2.ContentPart(text=value)]
    if not isinstance(value, list):
        raise wrong_type(value, path, "a string or a list of parts")
    if not value:
        raise InvalidRequest(f"{path} must hold at least one part", path)
    return [_part(part, f"{path}[{i}]") for i, part in enumerate(value)]


def _part(value: Json, path: str) -> content_pb2.ContentPart:
    value = mapping(value, path)
    type_ = string(required(value, "type", path), f"{path}.type")
    if type_ in _UNSUPPORTED_PARTS:
        raise Unsupported(f"{path} is of type {type_}, which no model here reads", path)
    if type_ not in _PARTS:
        wanted = f"{', '.join(_PARTS)}, {', '.join(_UNSUPPORTED_PARTS)}"
        raise InvalidRequest(f"{path}.type must be one of {wanted}, not {quote(type_)}", f"{path}.type")
    return _PARTS[type_](required(value, type_, path), f"{path}.{type_}")


def _text_part(value: Json, path: str) -> content_pb2.ContentPart:
    return content_pb2.ContentPart(text=string(value, path))


def _image_part(value: Json, path: str) -> content_pb2.ContentPart:
    return content_pb2.ContentPart(image=image(value, path))


_PARTS: Mapping[str, Callable[[Json, str], content_pb2.ContentPart]] = {
    "text": _text_part,
    "refusal": _text_part,
    "image_url": _image_part,
}
_UNSUPPORTED_PARTS = ("input_audio", "file")


def _tool_call(value: Json, path: str) -> message_pb2.ToolCall:
    value = mapping(value, path)
    if (type_ := value.get("type")) not in (None, "function"):
        given = quote(type_) if isinstance(type_, str) else kind(type_)
        raise Unsupported(f'{path}.type must be "function", not {given}', f"{path}.type")
    id_ = string(required(value, "id", path), f"{path}.id")
    return _function_call(required(value, "function", path), f"{path}.function", id_)


def _function_call(value: Json, path: str, id_: str) -> message_pb2.ToolCall:
    value = mapping(value, path)
    return message_pb2.ToolCall(
        id=id_,
        name=string(required(value, "name", path), f"{path}.name"),
        arguments_json=string(required(value, "arguments", path), f"{path}.arguments"),
    )


def _last_call_id(name: str, earlier: list[message_pb2.Message]) -> str:
    """The call that a message of role `function` answers: the last one of that function."""
    calls = (call for message in reversed(earlier) for call in message.tool_calls if call.name == name)
    return next((call.id for call in calls), f"call_{name}")

"""OpenAI's JSON to a `ChatCompletionRequest`. Checks forms alone; ranges are the server's."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from glmserve.v1 import chat_pb2, content_pb2, message_pb2, tool_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest, Reasoning, ResponseFormat
from glmserve.v1.tool_pb2 import ToolChoice
from glmserve_client.errors import BadRequest, FieldViolation

Object = Mapping[str, Any]


def chat_request(body: Object) -> ChatCompletionRequest:
    """Raises `BadRequest` for what has no place in the contract."""
    request = ChatCompletionRequest()
    for name, value in body.items():
        with _field(name):
            _put(request, name, value)
    return request


def _put(request: ChatCompletionRequest, name: str, value: Any) -> None:
    match name:
        case "messages":
            for index, message in enumerate(value):
                with _field(f"messages[{index}]"):
                    request.messages.append(_message(message, f"messages[{index}]"))
        case "tools":
            for index, tool in enumerate(value):
                with _field(f"tools[{index}]"):
                    request.tools.append(_tool(tool))
        case "tool_choice":
            request.tool_choice.CopyFrom(_tool_choice(value))
        case "response_format":
            request.response_format.CopyFrom(_response_format(value))
        case "reasoning_effort":
            request.reasoning.effort = Reasoning.Effort.Value(f"EFFORT_{value.upper()}")
        case "stop":
            request.stop.extend(value)
        case "logit_bias":
            request.logit_bias.update({int(token): bias for token, bias in value.items()})
        case _:
            setattr(request, name, value)


def _message(message: Object, path: str) -> message_pb2.Message:
    with _field(f"{path}.role"):
        role = message_pb2.Role.Value(f"ROLE_{message['role'].upper()}")
    made = message_pb2.Message(
        role=role,
        content=_content(message.get("content")),
        tool_calls=[
            message_pb2.ToolCall(
                id=call["id"], name=call["function"]["name"], arguments_json=call["function"]["arguments"]
            )
            for call in message.get("tool_calls") or ()
        ],
    )
    for name in ("name", "tool_call_id", "reasoning_content"):
        if message.get(name) is not None:
            setattr(made, name, message[name])
    return made


def _content(content: Any) -> list[content_pb2.ContentPart]:
    if content is None:
        return []
    if isinstance(content, str):
        return [content_pb2.ContentPart(text=content)]
    return [_part(part) for part in content]


def _part(part: Object) -> content_pb2.ContentPart:
    if part["type"] == "text":
        return content_pb2.ContentPart(text=part["text"])
    if part["type"] != "image_url":
        raise ValueError(f"a part of a message is text or image_url, not {part['type']!r}")
    picture = part["image_url"]
    made = content_pb2.Image()
    if picture["url"].startswith("data:"):
        made.data = _data(picture["url"])
    else:
        made.url = picture["url"]
    if (detail := picture.get("detail")) is not None:
        made.detail = content_pb2.Image.Detail.Value(f"DETAIL_{detail.upper()}")
    return content_pb2.ContentPart(image=made)


def _data(url: str) -> bytes:
    head, _, data = url.partition(",")
    if not head.endswith(";base64"):
        raise ValueError("an address that holds an image itself is like data:image/png;base64,…")
    return base64.b64decode(data, validate=True)


def _tool(tool: Object) -> tool_pb2.Tool:
    if tool["type"] != "function":
        return tool_pb2.Tool(builtin=tool_pb2.BuiltinTool.Value(f"BUILTIN_TOOL_{tool['type'].upper()}"))
    function = tool["function"]
    made = tool_pb2.FunctionTool(name=function["name"])
    if function.get("description") is not None:
        made.description = function["description"]
    if function.get("parameters") is not None:
        made.parameters_json = _json(function["parameters"])
    if function.get("strict") is not None:
        made.strict = function["strict"]
    return tool_pb2.Tool(function=made)


def _tool_choice(choice: Any) -> ToolChoice:
    if isinstance(choice, str):
        return ToolChoice(mode=_mode(choice))
    if choice["type"] == "function":
        return ToolChoice(function_name=choice["function"]["name"])
    allowed = choice["allowed_tools"]
    names = [tool["function"]["name"] for tool in allowed["tools"]]
    return ToolChoice(allowed_tools=tool_pb2.AllowedTools(mode=_mode(allowed["mode"]), function_names=names))


def _mode(name: str) -> ToolChoice.Mode.ValueType:
    return ToolChoice.Mode.Value(f"MODE_{name.upper()}")


def _response_format(form: Object) -> ResponseFormat:
    match form["type"]:
        case "text":
            return ResponseFormat(text=chat_pb2.TextFormat())
        case "json_object":
            return ResponseFormat(json_object=chat_pb2.JsonObjectFormat())
        case "json_schema":
            schema = form["json_schema"]
            made = chat_pb2.JsonSchemaFormat(name=schema["name"], schema_json=_json(schema["schema"]))
            for name in ("description", "strict"):
                if schema.get(name) is not None:
                    setattr(made, name, schema[name])
            return ResponseFormat(json_schema=made)
        case other:
            raise ValueError(f"a form is text, json_object or json_schema, not {other!r}")


def _json(value: Object) -> str:
    """As the server writes what comes over HTTP, so that both wires make the same prompt."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@contextmanager
def _field(path: str) -> Iterator[None]:
    """Says which field is wrong."""
    try:
        yield
    except KeyError as error:
        reason = f"{path} has no {error}"
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{path} is wrong: {error}"
    else:
        return
    raise BadRequest(reason, violations=[FieldViolation(path, reason)])

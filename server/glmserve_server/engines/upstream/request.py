"""A `ChatCompletionRequest` as OpenAI's JSON. Pure; what an upstream wants otherwise is its preset's business."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from glmserve.v1 import content_pb2, message_pb2, tool_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest, Prompt, Reasoning, ResponseFormat
from glmserve.v1.content_pb2 import ContentPart, Image
from glmserve.v1.message_pb2 import Message, ToolCall
from glmserve.v1.tool_pb2 import FunctionTool, Tool, ToolChoice

_ROLES: Final = {
    message_pb2.ROLE_SYSTEM: "system",
    message_pb2.ROLE_DEVELOPER: "system",  # treated alike; chat templates of GLM know no other
    message_pb2.ROLE_USER: "user",
    message_pb2.ROLE_ASSISTANT: "assistant",
    message_pb2.ROLE_TOOL: "tool",
}
_MODES: Final = {
    ToolChoice.MODE_NONE: "none",
    ToolChoice.MODE_AUTO: "auto",
    ToolChoice.MODE_REQUIRED: "required",
}
_BUILTINS: Final = {
    tool_pb2.BUILTIN_TOOL_PYTHON: "python",
    tool_pb2.BUILTIN_TOOL_SIMPLE_BROWSER: "simple_browser",
    tool_pb2.BUILTIN_TOOL_COGVIEW: "cogview",
}
_DETAILS: Final = {content_pb2.Image.DETAIL_LOW: "low", content_pb2.Image.DETAIL_HIGH: "high"}
_EFFORTS: Final = {
    Reasoning.EFFORT_NONE: "none",
    Reasoning.EFFORT_MINIMAL: "minimal",
    Reasoning.EFFORT_LOW: "low",
    Reasoning.EFFORT_MEDIUM: "medium",
    Reasoning.EFFORT_HIGH: "high",
    Reasoning.EFFORT_XHIGH: "xhigh",
}
_SAME: Final = (
    "max_completion_tokens",
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "ignore_eos",
    "logprobs",
    "top_logprobs",
    "prompt_cache_key",
    "user",
)
"""Fields that have the same name and the same value in both."""

_LEAST_TOP_P: Final = 1e-6
"""What stands for 0, which some servers refuse: the likeliest token alone either way."""

_MEDIA_TYPES: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
    (b"P6", "image/x-portable-pixmap"),
)


def chat_body(request: ChatCompletionRequest, model: str) -> dict[str, Any]:
    """The body that asks for a stream of a conversation. Some values are `orjson.Fragment`s."""
    body = _body(request, model)
    body["messages"] = [_message(message) for message in request.messages]
    if request.HasField("response_format"):
        body["response_format"] = _response_format(request.response_format)
    return body | _tools(request) | _reasoning(request.reasoning)


def completion_body(request: ChatCompletionRequest, model: str) -> dict[str, Any]:
    """The body that asks for a stream after a raw prompt."""
    body = _body(request, model) | raw_prompt(request.prompt)
    body["max_tokens"] = body.pop("max_completion_tokens", None)  # null: as many as fit; unset there: 16
    logprobs, top_logprobs = body.pop("logprobs", False), body.pop("top_logprobs", 0)
    return body | ({"logprobs": top_logprobs} if logprobs else {})


def raw_prompt(prompt: Prompt) -> dict[str, Any]:
    """The fields for a raw prompt."""
    if prompt.HasField("token_ids"):
        return {"prompt": list(prompt.token_ids.ids)}
    special = {"add_special_tokens": prompt.add_special_tokens} if prompt.HasField("add_special_tokens") else {}
    return {"prompt": prompt.text, **special}


def _body(request: ChatCompletionRequest, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    body |= {name: getattr(request, name) for name in _SAME if request.HasField(name)}
    if body.get("top_p") == 0:
        body["top_p"] = _LEAST_TOP_P
    if request.stop:
        body["stop"] = list(request.stop)
    if request.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in request.logit_bias.items()}
    return body


def encoded(body: Mapping[str, Any]) -> bytes:
    """The body as JSON."""
    return orjson.dumps(body)


def _message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": _ROLES[message.role], "content": _content(message)}
    if message.HasField("name"):
        made["name"] = message.name
    if message.tool_calls:
        made["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    if message.HasField("tool_call_id"):
        made["tool_call_id"] = message.tool_call_id
    if message.HasField("reasoning_content"):
        made["reasoning_content"] = message.reasoning_content
    return made


def _content(message: Message) -> str | list[dict[str, Any]] | None:
    """A text where there is nothing else: servers take it from every role."""
    if any(part.HasField("image") for part in message.content):
        return [_part(part) for part in message.content]
    return None if message.tool_calls and not message.content else "".join(part.text for part in message.content)


def _part(part: ContentPart) -> dict[str, Any]:
    if not part.HasField("image"):
        return {"type": "text", "text": part.text}
    image: dict[str, Any] = {"url": _url(part.image)}
    if part.image.detail in _DETAILS:
        image["detail"] = _DETAILS[part.image.detail]
    return {"type": "image_url", "image_url": image}


def _url(image: Image) -> str:
    if not image.data:
        return image.url
    kind = next((kind for head, kind in _MEDIA_TYPES if image.data.startswith(head)), "image/png")
    return f"data:{kind};base64,{base64.b64encode(image.data).decode()}"


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_json}}


def _tools(request: ChatCompletionRequest) -> dict[str, Any]:
    """The tools, and what is only understood beside them."""
    if not request.tools:
        return {}
    made: dict[str, Any] = {"tools": [_tool(tool) for tool in request.tools]}
    if request.HasField("tool_choice"):
        made["tool_choice"] = _tool_choice(request.tool_choice)
    if request.HasField("parallel_tool_calls"):
        made["parallel_tool_calls"] = request.parallel_tool_calls
    return made


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.HasField("builtin"):
        return {"type": _BUILTINS[tool.builtin]}
    return {"type": "function", "function": dict(_function(tool.function))}


def _function(function: FunctionTool) -> Iterator[tuple[str, Any]]:
    yield "name", function.name
    if function.HasField("description"):
        yield "description", function.description
    if function.HasField("parameters_json"):
        yield "parameters", orjson.Fragment(function.parameters_json)  # as it is: order of keys, digits of numbers
    if function.HasField("strict"):
        yield "strict", function.strict


def _tool_choice(choice: ToolChoice) -> Any:
    match choice.WhichOneof("choice"):
        case "mode":
            return _MODES[choice.mode]
        case "function_name":
            return _named(choice.function_name)
        case _:
            allowed = choice.allowed_tools
            tools = [_named(name) for name in allowed.function_names]
            return {"type": "allowed_tools", "allowed_tools": {"mode": _MODES[allowed.mode], "tools": tools}}


def _named(function: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": function}}


def _response_format(form: ResponseFormat) -> dict[str, Any]:
    kind = form.WhichOneof("format")
    if kind != "json_schema":
        return {"type": kind}
    asked = form.json_schema
    schema: dict[str, Any] = {"name": asked.name, "schema": orjson.Fragment(asked.schema_json)}
    if asked.HasField("description"):
        schema["description"] = asked.description
    if asked.HasField("strict"):
        schema["strict"] = asked.strict
    return {"type": "json_schema", "json_schema": schema}


def _reasoning(reasoning: Reasoning) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if reasoning.HasField("enabled"):
        made["chat_template_kwargs"] = {"enable_thinking": reasoning.enabled}
    if reasoning.effort in _EFFORTS:
        made["reasoning_effort"] = _EFFORTS[reasoning.effort]
    return made

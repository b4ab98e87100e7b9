"""What becomes of parameters that a model cannot honour: a preference is ignored and named, a requirement refused."""

from collections.abc import Callable
from typing import Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest, Reasoning
from glmserve.v1.model_pb2 import Capabilities
from glmserve.v1.tool_pb2 import ToolChoice
from glmserve_server.errors import Unsupported

Wish = Callable[[ChatCompletionRequest], bool]


def _wants_reasoning(reasoning: Reasoning) -> bool:
    if reasoning.HasField("enabled"):
        return reasoning.enabled
    return reasoning.effort not in (Reasoning.EFFORT_UNSPECIFIED, Reasoning.EFFORT_NONE)


def _has_images(request: ChatCompletionRequest) -> bool:
    return any(part.HasField("image") for message in request.messages for part in message.content)


def _uses_tools(request: ChatCompletionRequest) -> bool:
    return len(request.tools) > 0 and request.tool_choice.mode != ToolChoice.MODE_NONE


def _has_strict_tools(request: ChatCompletionRequest) -> bool:
    return any(tool.function.strict for tool in request.tools)


def _requires_tool(request: ChatCompletionRequest) -> bool:
    choice = request.tool_choice
    return ToolChoice.MODE_REQUIRED in (choice.mode, choice.allowed_tools.mode)


def _format(request: ChatCompletionRequest) -> str | None:
    return request.response_format.WhichOneof("format")


# field: (the capability that honours it, whether a request asks for something by it); in order of field numbers.
PREFERENCES: Final[dict[str, tuple[str, Wish]]] = {
    "top_k": ("top_k", lambda request: request.top_k > 0),
    "min_p": ("min_p", lambda request: request.min_p > 0),
    "repetition_penalty": ("repetition_penalty", lambda request: request.repetition_penalty not in (0, 1)),
    "presence_penalty": ("penalties", lambda request: request.presence_penalty != 0),
    "frequency_penalty": ("penalties", lambda request: request.frequency_penalty != 0),
    "logit_bias": ("logit_bias", lambda request: len(request.logit_bias) > 0),
    "seed": ("seed", lambda request: request.HasField("seed")),
    "ignore_eos": ("ignore_eos", lambda request: request.ignore_eos),
    "reasoning": ("reasoning", lambda request: _wants_reasoning(request.reasoning)),
}

# field: (the capability that honours it, whether a request asks for it, what it asks for in words).
REQUIREMENTS: Final[dict[str, tuple[str, Wish, str]]] = {
    "messages": ("images", _has_images, "images"),
    "tools": ("tools", _uses_tools, "tools"),
    "tools[].function.strict": ("json_schema", _has_strict_tools, "arguments held to a JSON Schema"),
    "tool_choice": ("tool_choice_required", _requires_tool, "a required tool call"),
    "response_format": ("json_object", lambda request: _format(request) == "json_object", "answers held to JSON"),
    "response_format.json_schema": (
        "json_schema",
        lambda request: _format(request) == "json_schema",
        "answers held to a JSON Schema",
    ),
    "logprobs": ("logprobs", lambda request: request.logprobs, "log probabilities"),
    "prompt": ("prompts", lambda request: request.HasField("prompt"), "completions of a raw prompt"),
}


def settle(request: ChatCompletionRequest, capabilities: Capabilities, *, refuse: bool) -> list[str]:
    """Returns the names of the preferences that will be ignored.

    With `refuse` they are refused like requirements. Raises `Unsupported` naming the field.
    """
    for field, (capability, wishes, what) in REQUIREMENTS.items():
        if not getattr(capabilities, capability) and wishes(request):
            raise Unsupported(f"{field}: this model cannot give {what}", field=field)
    if request.n > capabilities.max_choices:
        raise Unsupported(f"n may be at most {capabilities.max_choices} for this model, not {request.n}", field="n")
    ignored = [
        field
        for field, (capability, wishes) in PREFERENCES.items()
        if not getattr(capabilities, capability) and wishes(request)
    ]
    if ignored and refuse:
        raise Unsupported(f"{ignored[0]} is not supported by this model", field=ignored[0])
    return ignored

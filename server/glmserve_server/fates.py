"""What becomes of what a request asks for, if the model cannot honour it: a preference is ignored and named, a
requirement refused.

One table for the requests and for what a model says of itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest, Reasoning
from glmserve.v1.model_pb2 import Capabilities, Parameters
from glmserve.v1.tool_pb2 import ToolChoice
from glmserve_server.errors import Unsupported


def _never(_request: ChatCompletionRequest) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A way for a request to ask for something."""

    field: str
    """The path in `ChatCompletionRequest`; `[]` stands for every element."""
    needs: str = ""
    """The capability that honours it; empty: every model does."""
    asks: Callable[[ChatCompletionRequest], bool | str | None] = _never
    """Whether a request asks for it, or where exactly."""
    requirement: str = ""
    """What the caller relies on, in words; empty: it is a preference."""


def _image(request: ChatCompletionRequest) -> str | None:
    places = (
        f"messages[{i}].content[{j}].image"
        for i, message in enumerate(request.messages)
        for j, part in enumerate(message.content)
        if part.HasField("image")
    )
    return next(places, None)


def _strict_tool(request: ChatCompletionRequest) -> str | None:
    tools = request.tools if _uses_tools(request) else ()
    return next((f"tools[{i}].function.strict" for i, tool in enumerate(tools) if tool.function.strict), None)


def _uses_tools(request: ChatCompletionRequest) -> bool:
    return len(request.tools) > 0 and request.tool_choice.mode != ToolChoice.MODE_NONE


def _requires_call(request: ChatCompletionRequest) -> bool:
    choice = request.tool_choice
    return bool(choice.function_name) or ToolChoice.MODE_REQUIRED in (choice.mode, choice.allowed_tools.mode)


def _wants_reasoning(request: ChatCompletionRequest) -> bool:
    reasoning = request.reasoning
    if reasoning.HasField("enabled"):
        return reasoning.enabled
    return reasoning.effort not in (Reasoning.EFFORT_UNSPECIFIED, Reasoning.EFFORT_NONE)


PARAMETERS: Final = (
    Parameter(field="model"),
    Parameter(field="messages"),
    Parameter(field="messages[].content[].image", needs="images", asks=_image, requirement="images"),
    Parameter(field="tools", needs="tools", asks=_uses_tools, requirement="tools"),
    Parameter(
        field="tools[].function.strict",
        needs="strict_tools",
        asks=_strict_tool,
        requirement="arguments held to a JSON Schema",
    ),
    Parameter(
        field="tool_choice", needs="tool_choice_required", asks=_requires_call, requirement="a required tool call"
    ),
    Parameter(
        field="parallel_tool_calls",
        needs="parallel_tool_calls",
        asks=lambda request: request.HasField("parallel_tool_calls") and not request.parallel_tool_calls,
    ),
    Parameter(
        field="response_format.json_object",
        needs="json_object",
        asks=lambda request: "response_format" if request.response_format.HasField("json_object") else None,
        requirement="answers held to JSON",
    ),
    Parameter(
        field="response_format.json_schema",
        needs="json_schema",
        asks=lambda request: request.response_format.HasField("json_schema"),
        requirement="answers held to a JSON Schema",
    ),
    Parameter(field="max_completion_tokens"),
    Parameter(field="stop"),
    Parameter(field="temperature", needs="sampling", asks=lambda request: request.temperature > 0),
    Parameter(
        field="top_p", needs="sampling", asks=lambda request: request.HasField("top_p") and 0 < request.top_p < 1
    ),
    Parameter(field="top_k", needs="top_k", asks=lambda request: request.top_k > 0),
    Parameter(field="min_p", needs="min_p", asks=lambda request: request.min_p > 0),
    Parameter(
        field="repetition_penalty",
        needs="repetition_penalty",
        asks=lambda request: request.repetition_penalty not in (0, 1),
    ),
    Parameter(field="presence_penalty", needs="penalties", asks=lambda request: request.presence_penalty != 0),
    Parameter(field="frequency_penalty", needs="penalties", asks=lambda request: request.frequency_penalty != 0),
    Parameter(field="logit_bias", needs="logit_bias", asks=lambda request: len(request.logit_bias) > 0),
    Parameter(field="seed", needs="seed", asks=lambda request: request.HasField("seed")),
    Parameter(field="ignore_eos", needs="ignore_eos", asks=lambda request: request.ignore_eos),
    Parameter(
        field="logprobs", needs="logprobs", asks=lambda request: request.logprobs, requirement="log probabilities"
    ),
    Parameter(
        field="top_logprobs",
        needs="logprobs",
        asks=lambda request: request.top_logprobs > 0,
        requirement="log probabilities",
    ),
    Parameter(field="reasoning", needs="reasoning", asks=_wants_reasoning),
    Parameter(
        field="prompt",
        needs="prompts",
        asks=lambda request: request.HasField("prompt"),
        requirement="completions of a raw prompt",
    ),
)
"""In the order of field numbers. `n` is apart, because models differ in how much of it they honour."""


def settle(request: ChatCompletionRequest, capabilities: Capabilities, *, refuse: bool) -> list[str]:
    """Returns the names of the preferences that will be ignored.

    With `refuse` they are refused like requirements. Raises `Unsupported` naming the field.
    """
    lacking = list(_lacking(capabilities))
    for parameter in lacking:
        if parameter.requirement and (place := _place(parameter, request)):
            raise Unsupported(f"{place}: this model cannot give {parameter.requirement}", field=place)
    if request.n > capabilities.max_choices:
        raise Unsupported(f"n may be at most {capabilities.max_choices} for this model, not {request.n}", field="n")
    ignored = [parameter.field for parameter in lacking if not parameter.requirement and parameter.asks(request)]
    if ignored and refuse:
        raise Unsupported(f"{ignored[0]} is not supported by this model", field=ignored[0])
    return ignored


def parameters(capabilities: Capabilities, *, refuse: bool) -> Parameters:
    """What `settle` does for a model, in the words of the contract."""
    made = Parameters()
    (made.honoured if capabilities.max_choices > 1 else made.refused).append("n")
    lacking = {parameter.field for parameter in _lacking(capabilities)}
    for parameter in PARAMETERS:
        if parameter.field not in lacking:
            made.honoured.append(parameter.field)
        elif parameter.requirement or refuse:
            made.refused.append(parameter.field)
        else:
            made.ignored.append(parameter.field)
    return made


def _lacking(capabilities: Capabilities) -> Iterator[Parameter]:
    return (parameter for parameter in PARAMETERS if parameter.needs and not getattr(capabilities, parameter.needs))


def _place(parameter: Parameter, request: ChatCompletionRequest) -> str | None:
    found = parameter.asks(request)
    return found if isinstance(found, str) else parameter.field if found else None

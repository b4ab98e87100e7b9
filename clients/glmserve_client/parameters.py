"""The arguments of a chat, in OpenAI's names."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from glmserve_client.messages import Messages, listed

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
"""How much a model thinks before it answers."""


class Limits(TypedDict, total=False):
    """How long a call may take. Unset or None: as long as the client's own options say; `math.inf`: without limit."""

    timeout: float | None
    """Seconds for the call with its retries; for a stream, until its end."""
    token_timeout: float | None
    """Seconds between the pieces of a streamed answer after the first."""


class Parameters(Limits, total=False):
    """How to answer. All are optional. The server checks ranges: a `BadRequest` names the argument that is wrong."""

    model: str
    """The model's id or alias. Unset: the server's only model."""
    max_completion_tokens: int | None
    """The most tokens of each answer, at least 1. Unset: as many as fit into the model's context."""
    temperature: float | None
    """Randomness, from 0 (the likeliest token every time) to 2. Unset: the model's default."""
    top_p: float | None
    """Sample among the likeliest tokens that have this probability together, 0 to 1. Unset: the model's default."""
    top_k: int | None
    """Sample among this many of the likeliest tokens; 0: all. Unset: the model's default."""
    min_p: float | None
    """Leave out tokens less likely than this share of the likeliest one's probability, 0 to 1. Unset: 0."""
    repetition_penalty: float | None
    """Divides the logits of tokens that have appeared, 0.01 to 2; 1 has no effect. Unset: 1."""
    presence_penalty: float | None
    """Lowers the logits of tokens that have appeared, -2 to 2. Unset: 0."""
    frequency_penalty: float | None
    """Lowers the logits of tokens by how often they have appeared, -2 to 2. Unset: 0."""
    logit_bias: Mapping[int, float] | None
    """Added to the logits of tokens, by token id, -100 to 100."""
    seed: int | None
    """The same seed and request give the same answer, as far as the model can. Unset: random."""
    stop: str | Sequence[str] | None
    """Up to 4 strings that end the answer where they would appear; they are not part of it."""
    n: int | None
    """How many answers to give. Unset: 1."""
    ignore_eos: bool | None
    """Whether to go on past the model's own end of answer. Unset: false."""
    tools: Sequence[Mapping[str, Any]] | None
    """Functions that the model may call, as OpenAI's API has them. `function_tool` makes one of a Python function."""
    tool_choice: str | Mapping[str, Any] | None
    """`none`, `auto`, `required`, a named function or allowed tools, as OpenAI's API has them. Unset: `auto`."""
    parallel_tool_calls: bool | None
    """Whether one answer may hold several calls. Unset: true."""
    response_format: Mapping[str, Any] | None
    """The form of the answer: `{"type": "json_object"}` and others of OpenAI's API. Unset: text."""
    reasoning_effort: Effort | None
    """How much the model thinks before it answers. Unset: the model's default."""
    logprobs: bool | None
    """Whether to return the log probabilities of the answer's tokens. Unset: false."""
    top_logprobs: int | None
    """How many alternatives to return for each token, 0 to 20; needs `logprobs`. Unset: 0."""
    prompt_cache_key: str | None
    """Requests of one key are sent where their common beginning is cached, if possible."""
    user: str | None
    """An opaque name of the end user. Not used by the model."""


def split(messages: Messages, parameters: Parameters) -> tuple[dict[str, Any], Limits]:
    """The JSON object of `POST /v1/chat/completions`, which is what both wires start from, and the limits of the call.

    Raises `TypeError` for an argument that does not exist.
    """
    made: dict[str, Any] = {"messages": listed(messages)}
    limits: Limits = {"timeout": parameters.get("timeout"), "token_timeout": parameters.get("token_timeout")}
    for name, value in parameters.items():
        if name not in Parameters.__annotations__:
            raise TypeError(f"there is no argument {name!r} of a chat")
        if value is not None and value != "" and name not in limits:
            made[name] = _plain(name, value)
    return made, limits


def _plain(name: str, value: Any) -> Any:
    if name == "stop" and isinstance(value, str):
        return [value]
    if name in ("stop", "tools"):
        return list(value)
    if name == "logit_bias":
        return {str(token): bias for token, bias in value.items()}
    return value

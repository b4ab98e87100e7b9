"""An answer, and the events that it is put together from."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    """The model ended it, or a stop string appeared."""
    LENGTH = "length"
    """`max_completion_tokens` or the end of the context was reached; the answer is cut."""
    TOOL_CALLS = "tool_calls"
    """The model waits for the results of its tool calls."""
    CONTENT_FILTER = "content_filter"
    """A filter of a hosted model withheld the rest."""
    OTHER = "other"
    """A reason that this client does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a function that the model asks for."""

    id: str
    """Unique within the conversation; the message with the result repeats it."""
    name: str
    arguments: str
    """As the model wrote them: a JSON object, unless the answer was cut or the model erred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a request cost, in tokens, all choices together."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """How many of `prompt_tokens` needed no work because a former request had them."""
    reasoning_tokens: int = 0
    """How many of `completion_tokens` were thoughts."""

    @property
    def total_tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """The log probability of one token."""

    token: str
    """With U+FFFD for bytes that are no whole character."""
    bytes: bytes
    logprob: float
    """Natural logarithm, at most 0."""
    top: tuple["TokenLogprob", ...] = ()
    """The likeliest tokens in this place, best first; `top_logprobs` of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer of the `n` that were asked for."""

    index: int
    text: str = ""
    reasoning: str = ""
    """What the model thought before it answered."""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    """None while it has not ended."""
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def message(self) -> dict[str, Any]:
        """The turn as an OpenAI message, to go on from."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.tool_calls
            ]
        else:
            message["content"] = self.text
        return message


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, whole or as far as it has come. The properties speak of its first choice."""

    id: str
    model: str
    """The model that answered, also where an alias was asked."""
    created: int
    """When the answer was begun, in seconds since 1970."""
    choices: tuple[Choice, ...]
    """By index; `n` of them."""
    usage: Usage | None = None
    """None where the server does not say, and before the end of a stream."""
    ignored: tuple[str, ...] = ()
    """Preferences that the model cannot honour, by the names of the arguments."""

    @property
    def text(self) -> str:
        """The answer's text."""
        return self.choices[0].text

    @property
    def reasoning(self) -> str:
        """What the model thought."""
        return self.choices[0].reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the model asks for."""
        return self.choices[0].tool_calls

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the answer ended."""
        return self.choices[0].finish_reason

    @property
    def message(self) -> dict[str, Any]:
        """The turn as an OpenAI message, to go on from."""
        return self.choices[0].message


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The first event of a stream."""

    id: str
    model: str
    created: int
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """A piece of a tool call. The first has `id` and `name`; in the others both are empty."""

    index: int
    """Which of the choice's calls, from 0."""
    id: str = ""
    name: str = ""
    arguments: str = ""
    """The next characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """The next piece of a streamed answer: text, thoughts, a piece of a call, or its end."""

    index: int = 0
    """The choice that it belongs to."""
    text: str = ""
    reasoning: str = ""
    tool_call: ToolCallDelta | None = None
    finish_reason: FinishReason | None = None
    """Set in the last piece of a choice."""
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Whole:
    """The answer is whole. What a wire still does until its stream ends is for its connection."""


Event = Started | Delta | Usage | Whole
"""What a wire gives of a stream: one `Started`, deltas, the `Usage` where the server tells it, and `Whole` from a wire
that has something left to do then."""


def finish_reason(name: str) -> FinishReason:
    """The reason of that name; `OTHER` for one that is not known."""
    return _REASONS.get(name, FinishReason.OTHER)


_REASONS = {reason.value: reason for reason in FinishReason}

"""What an upstream streams, checked: `chat.completion.chunk` as OpenAI and those who are like it make it.

A chunk of `/completions` has `text` in place of `delta`, and its own form of log probabilities.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

_UINT32: Final = (1 << 32) - 1
_BYTE: Final = 255
_MOST_CHOICES: Final = 128
_MOST_CALLS: Final = 128
_MOST_TOKENS: Final = 1024
"""Of one event; checking more would keep the server from its other callers."""

Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
"""A string; null is an empty one."""
Count = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value), Field(ge=0, le=_UINT32)]
"""A number of something; null is none."""
Nothing: Final = BeforeValidator(lambda value: {} if value is None else value)
"""For an object: null is an empty one."""
Logprob = Annotated[float, Field(lt=math.inf)]
"""A logarithm of a probability, which may be minus infinity, and is a number."""


class Token(BaseModel):
    """A token and its log probability."""

    token: str
    logprob: Logprob
    bytes: Annotated[list[Annotated[int, Field(ge=0, le=_BYTE)]], Field(max_length=_MOST_TOKENS)] | None = None
    top_logprobs: Annotated[list["Token"], Field(max_length=_MOST_TOKENS)] | None = None


class Logprobs(BaseModel):
    """The log probabilities of a piece."""

    content: Annotated[list[Token], Field(max_length=_MOST_TOKENS)] | None = None
    tokens: Annotated[list[str], Field(max_length=_MOST_TOKENS)] | None = None
    token_logprobs: Annotated[list[Logprob | None], Field(max_length=_MOST_TOKENS)] | None = None
    top_logprobs: Annotated[list[dict[str, Logprob] | None], Field(max_length=_MOST_TOKENS)] | None = None

    def entries(self) -> Iterator[Token]:
        """The tokens, in either form."""
        yield from self.content or ()
        for place, (token, logprob) in enumerate(zip(self.tokens or (), self.token_logprobs or (), strict=False)):
            top = self.top_logprobs[place] if self.top_logprobs and place < len(self.top_logprobs) else None
            likeliest = [Token(token=other, logprob=number) for other, number in (top or {}).items()]
            yield Token(token=token, logprob=0.0 if logprob is None else logprob, top_logprobs=likeliest)


class FunctionPiece(BaseModel):
    """A piece of a call."""

    name: Text = ""
    arguments: Text = ""


class ToolCallPiece(BaseModel):
    """A piece of a call, and which one it belongs to."""

    index: Count | None = None
    id: Text = ""
    function: Annotated[FunctionPiece, Nothing] = Field(default_factory=FunctionPiece)


class DeltaPiece(BaseModel):
    """What is new."""

    content: Text = ""
    refusal: Text = ""
    reasoning_content: Text = ""
    reasoning: Any = None
    """The newer name of `reasoning_content` in some servers."""
    tool_calls: Annotated[list[ToolCallPiece], Field(max_length=_MOST_CALLS)] | None = None

    @property
    def thought(self) -> str:
        """A piece of the thoughts."""
        return self.reasoning_content or (self.reasoning if isinstance(self.reasoning, str) else "")


class ChoicePiece(BaseModel):
    """A piece of one choice."""

    index: Count = 0
    delta: Annotated[DeltaPiece, Nothing] = Field(default_factory=DeltaPiece)
    text: Text = ""
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    """vLLM's: the stop string, or the id of the token."""

    @property
    def said(self) -> str:
        """A piece of the answer's text."""
        return self.delta.content or self.delta.refusal or self.text


class PromptDetails(BaseModel):
    """Parts of the prompt."""

    cached_tokens: Count = 0


class CompletionDetails(BaseModel):
    """Parts of the answer."""

    reasoning_tokens: Count = 0


class UsagePiece(BaseModel):
    """What the request cost."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Chunk(BaseModel):
    """One event."""

    choices: Annotated[list[ChoicePiece], Field(max_length=_MOST_CHOICES)] | None = None
    """Some servers leave them out where there is nothing but the usage."""
    usage: UsagePiece | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.choices is None and self.usage is None:
            raise ValueError("neither choices nor usage")
        return self

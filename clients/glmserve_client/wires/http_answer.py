"""OpenAI's JSON to the client's own types. What comes is checked: any server may have sent it."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from glmserve_client.errors import InvalidAnswer
from glmserve_client.model import Capabilities, Model, TokenCount
from glmserve_client.reply import (
    Choice,
    Delta,
    Event,
    Reply,
    Started,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
    finish_reason,
)

_M = TypeVar("_M", bound=BaseModel)
_MOST_SHOWN = 200

Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
"""A string; null is an empty one."""
Count = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value), Field(ge=0)]
"""A number of something; null is none."""


class _Token(BaseModel):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list["_Token"] = []

    def made(self) -> TokenLogprob:
        data = self.token.encode() if self.bytes is None else bytes(byte & 0xFF for byte in self.bytes)
        top = tuple(token.made() for token in self.top_logprobs)
        return TokenLogprob(token=self.token, bytes=data, logprob=self.logprob, top=top)


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Function(BaseModel):
    name: Text = ""
    arguments: Text = ""


class _ToolCall(BaseModel):
    index: int = 0
    id: Text = ""
    function: _Function = _Function()


class _Message(BaseModel):
    content: Text = ""
    reasoning_content: Text = ""
    tool_calls: list[_ToolCall] | None = None


class _Choice(BaseModel):
    index: int = 0
    message: _Message = _Message()
    delta: _Message = _Message()
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None

    def tokens(self) -> tuple[TokenLogprob, ...]:
        tokens = self.logprobs.content if self.logprobs else None
        return tuple(token.made() for token in tokens or ())


class _PromptDetails(BaseModel):
    cached_tokens: Count = 0


class _CompletionDetails(BaseModel):
    reasoning_tokens: Count = 0


class _Usage(BaseModel):
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None

    def made(self) -> Usage:
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_tokens=prompt.cached_tokens if prompt else 0,
            reasoning_tokens=completion.reasoning_tokens if completion else 0,
        )


class _Completion(BaseModel):
    """A whole answer, or a chunk of one."""

    id: Text = ""
    model: Text = ""
    created: Count = 0
    choices: list[_Choice]
    usage: _Usage | None = None


class _Glmserve(BaseModel):
    """What servers of this project say of a model beside OpenAI's fields."""

    engine: str | None = None
    aliases: tuple[str, ...] = ()
    context_length: int | None = None
    capabilities: Capabilities | None = None


class _Model(BaseModel):
    id: str
    created: Count = 0
    owned_by: Text = ""
    glmserve: _Glmserve = _Glmserve()

    def made(self) -> Model:
        more = {name: getattr(self.glmserve, name) for name in _Glmserve.model_fields}
        return Model(id=self.id, created=self.created, owned_by=self.owned_by, **more)


class _Models(BaseModel):
    data: list[_Model]


class _Tokens(BaseModel):
    count: Annotated[int, Field(ge=0)]
    max_model_len: int | None = None
    tokens: list[int] = []


def reply(data: bytes, ignored: tuple[str, ...]) -> Reply:
    """A whole answer. Raises `InvalidAnswer`."""
    read = _read(_Completion, data)
    if not read.choices:
        raise InvalidAnswer("the answer has no choices")
    return Reply(
        id=read.id,
        model=read.model,
        created=read.created,
        choices=tuple(map(_choice, sorted(read.choices, key=lambda choice: choice.index))),
        usage=read.usage.made() if read.usage else None,
        ignored=ignored,
    )


def events(data: str, *, first: bool, ignored: tuple[str, ...]) -> list[Event]:
    """What a chunk of a stream holds. Raises `InvalidAnswer`."""
    chunk = _read(_Completion, data.encode())
    made: list[Event] = []
    if first:
        made.append(Started(id=chunk.id, model=chunk.model, created=chunk.created, ignored=ignored))
    for choice in chunk.choices:
        made += _deltas(choice)
    if chunk.usage is not None:
        made.append(chunk.usage.made())
    return made


def models(data: bytes) -> list[Model]:
    """The list of models. Raises `InvalidAnswer`."""
    return [one.made() for one in _read(_Models, data).data]


def token_count(data: bytes, *, include_token_ids: bool) -> TokenCount:
    """The answer of `/tokenize`. Raises `InvalidAnswer`."""
    answer = _read(_Tokens, data)
    return TokenCount(
        prompt_tokens=answer.count,
        context_length=answer.max_model_len or 0,
        token_ids=tuple(answer.tokens) if include_token_ids else (),
    )


def _read(kind: type[_M], data: bytes) -> _M:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        shown = data[:_MOST_SHOWN].decode(errors="replace")
        raise InvalidAnswer(f"this is no answer of a chat server ({place}: {first['msg']}): {shown!r}") from None


def _choice(choice: _Choice) -> Choice:
    message = choice.message
    return Choice(
        index=choice.index,
        text=message.content,
        reasoning=message.reasoning_content,
        tool_calls=tuple(
            ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
            for call in message.tool_calls or ()
        ),
        finish_reason=finish_reason(choice.finish_reason) if choice.finish_reason else None,
        logprobs=choice.tokens(),
    )


def _deltas(choice: _Choice) -> list[Delta]:
    """The pieces of a chunk's choice: one, unless it has pieces of several tool calls or says nothing."""
    delta, reason = choice.delta, choice.finish_reason
    calls = [
        Delta(
            index=choice.index,
            tool_call=ToolCallDelta(
                index=call.index, id=call.id, name=call.function.name, arguments=call.function.arguments
            ),
        )
        for call in delta.tool_calls or ()
    ]
    rest = Delta(
        index=choice.index,
        text=delta.content,
        reasoning=delta.reasoning_content,
        finish_reason=finish_reason(reason) if reason else None,
        logprobs=choice.tokens(),
    )
    return [*calls, rest] if rest.text or rest.reasoning or reason or rest.logprobs else calls

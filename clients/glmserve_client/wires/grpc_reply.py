"""Answers of `glmserve.v1` to the client's own types."""

from collections.abc import Iterable
from dataclasses import fields

from glmserve.v1 import chat_pb2, model_pb2
from glmserve.v1.token_pb2 import CountTokensResponse
from glmserve_client.model import Capabilities, Model, TokenCount
from glmserve_client.reply import (
    Choice,
    Delta,
    Event,
    FinishReason,
    Reply,
    Started,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
    finish_reason,
)

_ARGUMENTS = {"reasoning": "reasoning_effort"}
"""Fields of the contract whose argument has another name."""
_FINISH_REASONS = {value: name.removeprefix("FINISH_REASON_").lower() for name, value in chat_pb2.FinishReason.items()}
_CAPABILITIES = tuple(field.name for field in fields(Capabilities))


def reply(response: chat_pb2.CreateChatCompletionResponse) -> Reply:
    """A whole answer."""
    return Reply(
        id=response.id,
        model=response.model,
        created=response.created.seconds,
        choices=tuple(map(_choice, response.choices)),
        usage=_usage(response.usage),
        ignored=_ignored(response.ignored),
    )


def event(response: chat_pb2.StreamChatCompletionResponse) -> Event | None:
    """A piece of an answer; None for one that this client does not know."""
    match response.WhichOneof("event"):
        case "started":
            return _started(response.started)
        case "usage":
            return _usage(response.usage)
        case _:
            return _delta(response)


def model(model: model_pb2.Model) -> Model:
    """One model."""
    can = model.capabilities
    return Model(
        id=model.id,
        created=model.created.seconds,
        owned_by=model.owned_by,
        aliases=tuple(model.aliases),
        engine=model.engine,
        context_length=model.context_length or None,
        capabilities=Capabilities(**{name: getattr(can, name) for name in _CAPABILITIES}),
        fault=model.fault,
    )


def token_count(response: CountTokensResponse) -> TokenCount:
    """The size of a prompt."""
    return TokenCount(
        prompt_tokens=response.prompt_tokens,
        context_length=response.context_length,
        token_ids=tuple(response.token_ids),
    )


def _started(started: chat_pb2.Started) -> Started:
    return Started(
        id=started.id, model=started.model, created=started.created.seconds, ignored=_ignored(started.ignored)
    )


def _delta(response: chat_pb2.StreamChatCompletionResponse) -> Delta | None:
    match response.WhichOneof("event"):
        case "text":
            text = response.text
            return Delta(index=text.choice_index, text=text.text, logprobs=_logprobs(text.logprobs))
        case "reasoning":
            return Delta(index=response.reasoning.choice_index, reasoning=response.reasoning.text)
        case "tool_call":
            call = response.tool_call
            piece = ToolCallDelta(index=call.index, id=call.id, name=call.name, arguments=call.arguments_json)
            return Delta(index=call.choice_index, tool_call=piece)
        case "finished":
            finished = response.finished
            return Delta(index=finished.choice_index, finish_reason=_finish_reason(finished.finish_reason))
        case _:
            return None


def _choice(choice: chat_pb2.Choice) -> Choice:
    message = choice.message
    return Choice(
        index=choice.index,
        text="".join(part.text for part in message.content),
        reasoning=message.reasoning_content,
        tool_calls=tuple(
            ToolCall(id=call.id, name=call.name, arguments=call.arguments_json) for call in message.tool_calls
        ),
        finish_reason=_finish_reason(choice.finish_reason),
        logprobs=_logprobs(choice.logprobs),
    )


def _finish_reason(reason: chat_pb2.FinishReason.ValueType) -> FinishReason:
    return finish_reason(_FINISH_REASONS.get(reason, ""))


def _usage(usage: chat_pb2.Usage) -> Usage:
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def _ignored(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(_ARGUMENTS.get(name, name) for name in names)


def _logprobs(tokens: Iterable[chat_pb2.TokenLogprob]) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(token=one.token, bytes=one.bytes, logprob=one.logprob, top=tuple(map(_top, one.top_logprobs)))
        for one in tokens
    )


def _top(token: chat_pb2.TopLogprob) -> TokenLogprob:
    return TokenLogprob(token=token.token, bytes=token.bytes, logprob=token.logprob)

"""The chunks of an upstream's stream as the contract's events. Knows nothing of HTTP.

What comes is not trusted: choices that were not asked for are refused, calls are numbered anew, and an answer without
its end is no answer.
"""

import uuid
from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import ValidationError

from glmserve.v1 import chat_pb2
from glmserve.v1.chat_pb2 import (
    ChatCompletionRequest,
    Finished,
    ReasoningDelta,
    Started,
    StreamChatCompletionResponse,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    Usage,
)
from glmserve_server.engines.upstream import errors
from glmserve_server.engines.upstream.chunk import ChoicePiece, Chunk, Token, ToolCallPiece, UsagePiece

_DONE: Final = "[DONE]"
_REASONS: Final = {
    "stop": chat_pb2.FINISH_REASON_STOP,
    "length": chat_pb2.FINISH_REASON_LENGTH,
    "model_context_window_exceeded": chat_pb2.FINISH_REASON_LENGTH,
    "tool_calls": chat_pb2.FINISH_REASON_TOOL_CALLS,
    "function_call": chat_pb2.FINISH_REASON_TOOL_CALLS,
    "content_filter": chat_pb2.FINISH_REASON_CONTENT_FILTER,
    "sensitive": chat_pb2.FINISH_REASON_CONTENT_FILTER,
}
"""Other ones are ends like `stop`."""
_FAILURES: Final = frozenset({"network_error", "abort", "error"})
"""Reasons that are none: the upstream failed."""

_UINT32: Final = 1 << 32
_MOST_CALLS: Final = 1024
"""Calls in one choice."""
_MOST_TOKENS: Final = 1024
"""Log probabilities that come before their text."""


class Unreadable(Exception):
    """An event is not what a chat server sends."""


class Reply:
    """One answer: give it the data of each event, then say that there are no more."""

    def __init__(self, request: ChatCompletionRequest, ignored: Iterable[str]) -> None:
        self._choices = [_Choice(index, request) for index in range(request.n or 1)]
        self._ignored = list(ignored)
        self._usage = Usage()
        self.begun = False
        """Whether there was an event for the caller."""
        self.done = False
        """Whether the upstream said that nothing more comes."""

    def read(self, data: str) -> Iterator[StreamChatCompletionResponse]:
        """The events that an event makes. Raises `Unreadable`, and `WorkerDied` when the upstream failed."""
        if data.strip() == _DONE:
            self.done = True
            return
        try:
            chunk = Chunk.model_validate_json(data)
        except ValidationError:
            raise Unreadable from None
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
        if not self.begun:
            self.begun = True
            started = Started(
                prompt_tokens=self._usage.prompt_tokens,
                cached_tokens=self._usage.cached_tokens,
                ignored=self._ignored,
            )
            yield StreamChatCompletionResponse(started=started)
        for piece in chunk.choices or ():
            if piece.index >= len(self._choices):
                raise Unreadable
            yield from self._choices[piece.index].read(piece)

    def end(self) -> StreamChatCompletionResponse:
        """The usage, once the stream has ended. Raises `Unreadable` if it never began, `WorkerDied` if it was cut."""
        if not self.begun:
            raise Unreadable
        if not all(choice.finished for choice in self._choices):
            raise errors.cut()
        return StreamChatCompletionResponse(usage=self._usage)


class _Choice:
    """One choice."""

    def __init__(self, index: int, request: ChatCompletionRequest) -> None:
        self._index = index
        self._logprobs_wanted = request.logprobs
        self._stops = frozenset(request.stop)
        self._logprobs: list[TokenLogprob] = []
        """Those of tokens that have not made text yet."""
        self._calls: dict[int, int] = {}
        """Our number of each call by the upstream's, for those that have one."""
        self._ids: list[str] = []
        """The upstream's id of each call."""
        self.finished = False

    def read(self, piece: ChoicePiece) -> Iterator[StreamChatCompletionResponse]:
        if self.finished:
            return
        if piece.logprobs is not None and self._logprobs_wanted:
            self._logprobs += map(_logprob, piece.logprobs.entries())
            if len(self._logprobs) > _MOST_TOKENS and not piece.said:
                raise Unreadable
        if thought := piece.delta.thought:
            delta = ReasoningDelta(choice_index=self._index, text=thought)
            yield StreamChatCompletionResponse(reasoning=delta)
        if text := piece.said:
            logprobs, self._logprobs = self._logprobs, []
            yield StreamChatCompletionResponse(text=TextDelta(choice_index=self._index, text=text, logprobs=logprobs))
        elif thought or piece.delta.tool_calls:
            self._logprobs = []  # those were their tokens
        for call in piece.delta.tool_calls or ():
            yield from self._call(call)
        if piece.finish_reason:
            self.finished = True
            yield StreamChatCompletionResponse(finished=self._finish(piece, piece.finish_reason))

    def _call(self, piece: ToolCallPiece) -> Iterator[StreamChatCompletionResponse]:
        name, arguments = piece.function.name, piece.function.arguments
        delta = ToolCallDelta(choice_index=self._index, arguments_json=arguments)
        number = self._continued(piece)
        if number is None:
            if not name or len(self._ids) == _MOST_CALLS:
                raise Unreadable
            number = self._add(piece)
            delta.id, delta.name = piece.id or f"call_{uuid.uuid4().hex[:24]}", name
        elif not arguments:
            return
        delta.index = number
        yield StreamChatCompletionResponse(tool_call=delta)

    def _continued(self, piece: ToolCallPiece) -> int | None:
        """Our number of the call that a piece goes on with. Some servers number no calls, some all alike; an id alone
        begins none, for some make one up for every piece."""
        named = piece.function.name != ""
        if piece.index is None:
            return None if named or not self._ids else len(self._ids) - 1
        number = self._calls.get(piece.index)
        if number is not None and named and piece.id and self._ids[number] not in ("", piece.id):
            return None
        return number

    def _add(self, piece: ToolCallPiece) -> int:
        """Our number of the call that a piece begins."""
        number = len(self._ids)
        self._ids.append(piece.id)
        if piece.index is not None:
            self._calls[piece.index] = number
        return number

    def _finish(self, piece: ChoicePiece, reason: str) -> Finished:
        if reason in _FAILURES:
            raise errors.cut()
        finished = Finished(choice_index=self._index, finish_reason=_REASONS.get(reason, chat_pb2.FINISH_REASON_STOP))
        match piece.stop_reason:
            case str(stop) if stop in self._stops:
                finished.stop_string = stop
            case int(token) if 0 <= token < _UINT32:
                finished.stop_token = token
        return finished


def _usage(piece: UsagePiece) -> Usage:
    prompt, completion = piece.prompt_tokens_details, piece.completion_tokens_details
    return Usage(
        prompt_tokens=piece.prompt_tokens,
        completion_tokens=piece.completion_tokens,
        cached_tokens=prompt.cached_tokens if prompt else 0,
        reasoning_tokens=completion.reasoning_tokens if completion else 0,
    )


def _logprob(token: Token) -> TokenLogprob:
    top = [
        TopLogprob(token=other.token, bytes=_bytes(other), logprob=other.logprob) for other in token.top_logprobs or ()
    ]
    return TokenLogprob(token=token.token, bytes=_bytes(token), logprob=token.logprob, top_logprobs=top)


def _bytes(token: Token) -> bytes:
    return token.token.encode() if token.bytes is None else bytes(token.bytes)

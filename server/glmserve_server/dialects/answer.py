"""From what the pool gives for one choice to the events of the contract."""

import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence

from glmserve.v1 import chat_pb2
from glmserve.v1.chat_pb2 import (
    ChatCompletionRequest,
    Finished,
    ReasoningDelta,
    Started,
    StreamChatCompletionResponse,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from glmserve_server.dialects.deltas import Arguments, Call, Delta, Text, Thought
from glmserve_server.dialects.dialect import AnswerReader
from glmserve_server.dialects.progress import Begun, End, Written
from glmserve_server.text import StopStrings

Token = int | Written
Piece = Begun | Sequence[Token] | End


class Answer:
    """One choice: its deltas, then how it finished and what it used.

    Stop strings are looked for in the text between two calls, not in thoughts and arguments. Without
    `parallel_tool_calls` the answer ends where a second call would begin.
    """

    def __init__(self, reader: AnswerReader, request: ChatCompletionRequest, index: int, prompt_tokens: int) -> None:
        self._reader = reader
        self._stops = StopStrings(request.stop)
        self._most_calls = 1 if request.HasField("parallel_tool_calls") and not request.parallel_tool_calls else None
        self._index = index
        self._usage = Usage(prompt_tokens=prompt_tokens)
        self._calls = 0
        self._calls_told = 0
        self._full = False  # nothing more may be added
        self._cached_tokens = 0
        self._started = False
        self.ended = False

    def read(self, piece: Piece) -> Iterator[StreamChatCompletionResponse]:
        """The events that a piece makes. The run's beginning makes none: the worker may still be lost unseen."""
        if isinstance(piece, Begun):
            self._cached_tokens = piece.cached
            return
        if not self._started:
            self._started = True
            started = Started(prompt_tokens=self._usage.prompt_tokens, cached_tokens=self._cached_tokens)
            yield StreamChatCompletionResponse(started=started)
        yield from self._events(self._rest(piece) if isinstance(piece, End) else self._deltas(piece))
        if isinstance(piece, End) or self._full:
            self.ended = True
            yield StreamChatCompletionResponse(finished=self._finished(piece))
            yield StreamChatCompletionResponse(usage=self._usage)

    def _deltas(self, tokens: Sequence[Token]) -> Iterator[Delta]:
        for token in tokens:
            self._usage.completion_tokens += 1
            self._usage.reasoning_tokens += self._reader.thinking
            if isinstance(token, Written):
                yield from self._admitted(self._reader.feed_text(token.text))
            else:
                yield from self._admitted(self._reader.feed(token))
            if self._full:
                return

    def _rest(self, end: End) -> Iterator[Delta]:
        yield from self._admitted(self._reader.end(end.token))
        if text := self._stops.flush():
            yield Text(text)

    def _admitted(self, deltas: Iterable[Delta]) -> Iterator[Delta]:
        """What is left of some deltas when stop strings and calls beyond the last have ended the answer."""
        for delta in deltas:
            match delta:
                case Text(text):
                    yield Text(self._stops.feed(text))
                    self._full = self._stops.matched is not None
                case Call():
                    yield Text(self._stops.flush())
                    self._full = self._calls == self._most_calls
                    if not self._full:
                        self._calls += 1
                        yield delta
                case _:
                    yield delta
            if self._full:
                return

    def _events(self, deltas: Iterator[Delta]) -> Iterator[StreamChatCompletionResponse]:
        """Deltas as events; neighbours of one kind are one event."""
        for _, group in itertools.groupby(deltas, type):
            run = list(group)
            text = "".join(delta.text for delta in run if not isinstance(delta, Call))
            match run[0]:
                case Call():
                    for name in (delta.name for delta in run if isinstance(delta, Call)):
                        self._calls_told += 1
                        yield self._tool_call(ToolCallDelta(id=f"call_{uuid.uuid4().hex[:24]}", name=name))
                case Text() if text:
                    yield StreamChatCompletionResponse(text=TextDelta(choice_index=self._index, text=text))
                case Thought() if text:
                    yield StreamChatCompletionResponse(reasoning=ReasoningDelta(choice_index=self._index, text=text))
                case Arguments() if text:
                    yield self._tool_call(ToolCallDelta(arguments_json=text))

    def _tool_call(self, delta: ToolCallDelta) -> StreamChatCompletionResponse:
        delta.choice_index = self._index
        delta.index = self._calls_told - 1
        return StreamChatCompletionResponse(tool_call=delta)

    def _finished(self, piece: Piece) -> Finished:
        finished = Finished(choice_index=self._index, finish_reason=chat_pb2.FINISH_REASON_STOP)
        if self._stops.matched is not None:
            finished.stop_string = self._stops.matched
            return finished
        if isinstance(piece, End) and piece.token is None:
            finished.finish_reason = chat_pb2.FINISH_REASON_LENGTH
            return finished
        if self._calls:
            finished.finish_reason = chat_pb2.FINISH_REASON_TOOL_CALLS
        if isinstance(piece, End) and piece.token is not None:
            finished.stop_token = piece.token
        return finished

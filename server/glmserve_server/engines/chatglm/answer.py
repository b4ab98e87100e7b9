"""From what the pool gives for one choice to the events of the contract."""

from collections.abc import Iterable, Iterator

from glmserve.v1 import chat_pb2
from glmserve.v1.chat_pb2 import Finished, Started, StreamChatCompletionResponse, TextDelta, Usage
from glmserve_server.engines.chatglm.dialect import AnswerReader
from glmserve_server.engines.chatglm.job import Begun, End
from glmserve_server.text import StopStrings


class Answer:
    """One choice: text deltas that hold nothing of a stop string, then how it finished and what it used."""

    def __init__(self, reader: AnswerReader, stops: Iterable[str], index: int, prompt_tokens: int) -> None:
        self._reader = reader
        self._stops = StopStrings(stops)
        self._index = index
        self._prompt_tokens = prompt_tokens
        self._cached_tokens = 0
        self._used = 0
        self._started = False
        self.ended = False

    def read(self, piece: Begun | list[int] | End) -> Iterator[StreamChatCompletionResponse]:
        """The events that a piece makes. The run's beginning makes none: the worker may still be lost unseen."""
        if isinstance(piece, Begun):
            self._cached_tokens = piece.cached
            return
        if not self._started:
            self._started = True
            started = Started(prompt_tokens=self._prompt_tokens, cached_tokens=self._cached_tokens)
            yield StreamChatCompletionResponse(started=started)
        text = self._stops.flush() if isinstance(piece, End) else self._text_of(piece)
        if text:
            yield StreamChatCompletionResponse(text=TextDelta(choice_index=self._index, text=text))
        if isinstance(piece, End) or self._stops.matched is not None:
            self.ended = True
            yield StreamChatCompletionResponse(finished=self._finished(piece))
            usage = Usage(prompt_tokens=self._prompt_tokens, completion_tokens=self._used)
            yield StreamChatCompletionResponse(usage=usage)

    def _text_of(self, tokens: list[int]) -> str:
        text = ""
        for token in tokens:
            self._used += 1
            text += self._stops.feed(self._reader.feed(token))
            if self._stops.matched is not None:
                break
        return text

    def _finished(self, piece: list[int] | End) -> Finished:
        finished = Finished(choice_index=self._index, finish_reason=chat_pb2.FINISH_REASON_STOP)
        if self._stops.matched is not None:
            finished.stop_string = self._stops.matched
        elif isinstance(piece, End) and piece.token is not None:
            finished.stop_token = piece.token
        else:
            finished.finish_reason = chat_pb2.FINISH_REASON_LENGTH
        return finished

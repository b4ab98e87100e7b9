"""Answers in the words of our dialects: prompts go to llama.cpp as token ids, and its tokens through a reader.

`Answer`, which knows of stop strings, calls and limits, is the same as for the chatglm engine.
"""

from collections.abc import Iterator, Set
from typing import Any

from glmserve.v1.chat_pb2 import ChatCompletionRequest, StreamChatCompletionResponse
from glmserve_server.dialects.answer import Answer, Piece
from glmserve_server.dialects.dialect import AnswerReader, Prompt
from glmserve_server.dialects.progress import Begun, End, Written
from glmserve_server.engines.llama.batch import Chunk
from glmserve_server.engines.llama.grammar import grammar_of
from glmserve_server.engines.llama.logprobs import Logprobs, asked_of_llama


def body_of(request: ChatCompletionRequest, prompt: Prompt, limit: int, *, json_calls: bool) -> dict[str, Any]:
    """What is asked of llama.cpp, but for the sampling. Raises `Unsupported` for a form that it cannot hold.

    `json_calls`: the arguments of calls are written as JSON in these words, and not as Python.
    """
    body: dict[str, Any] = {
        "prompt": prompt.ids,
        "max_tokens": limit,
        "stream": True,
        "return_progress": True,
        "verbose": True,  # else it shows no ids
    }
    if request.logprobs:
        body["logprobs"] = asked_of_llama(request)
    return body | grammar_of(request, json_calls=json_calls)


class SpokenAnswer:
    """One choice, from chunk to events."""

    def __init__(
        self,
        reader: AnswerReader,
        stop_ids: Set[int],
        request: ChatCompletionRequest,
        index: int,
        prompt_tokens: int,
    ) -> None:
        self._answer = Answer(reader, request, index, prompt_tokens)
        self._stop_ids = stop_ids
        self._endless = request.ignore_eos
        self._logprobs = Logprobs(request)

    @property
    def ended(self) -> bool:
        """Whether nothing more is wanted."""
        return self._answer.ended

    def read(self, chunk: Chunk) -> Iterator[StreamChatCompletionResponse]:
        """The events that a chunk makes."""
        piece = self._piece(chunk)
        for event in self._answer.read(piece) if piece is not None else ():
            if event.HasField("usage"):
                stopped = isinstance(piece, End) and piece.token is not None  # llama.cpp counts the end token
                event.usage.completion_tokens = chunk["__verbose"]["tokens_predicted"] - stopped
            yield self._logprobs.given_to(event)

    def _piece(self, chunk: Chunk) -> Piece | None:
        if progress := chunk.get("prompt_progress"):
            return Begun(progress["cache"])
        shown, choice = chunk["__verbose"], chunk["choices"][0]
        if choice["finish_reason"] is not None:
            return End("stop" if shown["stop_type"] == "eos" else "length", None)
        token, text = shown["tokens"][0], choice["text"]
        if token in self._stop_ids:
            # Not all files name all of them to llama.cpp, which would go on behind one that it does not know.
            return None if self._endless else End("stop", token)
        self._logprobs.add(choice["logprobs"])
        # Tokens that complete no character do not come; those that are no text have their meaning by id.
        return [Written(text) if text else token]

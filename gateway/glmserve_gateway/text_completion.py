"""Answers to raw prompts as OpenAI's `text_completion`, whole and as server-sent events. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from typing_extensions import override

from glmserve.v1 import chat_pb2
from glmserve_gateway import render

KIND = "text_completion"


def text_completion(response: chat_pb2.CreateChatCompletionResponse, echoes: Sequence[str]) -> bytes:
    """A whole answer. `echoes`: what stands before the text of each choice, by index; empty: nothing."""
    return orjson.dumps(
        {
            "id": _id(response.id),
            "object": KIND,
            "created": response.created.seconds,
            "model": response.model,
            "choices": [_choice(choice, echoes) for choice in response.choices],
            "usage": render.usage_json(response.usage),
        }
    )


class TextChunks(render.ChunkRenderer):
    """Turns the events of one stream into server-sent events of the same kind as whole answers."""

    kind = KIND

    def __init__(self, started: chat_pb2.Started, *, include_usage: bool, echoes: Sequence[str]) -> None:
        """`echoes` are as for `text_completion`; each is a chunk of its own before the choice's first."""
        head = chat_pb2.Started(id=_id(started.id), model=started.model, created=started.created)
        super().__init__(head, include_usage=include_usage)
        self._echoes = dict(enumerate(echoes))
        self._lengths: dict[int, int] = {}

    @override
    def _text(self, delta: chat_pb2.TextDelta) -> bytes:
        index, logprobs = delta.choice_index, None
        if delta.logprobs:
            offset = self._lengths.get(index, 0)
            logprobs = _logprobs(delta.logprobs, offset)
            self._lengths[index] = offset + _length(delta.logprobs)
        return self._echo(index) + self._piece(index, delta.text, logprobs=logprobs)

    @override
    def _finished(self, finished: chat_pb2.Finished) -> bytes:
        reason = render.FINISH_REASONS.get(finished.finish_reason, "stop")
        return self._echo(finished.choice_index) + self._piece(finished.choice_index, "", finish_reason=reason)

    def _echo(self, index: int) -> bytes:
        echo = self._echoes.pop(index, "")
        return self._piece(index, echo) if echo else b""

    def _piece(
        self, index: int, text: str, *, logprobs: dict[str, Any] | None = None, finish_reason: str | None = None
    ) -> bytes:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._head + orjson.dumps(choice) + self._tail


def _choice(choice: chat_pb2.Choice, echoes: Sequence[str]) -> dict[str, Any]:
    text = "".join(part.text for part in choice.message.content)
    return {
        "index": choice.index,
        "text": echoes[choice.index] + text if echoes else text,
        "logprobs": _logprobs(choice.logprobs, 0) if choice.logprobs else None,
        "finish_reason": render.FINISH_REASONS.get(choice.finish_reason, "stop"),
    }


def _logprobs(tokens: Iterable[chat_pb2.TokenLogprob], offset: int) -> dict[str, Any]:
    """The older form: lists side by side. `offset`: the characters before the first token."""
    made: dict[str, list[Any]] = {"text_offset": [], "token_logprobs": [], "tokens": [], "top_logprobs": []}
    for token in tokens:
        likeliest = {other.token: render.finite(other.logprob) for other in token.top_logprobs}
        made["text_offset"].append(offset)
        made["token_logprobs"].append(render.finite(token.logprob))
        made["tokens"].append(token.token)
        made["top_logprobs"].append({**likeliest, token.token: render.finite(token.logprob)})  # it is always there
        offset += len(token.token)
    return made


def _length(tokens: Iterable[chat_pb2.TokenLogprob]) -> int:
    return sum(len(token.token) for token in tokens)


def _id(chat_id: str) -> str:
    return f"cmpl-{chat_id.removeprefix('chatcmpl-')}"

"""The face of DB-GPT's client: `/api/v2`.

That client sends a default for much that nobody has set, reads neither tool calls nor a null, and knows two ends of
an answer.
"""

from collections import defaultdict
from typing import Any, TypeVar

from typing_extensions import override

from glmserve.v1 import chat_pb2, content_pb2, message_pb2
from glmserve_gateway import render
from glmserve_gateway.body import Json, quote
from glmserve_gateway.errors import Unsupported, openai_error
from glmserve_gateway.face import ClosingChunks, Face
from glmserve_gateway.fields import Fate, Field, top_k, unsupported, with_fields
from glmserve_gateway.messages import messages
from glmserve_gateway.parse import ChatCall, parse_chat_call
from glmserve_gateway.values import Reader, boolean, count, ranged, reads, string

T = TypeVar("T")

CHAT_MODE = "chat_normal"
"""DB-GPT's mode for talking with a model; the others are applications of DB-GPT's server."""

FINISH_REASONS: render.FinishReasons = {
    chat_pb2.FINISH_REASON_STOP: "stop",
    chat_pb2.FINISH_REASON_LENGTH: "length",
}
"""All that the client reads; anything else becomes `stop`."""


@reads({"anyOf": [{"type": "string"}, messages.schema]})
def question_or_messages(value: Json, path: str) -> list[message_pb2.Message]:
    """A conversation, or one question as a plain string."""
    if not isinstance(value, str):
        return messages(value, path)
    return [message_pb2.Message(role=message_pb2.ROLE_USER, content=[content_pb2.ContentPart(text=value)])]


@reads({"const": CHAT_MODE})
def chat_mode(value: Json, path: str) -> None:
    """The one mode that needs no application."""
    if string(value, path) != CHAT_MODE:
        raise Unsupported(f"{path} must be {CHAT_MODE}, not {quote(value)}: only models are served here", path)


def unless(default: Json, read: Reader[T]) -> Reader[T | None]:
    """Takes what the client sends for a field that nobody has set for unset."""

    @reads(read.schema)
    def read_set(value: Json, path: str) -> T | None:
        given = read(value, path)
        return None if value == default else given

    return read_set


_NO_CALLS = unsupported("DB-GPT's client cannot read tool calls; use /v1")

FIELDS = with_fields(
    Field("messages", "messages", question_or_messages, "The conversation so far, or one question"),
    Field("max_new_tokens", "max_completion_tokens", count(least=1), "Another name of `max_tokens`"),
    Field("top_p", "top_p", unless(1, ranged(0, 1)), "As OpenAI's; 1 is as good as unset"),
    Field("top_k", "top_k", unless(-1, top_k), "As in `/v1`; -1 is as good as unset"),
    Field("repetition_penalty", "repetition_penalty", unless(1, ranged(0.01, 2)), "As in `/v1`; 1 is as good as unset"),
    Field("conv_uid", "prompt_cache_key", string, "Keeps a conversation with the worker that holds its beginning"),
    Field("user_name", Fate.ACCEPTED, string, "A name of the end user"),
    Field("incremental", Fate.ANSWER, boolean, "`false`: every chunk repeats the whole text so far"),
    Field("chat_mode", Fate.ACCEPTED, chat_mode, "Only models are served here, no applications"),
    Field("chat_param", Fate.ACCEPTED, string, "What an application is told"),
    Field("sys_code", Fate.ACCEPTED, string, "Where the request comes from"),
    Field("span_id", Fate.ACCEPTED, string, "The caller's trace"),
    Field("enable_vis", Fate.ACCEPTED, boolean, "How DB-GPT's own pages show an answer"),
    *(
        Field(name, Fate.REFUSED, _NO_CALLS, "The client cannot read calls")
        for name in ("tools", "functions", "tool_choice", "function_call")
    ),
)
"""OpenAI's fields, and DB-GPT's own."""


class WholeTextChunks(ClosingChunks):
    """Repeats in every chunk all that has been said: what `"incremental": false` asks for."""

    def __init__(self, started: chat_pb2.Started, *, reasons: render.FinishReasons) -> None:
        super().__init__(started, reasons=reasons)
        self._said: defaultdict[int, dict[str, str]] = defaultdict(dict)

    @override
    def _text(self, delta: chat_pb2.TextDelta) -> bytes:
        return self._delta(delta.choice_index, {"content": delta.text}, logprobs=render.logprobs(delta.logprobs))

    @override
    def _delta(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        content: str | None = "",
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> bytes:
        said = self._said[index]
        for kind, text in delta.items():
            said[kind] = said.get(kind, "") + text
        return super()._delta(index, said, content=content, logprobs=logprobs, finish_reason=finish_reason)


def _parse(data: bytes) -> ChatCall:
    return parse_chat_call(data, FIELDS)


def _whole(response: chat_pb2.CreateChatCompletionResponse, _call: ChatCall) -> bytes:
    return render.chat_completion(response, reasons=FINISH_REASONS)


def _chunks(started: chat_pb2.Started, call: ChatCall) -> render.ChunkRenderer:
    make = ClosingChunks if call.answer.get("incremental", True) else WholeTextChunks
    return make(started, reasons=FINISH_REASONS)


DBGPT = Face(parse=_parse, whole=_whole, chunks=_chunks, error=openai_error)
"""`/api/v2`. Errors are OpenAI's: the client looks only for JSON."""

"""What may differ between the HTTP APIs that are spoken here, and OpenAI's own, from which the others derive."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson
from google.rpc import status_pb2
from typing_extensions import override

from glmserve.v1 import chat_pb2
from glmserve_gateway import render
from glmserve_gateway.errors import OpenAIError, openai_error
from glmserve_gateway.parse import ChatCall, parse_chat_call


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One HTTP API for chat completions."""

    parse: Callable[[bytes], ChatCall]
    """Reads the body of a request; raises `InvalidRequest`."""
    whole: Callable[[chat_pb2.CreateChatCompletionResponse, ChatCall], bytes]
    """Makes the one body of an answer."""
    chunks: Callable[[chat_pb2.Started, ChatCall], render.ChunkRenderer]
    """Makes what turns events into server-sent events."""
    error: Callable[[status_pb2.Status, Mapping[str, str] | None], OpenAIError]
    """Words a failure. The mapping is `ChatCall.names`."""


class ClosingChunks(render.ChunkRenderer):
    """Gives the usage, asked for or not, in the chunk that ends the last choice.

    For clients that take `choices[0]` of every chunk.
    """

    _held = b""
    """The last chunk so far, if it ends a choice."""

    @override
    def render(self, event: chat_pb2.StreamChatCompletionResponse) -> bytes:
        held, self._held = self._held, b""
        if event.HasField("usage"):
            usage = orjson.dumps(render.usage_json(event.usage))
            return held.removesuffix(b"}\n\n") + b',"usage":' + usage + b"}\n\n" + render.DONE
        return held + super().render(event)

    @override
    def _finished(self, finished: chat_pb2.Finished) -> bytes:
        self._held = super()._finished(finished)
        return b""


def _whole(response: chat_pb2.CreateChatCompletionResponse, call: ChatCall) -> bytes:
    return render.chat_completion(response, functions=call.functions)


def _chunks(started: chat_pb2.Started, call: ChatCall) -> render.ChunkRenderer:
    return render.ChunkRenderer(started, include_usage=call.include_usage, functions=call.functions)


OPENAI = Face(parse=parse_chat_call, whole=_whole, chunks=_chunks, error=openai_error)
"""`/v1`."""

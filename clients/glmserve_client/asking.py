"""One question over gRPC."""

from collections.abc import Iterator

import grpc

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message


class AskError(Exception):
    """The server refused or failed; the text says why."""


def stream_text(
    question: str,
    *,
    address: str,
    model: str = "",
    system: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
) -> Iterator[str]:
    """The pieces of the answer's text. Raises `AskError`. Leaving the iterator cancels the call."""
    request = ChatCompletionRequest(
        model=model, messages=_messages(question, system), temperature=temperature, max_completion_tokens=max_tokens
    )
    with grpc.insecure_channel(address) as channel:
        call = ChatServiceStub(channel).StreamChatCompletion(request)
        try:
            for event in call:
                if event.HasField("text"):
                    yield event.text.text
        except grpc.RpcError as error:
            raise AskError(_explain(call, address)) from error
        finally:
            call.cancel()


def _messages(question: str, system: str | None) -> Iterator[Message]:
    if system is not None:
        yield Message(role=message_pb2.ROLE_SYSTEM, content=[ContentPart(text=system)])
    yield Message(role=message_pb2.ROLE_USER, content=[ContentPart(text=question)])


def _explain(error: grpc.Call, address: str) -> str:
    if error.code() is grpc.StatusCode.UNAVAILABLE and "failed to connect" in (error.details() or ""):
        return f"no server answers at {address}; start one with: glmserve up"
    return error.details() or error.code().name

"""A server of ours, over gRPC."""

from collections.abc import AsyncGenerator
from typing import Final

import grpc
import grpc.aio

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message
from glmserve.v1.model_pb2 import ListModelsRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve_client.bench.target import Ask, Failed, Piece, Usage

_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)
"""A proxy would be measured too, and see the key."""


class GrpcTarget:
    """See `Target`. All streams share one connection."""

    face = "grpc"

    def __init__(self, address: str, *, api_key: str | None, encrypted: bool = False) -> None:
        self.address = address
        self.ignored: set[str] = set()
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._channel = _channel(address, encrypted=encrypted)

    async def first_model(self) -> str:
        """See `Target.first_model`."""
        try:
            listed = await ModelServiceStub(self._channel).ListModels(ListModelsRequest(), metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from None
        return listed.models[0].id

    async def stream(self, ask: Ask) -> AsyncGenerator[Piece | Usage]:
        """See `Target.stream`."""
        call = ChatServiceStub(self._channel).StreamChatCompletion(_request(ask), metadata=self._metadata)
        try:
            async for event in call:
                match event.WhichOneof("event"):
                    case "started":
                        self.ignored.update(event.started.ignored)
                    case "text":
                        yield Piece(event.text.text)
                    case "reasoning":
                        yield Piece(event.reasoning.text)
                    case "usage":
                        yield Usage(
                            prompt_tokens=event.usage.prompt_tokens,
                            completion_tokens=event.usage.completion_tokens,
                            cached_tokens=event.usage.cached_tokens,
                        )
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from None
        finally:
            call.cancel()

    def simplify(self, refusal: Failed) -> bool:  # noqa: ARG002 (our servers know all fields)
        """See `Target.simplify`."""
        return False

    async def aclose(self) -> None:
        """See `Target.aclose`."""
        await self._channel.close()


def _channel(address: str, *, encrypted: bool) -> grpc.aio.Channel:
    if encrypted:
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(), _OPTIONS)
    return grpc.aio.insecure_channel(address, _OPTIONS)


def _request(ask: Ask) -> ChatCompletionRequest:
    return ChatCompletionRequest(
        model=ask.model,
        messages=[
            Message(role=message_pb2.Role.Value(f"ROLE_{role.upper()}"), content=[ContentPart(text=text)])
            for role, text in ask.turns
        ],
        max_completion_tokens=ask.answer_tokens,
        temperature=0,
        ignore_eos=True,
    )


def _failed(error: grpc.aio.AioRpcError) -> Failed:
    return Failed(error.code().name, error.details() or "")

"""The way to a server over gRPC."""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from glmserve.v1.chat_pb2 import ChatCompletionRequest, StreamChatCompletionResponse
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.model_pb2 import ListModelsRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve.v1.token_pb2 import CountTokensRequest
from glmserve.v1.token_pb2_grpc import TokenServiceStub
from glmserve_client.address import Address, Certificates
from glmserve_client.errors import BrokenStream, ClientClosed, ConfigurationError, InvalidAnswer, NotSupported
from glmserve_client.model import Model, TokenCount
from glmserve_client.reply import Event, Reply, Usage
from glmserve_client.wires import grpc_reply
from glmserve_client.wires.grpc_error import error_of
from glmserve_client.wires.grpc_request import chat_request
from glmserve_client.wires.wire import Answer, Body

_Stream: TypeAlias = grpc.aio.UnaryStreamCall[ChatCompletionRequest, StreamChatCompletionResponse]
_LARGEST_ANSWER: Final = 32 * 1024 * 1024
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _LARGEST_ANSWER),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.primary_user_agent", "glmserve-client"),
)


class GrpcWire:
    """See `Wire`. All calls share one connection."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._metadata = (("authorization", f"Bearer {address.api_key}"),) if address.api_key else ()
        self._closed = False
        self._credentials = _credentials(address.certificates) if address.encrypted else None

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._address.authority, _OPTIONS)
        return grpc.aio.secure_channel(self._address.authority, self._credentials, _OPTIONS)

    async def chat(self, body: Body, *, left: float) -> Reply:
        """See `Wire.chat`."""
        request = chat_request(body)
        with self._errors():
            response = await ChatServiceStub(self._channel).CreateChatCompletion(request, **self._call(left))
        if not response.choices:
            raise InvalidAnswer("the answer has no choices")
        return grpc_reply.reply(response)

    async def stream(self, body: Body, *, left: float) -> AsyncGenerator[Event]:
        """See `Wire.stream`."""
        request = chat_request(body)
        last: Event | None = None
        call = ChatServiceStub(self._channel).StreamChatCompletion(request, **self._call(left))
        try:
            while (response := await self._next(call, begun=last is not None)) is not None:
                if (event := grpc_reply.event(response)) is not None:
                    last = event
                    yield event
        finally:
            call.cancel()
        if not isinstance(last, Usage):
            raise BrokenStream("the answer ended before its usage was told")

    async def models(self, *, left: float) -> list[Model]:
        """See `Wire.models`."""
        with self._errors():
            listed = await ModelServiceStub(self._channel).ListModels(ListModelsRequest(), **self._call(left))
        return [grpc_reply.model(model) for model in listed.models]

    async def count_tokens(self, body: Body, *, include_token_ids: bool, left: float) -> TokenCount:
        """See `Wire.count_tokens`."""
        request = CountTokensRequest(chat=chat_request(body), include_token_ids=include_token_ids)
        with self._errors():
            response = await TokenServiceStub(self._channel).CountTokens(request, **self._call(left))
        return grpc_reply.token_count(response)

    async def health(self, *, left: float) -> bool:
        """See `Wire.health`: the standard health service, for the server as a whole."""
        stub: Any = health_pb2_grpc.HealthStub(self._channel)
        with self._errors():
            checked = await stub.Check(health_pb2.HealthCheckRequest(), **self._call(left))
        return bool(checked.status == health_pb2.HealthCheckResponse.SERVING)

    async def request(self, method: str, path: str, *, json: Any, params: Body | None, left: float) -> Answer:  # noqa: ARG002 (the protocol's)
        """See `Wire.request`: gRPC has no paths."""
        raise NotSupported(f"{method} {path} needs an http address; {self._address.url} is gRPC")

    async def aclose(self) -> None:
        """See `Wire.aclose`."""
        self._closed = True
        if "_channel" in vars(self):
            await self._channel.close()

    def _call(self, left: float) -> dict[str, Any]:
        return {"metadata": self._metadata, "timeout": None if math.isinf(left) else left}

    async def _next(self, call: _Stream, *, begun: bool) -> StreamChatCompletionResponse | None:
        """The next response; None after the last."""
        with self._errors(begun=begun):
            response = await call.read()
        return response if isinstance(response, StreamChatCompletionResponse) else None

    @contextmanager
    def _errors(self, *, begun: bool = False) -> Iterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise error_of(error, begun=begun, address=self._address.authority) from None
        except asyncio.CancelledError:
            if self._closed:  # gRPC says it so
                raise ClientClosed("the client was closed during the call") from None
            raise


def _credentials(files: Certificates) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(_pem(files.ca), _pem(files.key), _pem(files.cert))


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    if b"-----BEGIN" not in data:
        raise ConfigurationError(f"{path} is no PEM file")
    return data

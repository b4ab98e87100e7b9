"""The asynchronous client."""

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from typing_extensions import Unpack

from glmserve_client.address import Address, WireKind
from glmserve_client.errors import ClientClosed
from glmserve_client.messages import Messages
from glmserve_client.model import Model, TokenCount
from glmserve_client.options import Options, seconds, settings
from glmserve_client.parameters import Limits, Parameters, split
from glmserve_client.reply import Reply
from glmserve_client.retry import Deadline, retried
from glmserve_client.stream import AsyncStream, Opened, first
from glmserve_client.wires.wire import Answer, Wire

_T = TypeVar("_T")


class AsyncClient:
    """A server, over gRPC or HTTP.

    `AsyncClient("grpc://127.0.0.1:50051")`, `AsyncClient("http://127.0.0.1:8080/v1")`; `grpcs` and `https` are
    encrypted. Everything is the same over both wires but `get` and its like (HTTP alone) and what `models`
    tells. It connects at its first call and belongs to the event loop of that call.

    Every call takes the arguments of `Limits`, chats those of `Parameters` too. It raises errors of
    `glmserve_client.errors` alone, and `TypeError` for an argument that does not exist.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        """Raises `ConfigurationError` for what `Options` does not allow."""
        self._settings = settings(url, **options)
        self._wire = _wire(self._settings.address)
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the connections. Calls under way raise `ClientClosed`, as later ones do."""
        if not self._closed:
            self._closed = True
            await self._wire.aclose()

    async def chat(self, messages: Messages, **parameters: Unpack[Parameters]) -> Reply:
        """The whole answer to a conversation."""
        asked, limits = split(messages, parameters)
        return await self._call(lambda left: self._wire.chat(asked, left=left), limits)

    def stream(self, messages: Messages, **parameters: Unpack[Parameters]) -> AsyncStream:
        """The answer as it is made: see `AsyncStream`. Nothing is sent before it is entered."""
        asked, limits = split(messages, parameters)
        pause = limits.get("token_timeout")
        pause = self._settings.token_timeout if pause is None else seconds("token_timeout", pause)
        return AsyncStream(lambda: self._open(asked, limits), token_timeout=pause)

    async def models(self, **limits: Unpack[Limits]) -> list[Model]:
        """The models that the server answers with."""
        return await self._call(lambda left: self._wire.models(left=left), limits)

    async def count_tokens(
        self, messages: Messages, *, include_token_ids: bool = False, **parameters: Unpack[Parameters]
    ) -> TokenCount:
        """The size of a conversation as the model would read it. `NotSupported` by servers without `/tokenize`."""
        asked, limits = split(messages, parameters)
        return await self._call(
            lambda left: self._wire.count_tokens(asked, include_token_ids=include_token_ids, left=left), limits
        )

    async def health(self, **limits: Unpack[Limits]) -> bool:
        """Whether the server takes requests. One that cannot be reached is `ConnectionFailed`."""
        return await self._call(lambda left: self._wire.health(left=left), limits)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        **limits: Unpack[Limits],
    ) -> Answer:
        """Calls another path of an HTTP server: `models` is under the address, `/readyz` at the server's root."""
        return await self._call(
            lambda left: self._wire.request(method, path, json=json, params=params, left=left), limits
        )

    async def get(self, path: str, *, params: Mapping[str, Any] | None = None, **limits: Unpack[Limits]) -> Answer:
        """See `request`."""
        return await self.request("GET", path, params=params, **limits)

    async def head(self, path: str, *, params: Mapping[str, Any] | None = None, **limits: Unpack[Limits]) -> Answer:
        """See `request`."""
        return await self.request("HEAD", path, params=params, **limits)

    async def delete(self, path: str, *, params: Mapping[str, Any] | None = None, **limits: Unpack[Limits]) -> Answer:
        """See `request`."""
        return await self.request("DELETE", path, params=params, **limits)

    async def post(self, path: str, *, json: Any = None, **limits: Unpack[Limits]) -> Answer:
        """See `request`."""
        return await self.request("POST", path, json=json, **limits)

    async def put(self, path: str, *, json: Any = None, **limits: Unpack[Limits]) -> Answer:
        """See `request`."""
        return await self.request("PUT", path, json=json, **limits)

    async def patch(self, path: str, *, json: Any = None, **limits: Unpack[Limits]) -> Answer:
        """See `request`."""
        return await self.request("PATCH", path, json=json, **limits)

    async def _open(self, asked: Mapping[str, Any], limits: Limits) -> Opened:
        deadline = self._deadline(limits)

        async def attempt() -> Opened:
            events = self._wire.stream(asked, left=deadline.left)
            return await first(events), events, deadline

        return await retried(attempt, retries=self._settings.retries, deadline=deadline)

    async def _call(self, attempt: Callable[[float], Awaitable[_T]], limits: Limits) -> _T:
        deadline = self._deadline(limits)
        return await retried(lambda: attempt(deadline.left), retries=self._settings.retries, deadline=deadline)

    def _deadline(self, limits: Limits) -> Deadline:
        if unknown := set(limits) - set(Limits.__annotations__):
            raise TypeError(f"there is no argument {min(unknown)!r}")
        if self._closed:
            raise ClientClosed("the client is closed")
        timeout = limits.get("timeout")
        return Deadline(self._settings.timeout if timeout is None else seconds("timeout", timeout))


def _wire(where: Address) -> Wire:
    """The libraries of the other wire are not loaded."""
    if where.wire is WireKind.GRPC:
        from glmserve_client.wires.grpc_wire import GrpcWire

        return GrpcWire(where)
    from glmserve_client.wires.http_wire import HttpWire

    return HttpWire(where)

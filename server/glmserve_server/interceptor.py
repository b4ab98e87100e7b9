"""The one interceptor around all RPCs: request ids, keys, errors to status, and a log line per call."""

from __future__ import annotations  # the stubs make generic what grpc does not

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc_status import rpc_status
from typing_extensions import override

from glmserve_server import calls
from glmserve_server.calls import Call
from glmserve_server.errors import CODES, DeadlineExceeded, InvalidArgument, ServeError, status_of
from glmserve_server.keys import Keys, key_of

Context = grpc.aio.ServicerContext[Any, Any]
Metadata = tuple[tuple[str, str], ...]

_ABORT_SECONDS: Final = 5.0
_REQUEST_ID: Final = "x-request-id"
_KEY: Final = "authorization"

logger = logging.getLogger("glmserve.calls")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Handlers are coroutines (unary) or async generators (streams), which are closed as soon as the caller leaves.

    A caller who takes nothing of a stream for `stall_limit` seconds is given up. `keys` says who is let in. `worded`
    gives the trailing metadata that a status has, beside its own, for the callers of a method. `observe` is told of
    each call that has ended, with the name of its code.
    """

    def __init__(
        self,
        *,
        stall_limit: float,
        keys: Keys,
        worded: Callable[[str, status_pb2.Status], Metadata],
        observe: Callable[[Call, str], None],
    ) -> None:
        self._stall_limit = stall_limit
        self._keys = keys
        self._worded = worded
        self._observe = observe
        self.running = 0
        """How many calls are being answered."""
        self._idle = asyncio.Event()

    async def idle(self) -> None:
        """Waits until no call is being answered."""
        while self.running:
            self._idle.clear()
            await self._idle.wait()

    @override
    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wraps the handler of one call."""
        handler: Any = await continuation(handler_call_details)
        name = handler_call_details.method.removeprefix("/")
        if handler is None or not name.startswith("glmserve."):
            return handler  # type: ignore[no-any-return]
        if handler.response_streaming:
            wrap, method = grpc.unary_stream_rpc_method_handler, self._streaming(name, handler.unary_stream)
        else:
            wrap, method = grpc.unary_unary_rpc_method_handler, self._unary(name, handler.unary_unary)
        return wrap(method, partial(_Unread, handler.request_deserializer), handler.response_serializer)

    def _unary(self, name: str, handler: Callable[[Any, Context], Awaitable[Any]]) -> Any:
        async def call(request: _Unread, context: Context) -> Any:
            async with self._counted(), self._observed(name, context):
                return await handler(request.read(), context)

        return _released(call)

    def _streaming(self, name: str, handler: Callable[[Any, Context], Any]) -> Any:
        async def call(request: _Unread, context: Context) -> None:
            # Written here and not by gRPC, so that a cancelled call closes the generator at once.
            async with (
                self._counted(),
                self._observed(name, context),
                contextlib.aclosing(handler(request.read(), context)) as responses,
            ):
                await _Writing(context, self._stall_limit).write_all(responses)

        return _released(call)

    @contextlib.asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._idle.set()

    @contextlib.asynccontextmanager
    async def _observed(self, name: str, context: Context) -> AsyncIterator[None]:
        metadata = dict(context.invocation_metadata() or ())
        call = calls.begin(name, _text(metadata.get(_REQUEST_ID)), _caller(metadata, context.peer()))
        context.set_trailing_metadata(((_REQUEST_ID, call.request_id),))
        try:
            self._keys.check(_text(metadata.get(_KEY)))
            yield
        except asyncio.CancelledError:
            # OpenAI's SDK, for one, leaves at [DONE] and does not wait for the end of the call.
            self._ended(call, "CANCELLED" if call.usage is None else "OK")
            raise
        except grpc.aio.AbortError:
            self._ended(call, grpc_name(context.code()))
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller gets a status and the log the reason)
            await self._abort(error, call, context)
        else:
            self._ended(call, "OK")

    def _ended(self, call: Call, code: str, reason: str = "") -> None:
        if error := call.notes.get("error"):  # over HTTP, an answer that breaks off is a call that ends well
            code = CODES.get(str(error), "INTERNAL")
        logger.info("%s%s", call.line(code), reason)
        self._observe(call, code)

    async def _abort(self, error: Exception, call: Call, context: Context) -> None:
        rich = status_of(error)
        status = rpc_status.to_status(rich)
        code = grpc_name(status.code)
        if isinstance(error, ServeError):
            self._ended(call, code, f": {error}")
        else:
            logger.error("%s", call.line(code), exc_info=error)
            self._observe(call, code)
        try:
            async with asyncio.timeout(_ABORT_SECONDS):
                # The metadata of an abort replace those that were set before.
                worded = self._worded(call.method, rich)
                metadata = (*status.trailing_metadata, *worded, (_REQUEST_ID, call.request_id))
                await context.abort(status.code, status.details, metadata)
        except TimeoutError:
            raise asyncio.CancelledError from None  # the caller does not even take that


class _Unread:
    """The bytes of a request. They are read once the call is let in: many small messages in few bytes are much work."""

    def __init__(self, read: Callable[[bytes], Any], data: bytes) -> None:
        self._read = read
        self._data = data

    def read(self) -> Any:
        """The request, once; gRPC keeps this as long as the call lasts. Raises `InvalidArgument`."""
        data, self._data = self._data, b""
        try:
            return self._read(data)
        except DecodeError as error:
            raise InvalidArgument(f"the request is no message of this method: {error}", field="") from None


def _released(call: Callable[[Any, Context], Awaitable[Any]]) -> Any:
    """The same, but an error leaves without the way that it came.

    gRPC keeps the error of a call with the call. Its traceback leads to the frames of the call and so back to itself: a
    ring, in which request and answer would be kept, many megabytes perhaps, until the collector looks for rings.
    """

    async def released(request: Any, context: Context) -> Any:
        try:
            return await call(request, context)
        except grpc.aio.AbortError as error:
            error.__context__ = None
            raise error.with_traceback(None)  # noqa: B904 (that it has no other cause is the point)
        finally:
            del request, context

    return released


class _Writing:
    """Writes an answer, and gives it up when a write takes longer than `limit` seconds.

    A timer for each write would cost about as much as the rest of it. There is one, which looks from time to time.
    """

    def __init__(self, context: Context, limit: float) -> None:
        self._context = context
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._begun = math.inf
        """When the write that runs was begun; infinity while none runs."""
        self._look()

    async def write_all(self, responses: AsyncIterator[Any]) -> None:
        """Raises `DeadlineExceeded`."""
        try:
            async with self._timeout:
                async for response in responses:
                    self._begun = self._loop.time()
                    await self._context.write(response)
                    self._begun = math.inf
        except TimeoutError:
            if not self._timeout.expired():
                raise
            raise DeadlineExceeded(f"Nothing of the answer was taken for {self._limit:g} seconds.") from None
        finally:
            self._timer.cancel()

    def _look(self) -> None:
        """Ends a write that takes too long; otherwise looks again when one can have become too long."""
        now = self._loop.time()
        due = min(self._begun, now) + self._limit
        if due <= now:
            self._timeout.reschedule(now)
        else:
            self._timer = self._loop.call_at(due, self._look)


def grpc_name(code: object) -> str:
    """The name of a status code, which grpc.aio gives as an enum or as a number."""
    if isinstance(code, int):
        return next((member.name for member in grpc.StatusCode if member.value[0] == code), str(code))
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"


def _caller(metadata: dict[str, str | bytes], peer: str) -> str:
    """The key that a call brings, else the address that it comes from, without its port."""
    if key := key_of(_text(metadata.get(_KEY))):
        return key
    if forwarded := _text(metadata.get("x-forwarded-for")):  # the last address is the one that Envoy has seen
        return forwarded.rpartition(",")[2].strip()
    return peer.rpartition(":")[0]


def _text(value: str | bytes | None) -> str | None:
    return value if isinstance(value, str) else None

"""HTTP/2 where a server offers it in the handshake of TLS, and HTTP/1.1 everywhere else."""

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from typing import Final

import httpx
from h2.exceptions import H2Error
from typing_extensions import override

from glmserve_server.engines.upstream.http2 import Http2Connection
from glmserve_server.engines.upstream.http2_stream import Http2Stream

_SECOND_ADDRESS_SECONDS: Final = 0.25
"""When a host has several addresses: how long one may take before the next is tried too."""
_SHUTDOWN_SECONDS: Final = 5.0


@dataclass(slots=True, eq=False)
class _Origin:
    host: str
    port: int
    connections: list[Http2Connection] = field(default_factory=list)
    http1: bool = False
    """It has not offered HTTP/2."""
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    fault: httpx.TransportError | None = None
    """Why the last connection could not be opened."""

    def free(self) -> Http2Connection | None:
        self.connections = [connection for connection in self.connections if not connection.closed]
        return next((connection for connection in self.connections if connection.room), None)


class NegotiatedTransport(httpx.AsyncBaseTransport):
    """A connection is opened when those that there are have no room for another stream."""

    def __init__(self, http1: httpx.AsyncBaseTransport, context: ssl.SSLContext) -> None:
        """`http1` is asked when there is no HTTP/2. The context is changed."""
        self._http1 = http1
        self._context = context
        self._context.set_alpn_protocols(["h2", "http/1.1"])
        self._origins: dict[tuple[str, int], _Origin] = {}

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme != "https":
            return await self._http1.handle_async_request(request)
        body = await request.aread()
        try:
            stream = await self._begun(request, body=bool(body))
            if stream is None:
                return await self._http1.handle_async_request(request)
            try:
                await stream.send_body(body)
                status, headers = await stream.answer()
            except BaseException:
                await stream.aclose()
                raise
        except H2Error as error:
            raise httpx.LocalProtocolError(str(error)) from None
        return httpx.Response(status, headers=headers, stream=stream, extensions={"http_version": b"HTTP/2"})

    @override
    async def aclose(self) -> None:
        for origin in self._origins.values():
            for connection in origin.connections:
                connection.close("this server ends")
        await self._http1.aclose()

    async def _begun(self, request: httpx.Request, *, body: bool) -> Http2Stream | None:
        """A stream with the request's head, or None if the server has not offered HTTP/2."""
        host, port = request.url.raw_host.decode("ascii"), request.url.port or 443
        origin = self._origins.setdefault((host, port), _Origin(host, port))
        connection = origin.free()
        if connection is None and not origin.http1:
            fault = origin.fault
            async with origin.opening:
                if origin.fault is not fault and origin.fault is not None:  # while this one waited
                    raise type(origin.fault)(str(origin.fault))
                connection = origin.free()
                if connection is None and not origin.http1:
                    connection = await self._opened(origin, request)
        return connection.begin(request, body=body) if connection else None

    async def _opened(self, origin: _Origin, request: httpx.Request) -> Http2Connection | None:
        """A new connection with room. Raises `httpx.TransportError`."""
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("connect")):
                return await self._connected(origin)
        except TimeoutError:
            origin.fault = httpx.ConnectTimeout("connecting took too long")
        except OSError as error:
            origin.fault = httpx.ConnectError(str(error))
        except httpx.TransportError as error:
            origin.fault = error
        raise origin.fault

    async def _connected(self, origin: _Origin) -> Http2Connection | None:
        reader, writer = await asyncio.open_connection(
            origin.host,
            origin.port,
            ssl=self._context,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            happy_eyeballs_delay=_SECOND_ADDRESS_SECONDS,
        )
        if writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            origin.http1 = True
            writer.close()
            return None
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection = Http2Connection(reader, writer)
        await connection.start()
        origin.connections.append(connection)
        return connection

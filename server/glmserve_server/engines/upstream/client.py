"""HTTP to upstreams: kept connections, bounded answers, and nothing that a request did not ask for.

Certificates are verified. No proxies or credentials are taken from the environment, no redirects are followed.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final
from urllib.parse import urlsplit

import httpx
from httpx_sse import EventSource

from glmserve_server.engines.upstream import errors
from glmserve_server.engines.upstream.errors import Lost
from glmserve_server.engines.upstream.fault import Fault
from glmserve_server.engines.upstream.limited import Limited, LimitedTransport, TooMuch
from glmserve_server.engines.upstream.options import UpstreamOptions

CONNECT_SECONDS: Final = 10.0
EVENT_BYTES: Final = 2 * 1024 * 1024
"""The most bytes of an event, with the comments before it, and of an answer that is no stream."""
ANSWER_BYTES: Final = 64 * 1024 * 1024
"""The most bytes of a stream."""

_IDLE_SECONDS: Final = 60.0
_KEPT: Final = 64
"""Connections that wait for their next request."""
_SOCKET: Final = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))
_HEADERS: Final = {"accept-encoding": "identity", "user-agent": "glmserve"}
_LEAST_SECRET: Final = 8
"""A shorter value of a header is no secret, but likely to be a word."""
_UNREACHED: Final = (httpx.ConnectError, httpx.ConnectTimeout)


@dataclass(frozen=True, slots=True)
class Body:
    """A whole answer, whatever its status."""

    status: int
    data: bytes
    fault: Fault | None
    """What it says when its status is not 2xx."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of events that has begun."""

    events: AsyncGenerator[str, None]
    """The data of each. Raises `DeadlineExceeded` and `WorkerDied`."""
    headers: Mapping[str, str] = field(repr=False)


class UpstreamClient:
    """Asks the servers of one model."""

    def __init__(self, options: UpstreamOptions) -> None:
        self._timeout = options.timeout
        self._secrets = _secrets(options)
        self._http = httpx.AsyncClient(
            transport=LimitedTransport(_transport(options), step=EVENT_BYTES, most=ANSWER_BYTES),
            headers={**_HEADERS, **options.headers, **_bearer(options.key)},
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            cookies=_no_cookies(),
            trust_env=False,
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        """Ends all connections."""
        await self._http.aclose()

    async def whole(self, method: str, url: str, content: bytes | None = None, *, seconds: float | None = None) -> Body:
        """An answer of any status, whole. Raises `Lost`."""
        async with self._answer(method, url, content, {}, seconds or self._timeout) as response:
            data = await self._read(response, seconds or self._timeout)
            fault = None if response.is_success else self._fault(response, data)
            return Body(response.status_code, data, fault)

    @contextlib.asynccontextmanager
    async def stream(self, url: str, content: bytes, headers: Mapping[str, str]) -> AsyncIterator[Stream | Fault]:
        """A stream, or the error that comes in its place. Leaving the block ends it at once if it has not ended: over
        HTTP/1.1 the connection, over HTTP/2 the stream alone. Raises `Lost`."""
        async with self._answer("POST", url, content, headers, self._timeout) as response:
            if not response.is_success:
                yield self._fault(response, await self._read(response, self._timeout))
                return
            if _media_type(response) != "text/event-stream":
                raise Lost(errors.unreadable())
            async with contextlib.aclosing(self._events(response)) as events:
                yield Stream(events, response.headers)

    def event_fault(self, data: str) -> Fault | None:
        """The error that an event is, or None."""
        fault = Fault.of_event(data)
        return fault.without(self._secrets) if fault else None

    async def _events(self, response: httpx.Response) -> AsyncGenerator[str, None]:
        response.encoding = "utf-8-sig"  # the mark of byte order is none of the first field's name
        limited: Limited = response.extensions["limited"]
        try:
            async with contextlib.aclosing(EventSource(response).aiter_sse()) as frames:
                while True:
                    async with asyncio.timeout(self._timeout):
                        while (frame := await anext(frames, None)) is not None and not frame.data:
                            pass  # an empty event is no more than a comment
                    if frame is None:
                        return
                    limited.reset()
                    yield frame.data
        except TimeoutError:
            raise errors.silent(self._timeout) from None
        except (httpx.HTTPError, httpx.StreamError, ssl.SSLError, TooMuch):
            raise errors.cut() from None

    @contextlib.asynccontextmanager
    async def _answer(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> AsyncIterator[httpx.Response]:
        """An answer whose body is still to be read. Raises `Lost`."""
        kind = {"content-type": "application/json"} if content is not None else {}
        request = self._http.build_request(method, url, content=content, headers={**headers, **kind})
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.send(request, stream=True)
        except _UNREACHED:
            raise Lost(errors.unreachable(), down=True) from None
        except (TimeoutError, httpx.TimeoutException):
            raise errors.silent(seconds) from None
        except (httpx.HTTPError, ssl.SSLError):  # an alert may come where httpx expects none
            raise Lost(errors.unreachable(), again=True) from None
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise Lost(errors.unreadable())  # a few bytes of it may be many
            yield response
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await response.aread()
        except TimeoutError:
            raise errors.silent(seconds) from None
        except (httpx.HTTPError, httpx.StreamError, ssl.SSLError):
            raise Lost(errors.unreachable()) from None
        except TooMuch:
            raise Lost(errors.unreadable()) from None

    def _fault(self, response: httpx.Response, data: bytes) -> Fault:
        return Fault.of_answer(response.status_code, response.headers, data).without(self._secrets)


def _transport(options: UpstreamOptions) -> httpx.AsyncBaseTransport:
    secure = any(url.startswith("https:") for url in options.urls)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=_KEPT, keepalive_expiry=_IDLE_SECONDS)
    verify = httpx.create_ssl_context() if secure else False
    http1 = httpx.AsyncHTTPTransport(verify=verify, limits=limits, socket_options=_SOCKET)
    if not (secure and options.http2):
        return http1
    from glmserve_server.engines.upstream.negotiated import NegotiatedTransport  # h2 takes a while to import

    return NegotiatedTransport(http1, httpx.create_ssl_context())


def _no_cookies() -> CookieJar:
    """Keeps none: an upstream could fill this server with them, and tell callers apart by them."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


def _media_type(response: httpx.Response) -> str:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _bearer(key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def _secrets(options: UpstreamOptions) -> tuple[str, ...]:
    """What no caller may see: keys, and addresses in all their parts; longer ones first."""
    places = [urlsplit(url) for url in options.urls]
    texts = {options.key or "", *options.urls, *(place.netloc for place in places)}
    texts |= {value for value in options.headers.values() if len(value) >= _LEAST_SECRET}
    texts |= {host for place in places if (host := place.hostname or "") and "." in host}
    return tuple(sorted(texts - {""}, key=len, reverse=True))

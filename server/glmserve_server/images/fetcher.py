"""Fetches images from the hosts that the operator has allowed: a request must not make this server look around in its
network (https://owasp.org/www-community/attacks/Server_Side_Request_Forgery).

Names are resolved, checked and connected to in one step, so that a name cannot mean two addresses. No proxy, cookies
or credentials are used, and no connection is kept.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpcore2
from typing_extensions import override

from glmserve_server.images.hosts import Hosts
from glmserve_server.images.location import Location
from glmserve_server.images.unusable import Unusable
from glmserve_server.validation import MAX_IMAGE_BYTES

MAX_REDIRECTS: Final = 3
FETCH_SECONDS: Final = 10.0
"""For all of it: names, connections, redirects, the image."""

AT_ONCE: Final = 8
"""Fetches at a time; others wait, and their seconds run."""

_HEADERS: Final = (("Accept", "image/png, image/jpeg, image/webp, image/gif"), ("Accept-Encoding", "identity"))
_AGENT: Final = ("User-Agent", "glmserve")
_OK: Final = 200
_REDIRECTS: Final = (301, 302, 303, 307, 308)


class Fetcher:
    """Fetches images, some at a time."""

    def __init__(self, hosts: Hosts, *, seconds: float = FETCH_SECONDS) -> None:
        self._hosts = hosts
        self._seconds = seconds
        self._names = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="glmserve-names")
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=AT_ONCE,
            max_keepalive_connections=0,
            network_backend=_CheckedNetwork(hosts, self._names),
        )

    async def fetch(self, url: str) -> bytes:
        """The bytes at a URL, whatever they are. Raises `Unusable` with what is wrong with it or went wrong."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._followed(Location.of(url))
        except TimeoutError:
            raise Unusable(f"could not be fetched within {self._seconds:g} seconds") from None
        except (httpcore2.NetworkError, httpcore2.TimeoutException, ssl.SSLError):  # an alert may come late
            raise Unusable("could not be fetched: its host cannot be connected to, or has broken off") from None
        except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol):
            raise Unusable("could not be fetched: its host does not speak HTTP as it should") from None

    async def aclose(self) -> None:
        """Ends all connections."""
        await self._pool.aclose()
        self._names.shutdown(wait=False, cancel_futures=True)

    async def _followed(self, location: Location) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            self._check(location)
            async with self._answer(location) as answer:
                if answer.status not in _REDIRECTS:
                    return await _body(answer)
                location = location.redirected(_header(answer, b"location"))
        raise Unusable(f"could not be fetched: it leads on more than {MAX_REDIRECTS} times")

    def _check(self, location: Location) -> None:
        if not self._hosts:
            raise Unusable(
                "is a URL, and this server fetches no images: send the picture itself, or have the operator allow its "
                "host with --image-host"
            )
        if not self._hosts.allow(location.host, location.port):
            raise Unusable(
                f"is at {location.site[:128]}, from where this server fetches no images: send the picture itself, or "
                "have the operator allow that host with --image-host"
            )

    @contextlib.asynccontextmanager
    async def _answer(self, location: Location) -> AsyncIterator[httpcore2.Response]:
        headers = [("Host", location.site), _AGENT, *_HEADERS, ("Connection", "close")]
        url = httpcore2.URL(scheme=location.scheme, host=location.host, port=location.port, target=location.target)
        async with self._pool.stream("GET", url, headers=headers) as answer:
            yield answer


async def _body(answer: httpcore2.Response) -> bytes:
    if answer.status != _OK:
        raise Unusable(f"could not be fetched: its host answers with HTTP status {answer.status}")
    if _header(answer, b"content-encoding") not in ("", "identity"):
        raise Unusable("could not be fetched: its host compresses it, which was not asked for")
    length = _header(answer, b"content-length")
    if length.isdecimal() and int(length[:20]) > MAX_IMAGE_BYTES:
        raise _too_large()
    body = bytearray()
    async for piece in answer.aiter_stream():
        body += piece
        if len(body) > MAX_IMAGE_BYTES:
            raise _too_large()
    return bytes(body)


def _header(answer: httpcore2.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in answer.headers if key.lower() == name), "")


def _too_large() -> Unusable:
    return Unusable(f"is larger than {MAX_IMAGE_BYTES // 2**20} MiB")


class _CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses that were checked, by their numbers."""

    def __init__(self, hosts: Hosts, threads: ThreadPoolExecutor) -> None:
        self._hosts = hosts
        self._threads = threads
        self._network = httpcore2.AnyIOBackend()

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await self._addresses(host, port)
        if not all(self._hosts.allow_address(host, port, address) for address in addresses):
            raise Unusable("is at an address that is not public, from where this server fetches no images")
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return _Stream(await self._network.connect_tcp(address, port, timeout, local_address, socket_options))
        return _Stream(await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options))

    async def _addresses(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError):
            raise Unusable("could not be fetched: its host has no address") from None
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection that is closed when its handshake is cut: httpcore2 forgets it when that ends by a cancellation."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner

    @override
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    @override
    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()

    @override
    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self.aclose()
            raise

    @override
    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

"""Images are fetched from where the operator allows it, and from nowhere else, however a URL is written."""

import asyncio
import gc
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from certificates import FILES
from paintings import WHOLE

from glmserve_server.configuration.flags import read_flags
from glmserve_server.configuration.found import SettingsError
from glmserve_server.configuration.load import load
from glmserve_server.images.fetcher import Fetcher
from glmserve_server.images.hosts import Hosts, is_public
from glmserve_server.images.unusable import Unusable

IMAGE = WHOLE["png"]()


class Handler(BaseHTTPRequestHandler):
    """A host that behaves as its paths say."""

    def do_GET(self) -> None:
        """Answers."""
        self.server.seen.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        try:
            getattr(self, self.path.strip("/").split("/")[0].partition("?")[0], self.missing)()
        except OSError:
            self.close_connection = True  # the caller has had enough

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def image(self) -> None:
        self._send(200, {"Content-Length": str(len(IMAGE)), "Set-Cookie": "a=b"}, IMAGE)

    def missing(self) -> None:
        self._send(404, {}, b"no")

    def on(self) -> None:
        """Redirects to the rest of the path: `/on/on/image`."""
        self._send(302, {"Location": self.path.removeprefix("/on")}, b"")

    def away(self) -> None:
        """Redirects to another port of this machine."""
        self._send(301, {"Location": f"http://127.0.0.1:{self.path.rsplit('/', 1)[1]}/image"}, b"")

    def file(self) -> None:
        self._send(302, {"Location": "file:///etc/passwd"}, b"")

    def huge(self) -> None:
        self._send(200, {"Content-Length": str(10**15)}, b"")

    def endless(self) -> None:
        self._send(200, {}, b"")
        while True:
            self.wfile.write(bytes(1 << 16))

    def slow(self) -> None:
        self._send(200, {}, b"")
        self.connection.settimeout(0.1)
        while not self._left():
            self.wfile.write(b"a")

    def silent(self) -> None:
        """Until the caller has left."""
        self.connection.recv(1)

    def gzip(self) -> None:
        self._send(200, {"Content-Encoding": "gzip"}, b"")

    def garbage(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")

    def heads(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(100_000)))

    def gone(self) -> None:
        self._send(200, {"Content-Length": "1000"}, b"abc")

    def _left(self) -> bool:
        """Whether the caller leaves within the connection's time."""
        try:
            return not self.connection.recv(1)
        except TimeoutError:
            return False

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def host() -> Iterator[ThreadingHTTPServer]:
    """The host."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    server.seen = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest_asyncio.fixture
async def fetcher(host: ThreadingHTTPServer) -> AsyncIterator[Fetcher]:
    """A fetcher that may fetch from the host and from public ones."""
    made = Fetcher(Hosts.of([f"127.0.0.1:{host.server_port}", "*"]))
    yield made
    await made.aclose()


def at(host: ThreadingHTTPServer, path: str) -> str:
    return f"http://127.0.0.1:{host.server_port}/{path}"


@pytest.mark.parametrize("path", ["image", "image?a=b#c", "on/image", "on/on/on/image"])
async def test_an_image_is_fetched(fetcher: Fetcher, host: ThreadingHTTPServer, path: str) -> None:
    host.seen.clear()  # type: ignore[attr-defined]
    for _ in range(2):
        assert await fetcher.fetch(at(host, path)) == IMAGE
    (_, headers), *_ = host.seen  # type: ignore[attr-defined]
    assert headers["Host"] == f"127.0.0.1:{host.server_port}"
    assert not [name for _, headers in host.seen for name in headers if name in ("Cookie", "Authorization", "Referer")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "HTTP status 404"),
        ("on/on/on/on/image", "leads on more than 3 times"),
        ("away/1", "at 127.0.0.1:1, from where this server fetches no images"),
        ("file", "must be an https: or http: URL"),
        ("huge", "larger than 20 MiB"),
        ("endless", "larger than 20 MiB"),
        ("slow", "within 1 seconds"),
        ("silent", "within 1 seconds"),
        ("gzip", "compresses it"),
        ("garbage", "does not speak HTTP as it should"),
        ("heads", "does not speak HTTP as it should|broken off"),
        ("gone", "does not speak HTTP as it should|broken off"),
    ],
)
async def test_a_host_that_misbehaves_is_left(host: ThreadingHTTPServer, path: str, reason: str) -> None:
    fetcher = Fetcher(Hosts.of([f"127.0.0.1:{host.server_port}"]), seconds=1 if "within" in reason else 10)
    with pytest.raises(Unusable, match=reason):
        await fetcher.fetch(at(host, path))
    await fetcher.aclose()


async def test_a_host_that_is_not_there(fetcher: Fetcher) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        other = Fetcher(Hosts.of([f"127.0.0.1:{port}"]))
        with pytest.raises(Unusable, match="cannot be connected to"):
            await other.fetch(f"http://127.0.0.1:{port}/")
        await other.aclose()
    with pytest.raises(Unusable, match="has no address"):
        await fetcher.fetch("https://no-such-host.invalid/a.png")


async def test_a_host_that_wants_a_certificate_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        refusing = asyncio.create_task(asyncio.to_thread(refuse, listener, context))
        fetcher = Fetcher(Hosts.of([f"127.0.0.1:{port}"]))
        with pytest.raises(Unusable, match="broken off"):
            await fetcher.fetch(f"https://127.0.0.1:{port}/image")
        await refusing
        await fetcher.aclose()


def refuse(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Lets a caller know that it has shown no certificate, and waits until it has left."""
    connection = listener.accept()[0]
    with connection.dup() as kept:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)
        while kept.recv(1 << 16):
            pass


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize(("seconds", "end"), [(1, Unusable), (60, asyncio.CancelledError)])
async def test_a_host_that_says_nothing_in_the_handshake_is_left(seconds: float, end: type[BaseException]) -> None:
    greeted, left = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        greeted.set()
        await reader.read()
        left.set()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        fetcher = Fetcher(Hosts.of([f"127.0.0.1:{port}"]), seconds=seconds)
        fetch = asyncio.create_task(fetcher.fetch(f"https://127.0.0.1:{port}/image"))
        await greeted.wait()
        if end is asyncio.CancelledError:
            fetch.cancel()
        with pytest.raises(end):
            await fetch
        async with asyncio.timeout(10):
            await left.wait()
        await fetcher.aclose()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is closed by the garbage collection."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://user:secret@example.com/", "without a user name"),
        ("http://example.com:22/", "at example.com:22, from where"),
        ("http://127.0.0.1:99999/", "is not a URL"),
        ("http://[::1/", "is not a URL"),
        ("http:///a.png", "the name of a host"),
        ("http://exämple.com/", "in ASCII"),
        ("http://exam ple.com/", "without spaces"),
        ("http://example.com\\@127.0.0.1/", "without spaces"),
        ("http://example.com/\r\nHost: x", "without spaces"),
        ("gopher://example.com/", "https: or http:"),
        ("http://example.com/" + "a" * 9000, "at most 8192 characters"),
    ],
)
async def test_a_strange_url_is_refused(fetcher: Fetcher, url: str, reason: str) -> None:
    with pytest.raises(Unusable, match=reason) as refused:
        await fetcher.fetch(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        *("127.0.0.1", "2130706433", "0x7f.1", "017700000001", "127.1", "localhost", "localhost.", "0", "[::1]"),
        *("169.254.169.254", "10.1.2.3", "192.168.0.1", "100.64.0.1"),
        *("[::ffff:10.0.0.1]", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]"),
    ],
)
async def test_addresses_of_this_network_are_refused_however_they_are_written(fetcher: Fetcher, name: str) -> None:
    with pytest.raises(Unusable, match=r"not public|has no address"):
        await fetcher.fetch(f"http://{name}/image")


async def test_a_name_is_resolved_once_and_all_its_addresses_count(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def resolve(name: str, port: int, **_: Any) -> list[Any]:
        asked.append(name)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("93.184.216.34", "10.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Unusable, match="not public"):
        await fetcher.fetch("http://example.com/")
    assert asked == ["example.com"]


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "127.8.8.8", "10.0.0.1", "172.31.0.1", "100.127.0.1", "169.254.169.254"),  # noqa: S104
        *("192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "ff02::1", "fc00::1", "fe80::1", "fec0::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "2002:7f00:1::", "2001:0:a00:1::1", "64:ff9b::a00:1"),
    ],
)
def test_other_addresses_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def test_hosts_are_told_apart() -> None:
    hosts = Hosts.of(["Example.com", "images.internal:9000", "[::1]:8000"])
    allowed = [("example.com", 443), ("example.com", 80), ("images.internal", 9000), ("::1", 8000)]
    refused = [("example.com", 8080), ("a.example.com", 443), ("images.internal", 80), ("::1", 80), ("", 80)]
    assert all(hosts.allow(*place) for place in allowed)
    assert not any(hosts.allow(*place) for place in refused)
    assert hosts.allow_address("images.internal", 9000, "10.0.0.1")
    assert not hosts.allow_address("example.com", 443, "10.0.0.1")
    assert not Hosts.of([])


@pytest.mark.parametrize(
    "entry", ["", "http://example.com", "a b", "example.com/", "u@h", "h:x", "h:99999", "*.com", "h?"]
)
def test_a_setting_that_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(SettingsError, match=r"--image-host .* is not a host"):
        load(read_flags({"image_hosts": [entry]}), {"GLMSERVE_CONFIG": ""})

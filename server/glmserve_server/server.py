"""The gRPC server: opened with everything that it serves, drained before it is closed."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from glmserve_server.catalogue import Catalogue, Entry
from glmserve_server.interceptor import CallInterceptor
from glmserve_server.metrics import Metrics

_BEYOND_LIMIT: Final = 8
"""MiB more than the edge lets through, so that only the edge's limit is ever met there."""

_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a second server on the same port is an error, not a coin toss
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


_LAST_WORDS: Final = 1.0
"""Seconds that calls have to send their error when the server does not wait for them any more."""

_STATUS: Final = {
    True: health_pb2.HealthCheckResponse.SERVING,
    False: health_pb2.HealthCheckResponse.NOT_SERVING,
}

logger = logging.getLogger(__name__)


class AddressInUse(Exception):
    """The address cannot be listened on."""


class Server:
    """Serves while its block is entered: `async with Server(...) as server: ...; await server.drain()`."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        services: Sequence[tuple[str, Callable[[grpc.aio.Server], None]]],
        catalogue: Catalogue,
        progress: Callable[[Entry, float], None],
        cut_short: Callable[[], None],
        max_body_mib: int,
        calls: CallInterceptor,
        metrics: Metrics,
        metrics_port: int | None,
        drain_delay: float,
        grace: float,
    ) -> None:
        """`services`: the full name of each and what adds it. `progress`: see `Catalogue.start`. `drain_delay`: seconds
        in which calls are still taken when health says NOT_SERVING already. `grace`: seconds that calls have to end
        after that; then `cut_short` makes them end with an error. `metrics_port`: where the metrics are shown, if
        anywhere. `max_body_mib`: the edge's limit for the body of a
        request.

        Raises `AddressInUse`.
        """
        self._catalogue = catalogue
        self._progress = progress
        self._drain_delay = drain_delay
        self._grace = grace
        self._health = health.aio.HealthServicer()
        self._draining = False
        self._names = [name for name, _ in services]
        self._calls = calls
        self._metrics = metrics
        self._metrics_port = metrics_port
        self._host = host
        self._cut_short = cut_short
        largest = ("grpc.max_receive_message_length", (max_body_mib + _BEYOND_LIMIT) * 2**20)
        self._server = grpc.aio.server(interceptors=[self._calls], options=(*_OPTIONS, largest))
        for _, add in services:
            add(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection([*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        try:
            self.port = self._server.add_insecure_port(_address(host, port))
        except RuntimeError:
            fault = f"cannot listen on {_address(host, port)}: the port is taken, or not this machine's"
            raise AddressInUse(fault) from None
        self.address = _address(host, self.port)
        self.metrics_url = ""
        """Where the metrics are, once it is entered; empty if nowhere."""

    @property
    def entries(self) -> Sequence[Entry]:
        """The models."""
        return self._catalogue.entries

    async def __aenter__(self) -> Self:
        """Starts the engines, then listens. Raises `AddressInUse` for the port of the metrics."""
        async with contextlib.AsyncExitStack() as undo:
            self._open_metrics()
            undo.push_async_callback(self._metrics.aclose)
            for entry in self._catalogue.entries:
                entry.on_change = partial(self._observe, entry)
            await self._catalogue.start(self._progress)
            undo.push_async_callback(self._catalogue.aclose)
            await self._server.start()
            await self._set_health()
            undo.pop_all()
        return self

    def _open_metrics(self) -> None:
        if self._metrics_port is None:
            return
        try:
            port = self._metrics.open(self._host, self._metrics_port)
        except OSError as error:
            fault = f"cannot listen on {_address(self._host, self._metrics_port)} for metrics: {error.strerror}"
            raise AddressInUse(fault) from None
        self.metrics_url = f"http://{_address(self._host, port)}/metrics"

    async def drain(self) -> None:
        """Says NOT_SERVING, waits for load balancers to notice, takes no new calls, and lets those that run end.

        Answers that the grace is too short for end with an error, not as if they were whole.
        """
        self._draining = True
        await self._set_health()
        await asyncio.sleep(self._drain_delay)
        stopping = asyncio.create_task(self._server.stop(self._grace + _LAST_WORDS))
        idle = asyncio.create_task(self._calls.idle())
        await asyncio.wait((stopping, idle), timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        await self._end_calls()
        await stopping

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends what still runs, then the engines."""
        await self._end_calls()
        await self._metrics.aclose()
        await self._catalogue.aclose()

    async def _end_calls(self) -> None:
        """Answers that still run get an error. A moment is left to send what is to be sent; health watches just end."""
        self._cut_short()
        await self._server.stop(_LAST_WORDS)

    def _observe(self, entry: Entry) -> None:
        """Says that a model cannot be run any more, or can again."""
        if entry.fault:
            logger.error("%s is not served: %s", entry.id, entry.fault)
        else:
            logger.info("%s is served again", entry.id)
        self._changing = asyncio.ensure_future(self._set_health())

    async def _set_health(self) -> None:
        """Each model has a health of its own, by its id; the server and its services have it while any model has."""
        models = {entry.id: not entry.fault and not self._draining for entry in self._catalogue.entries}
        for name in ("", *self._names):
            await self._health.set(name, _STATUS[any(models.values())])
        for model, healthy in models.items():
            await self._health.set(model, _STATUS[healthy])


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

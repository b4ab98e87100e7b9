"""What operators watch, as Prometheus reads it.

The names follow https://prometheus.io/docs/practices/naming/; times are in seconds. No label has anything that callers
choose: a model is its id, an alias and a wrong name are none.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from glmserve_server.calls import Call
from glmserve_server.catalogue import Entry

_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_PATIENCE: Final = 5.0
"""Seconds that whoever asks has for each part of a question, and the event loop to say how the models are."""


class Metrics:
    """Counts calls as they end, and shows the numbers on a port of their own. Nothing of what was asked is in them."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # gauges that Prometheus makes nothing of
        self._registry = registry = CollectorRegistry()
        self._calls = Counter(
            "glmserve_calls", "Calls that have ended.", ("method", "model", "code"), registry=registry
        )
        self._seconds = Histogram(
            "glmserve_call_duration_seconds",
            "Time from a call's arrival to its end.",
            ("method", "model"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._first = Histogram(
            "glmserve_time_to_first_token_seconds",
            "Time from a call's arrival to the first piece of its answer.",
            ("model",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._tokens = Counter(
            "glmserve_tokens",
            "Tokens of answers that have ended: of the prompt, those of it that were cached, and of the answer.",
            ("model", "kind"),
            registry=registry,
        )
        ProcessCollector(registry=registry)
        self._models = _Models(entries)
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    def observe(self, call: Call, code: str) -> None:
        """Counts a call that has ended with `code`."""
        model = str(call.notes.get("model", ""))
        self._calls.labels(call.method, model, code).inc()
        self._seconds.labels(call.method, model).observe(call.seconds)
        if call.first is not None:
            self._first.labels(model).observe(call.first)
        if call.usage is not None:
            self._tokens.labels(model, "prompt").inc(call.usage.prompt_tokens)
            self._tokens.labels(model, "cached").inc(call.usage.cached_tokens)
            self._tokens.labels(model, "completion").inc(call.usage.completion_tokens)

    def open(self, host: str, port: int) -> int:
        """Answers `GET /metrics` from now on, in threads; called on the event loop. Returns the port.

        Raises `OSError` when it cannot be listened on.
        """
        self._models.loop = asyncio.get_running_loop()
        self._registry.register(self._models)
        self._server, self._thread = start_http_server(port, host, registry=self._registry)
        handler: Any = self._server.RequestHandlerClass
        handler.timeout = _PATIENCE  # without one, who asks nothing holds a thread for ever
        return self._server.server_port

    async def aclose(self) -> None:
        """Ends that."""
        if self._server is not None and self._thread is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._server.server_close()
            await asyncio.to_thread(self._thread.join)


class _Models(Collector):
    """How the models are at the moment that somebody asks."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Called in a thread; what it reads belongs to the event loop."""
        yield from asyncio.run_coroutine_threadsafe(self._read(), self.loop).result(_PATIENCE)

    def describe(self) -> list[GaugeMetricFamily]:
        """Their names, without numbers; asked for when only some are wanted."""
        return [
            GaugeMetricFamily("glmserve_model_up", "Whether the model can be run.", labels=["model"]),
            GaugeMetricFamily(
                "glmserve_answers", "Answers that are wanted at present, those that wait included.", labels=["model"]
            ),
            GaugeMetricFamily(
                "glmserve_answers_waiting",
                "What waits in the queue: answers, and prompts that only llama.cpp can count.",
                labels=["model"],
            ),
        ]

    async def _read(self) -> list[GaugeMetricFamily]:
        up, running, waiting = self.describe()
        for entry in self._entries:
            up.add_metric([entry.id], float(entry.loaded and not entry.fault))
            running.add_metric([entry.id], entry.running)
            waiting.add_metric([entry.id], entry.waiting)
        return [up, running, waiting]

"""From the first line on the terminal to the last: starts, announces, waits, drains."""

import asyncio
import contextlib
import gc
import json
import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from glmserve_server import wiring
from glmserve_server.card.visible import visible
from glmserve_server.catalogue import Entry
from glmserve_server.configuration.load import Configuration
from glmserve_server.errors import ModelUnavailable
from glmserve_server.server import AddressInUse
from glmserve_server.settings import Settings

_console = Console(stderr=True, highlight=False, soft_wrap=True)


class EdgeLost(Exception):
    """Envoy has ended by itself."""


def run(configuration: Configuration, *, edge: bool) -> int:
    """Serves until SIGINT or SIGTERM, with Envoy in front if `edge`. Returns the exit status: 0, or 1 when it cannot
    serve, not even one model.

    The first signal lets running calls end, the second does not wait for them.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it has a line for every request to an upstream
    try:
        if configuration.file:
            _say(f"configured by {configuration.file.resolve()}")
        asyncio.run(_serve(configuration.settings, edge=edge))
    except (ModelUnavailable, AddressInUse, EdgeLost, wiring.EdgeError, OSError) as error:
        _say(str(error), "red")
        return 1
    return 0


async def _serve(settings: Settings, *, edge: bool) -> None:
    with _cancelled_by_signals(), contextlib.suppress(asyncio.CancelledError):
        async with contextlib.AsyncExitStack() as stack:
            server = wiring.build_server(settings, _report)
            _say(f"loading {', '.join(entry.id for entry in server.entries)}")
            await stack.enter_async_context(server)
            addresses = {"grpc": server.address}
            if server.metrics_url:
                addresses["metrics"] = server.metrics_url
            envoy = await stack.enter_async_context(wiring.build_edge(settings, server)) if edge else None
            if envoy:
                addresses |= {"openai": envoy.openai_url, "admin": envoy.admin_url}
            gc.freeze()  # what is there now stays: the collector need not look at it again
            example = _example(addresses, _first(server.entries), keyed=bool(settings.api_keys))
            stack.enter_context(_announced(addresses, example, settings.ready_file))
            try:
                await _until_lost(envoy)
            except asyncio.CancelledError:
                _console.print("glmserve: finishing what runs; once more to stop at once")
                await server.drain()
                if envoy:
                    await envoy.drain(settings.grace)


def _report(entry: Entry, seconds: float) -> None:
    """A line for a model that is loaded, or cannot be."""
    if entry.loaded:
        notes = "; ".join(filter(None, (entry.note, entry.fault)))
        _say(f"{entry.id} is loaded after {seconds:.1f} s" + (f" ({notes})" if notes else ""))
    else:
        _say(f"{entry.id} is not loaded: {entry.fault}", "red")


def _say(text: str, colour: str = "") -> None:
    """A line on the terminal. Files and flags may have a say in it."""
    _console.print(Text("glmserve:", colour), Text(visible(text)))


def _first(entries: Sequence[Entry]) -> str:
    """The model to try."""
    return next(entry.id for entry in entries if entry.loaded)


async def _until_lost(envoy: wiring.Envoy | None) -> None:
    """Waits for ever, or until Envoy ends."""
    if envoy is None:
        await asyncio.Event().wait()
    else:
        raise EdgeLost(f"Envoy ended by itself, with status {await envoy.wait()}")


@contextlib.contextmanager
def _cancelled_by_signals() -> Iterator[None]:
    """SIGINT and SIGTERM cancel the current task, as often as they come."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)  # type: ignore[union-attr]  # a coroutine runs in a task
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _announced(addresses: Mapping[str, str], example: str, ready_file: Path | None) -> Iterator[None]:
    if ready_file is not None:
        wiring.write_ready_file(ready_file, addresses)
    if "openai" in addresses:
        _console.print(f"  OpenAI  {addresses['openai']}")
    _console.print(f"  gRPC    {addresses['grpc']}")
    if "metrics" in addresses:
        _console.print(f"  metrics {addresses['metrics']}")
    _console.print(f"  try     {example}", markup=False)
    try:
        yield
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def _example(addresses: Mapping[str, str], model: str, *, keyed: bool) -> str:
    """A command to try; a key is expected where the client looks for it, too."""
    question = "What is the capital of France?"
    if "openai" not in addresses:
        return f'glmserve ask --grpc {wiring.reachable(addresses["grpc"])} --model {model} "{question}"'
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": question}]})
    key = '-H "authorization: Bearer $GLMSERVE_API_KEY" ' if keyed else ""
    return f"curl {addresses['openai']}/chat/completions {key}--json '{body}'"

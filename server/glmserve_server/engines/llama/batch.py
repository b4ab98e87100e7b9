"""The worker of a model, its slots, and who waits for one.

One task starts the process, reads from it, and starts another when it is lost or silent.
"""

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from glmserve_server.engines.llama.process import Load, WorkerProcess, line_of
from glmserve_server.errors import DeadlineExceeded, ModelUnavailable, QueueFull, ShuttingDown, WorkerDied
from glmserve_server.waiting import Waiting

Chunk = dict[str, Any]
Chunks = AsyncGenerator[Chunk, None]

BACKOFF: Final = (0.0, 0.1, 0.5, 2.0, 5.0)
"""Seconds before a lost worker is started again: first, second, … time in a row."""
AHEAD: Final = 64
"""Chunks that a reader may be behind for longer than the stall limit."""

logger = logging.getLogger(__name__)


class _Lost(Exception):
    """The process has ended in the middle of its work; the text says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times are in seconds."""

    queue: int
    """Requests that may wait for a slot."""
    stall: float
    """How long a reader may take nothing."""
    silence: float
    """How long a worker with work may say nothing before it is taken for dead."""


class _Run:
    """One answer: what has come of it and was not taken."""

    def __init__(self, stall: float, patience: float) -> None:
        self._stall = stall
        self.patience = patience
        """The seconds that its worker may say nothing beyond the limit: until the first token."""
        self._pieces: deque[Chunk | Exception | None] = deque()
        self._filled = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._taken = self._clock()

    def put(self, piece: Chunk | Exception | None) -> bool:
        """None: that was all. Returns False when the reader is given up."""
        if isinstance(piece, dict) and "prompt_progress" not in piece:
            self.patience = 0.0
        if not self._pieces:
            self._taken = self._clock()
        elif len(self._pieces) >= AHEAD and self._clock() - self._taken > self._stall:
            self._pieces.append(DeadlineExceeded(f"Nothing was taken for {self._stall:g} seconds."))
            return False
        self._pieces.append(piece)
        self._filled.set()
        return True

    async def take(self) -> Chunk | Exception | None:
        """Waits for the next piece."""
        while not self._pieces:
            self._filled.clear()
            await self._filled.wait()
        self._taken = self._clock()
        return self._pieces.popleft()


class Batch:
    """Runs as many answers at a time as there are slots."""

    def __init__(self, load: Load, limits: Limits, on_fault: Callable[[str | None], None]) -> None:
        """`on_fault` is told why no worker can run, and None when one can again."""
        self._load = load
        self._limits = limits
        self._on_fault = on_fault
        self._worker: WorkerProcess | None = None
        self._runs: dict[int, _Run] = {}
        self._free = 0
        self._number = 0
        self._waiting: Waiting[None] = Waiting(limits.queue)
        self._fault: str | None = None
        self._killed = ""
        """What is to be said of a worker that was killed."""
        self._closed = False
        self._keeper: asyncio.Task[None] | None = None
        self._seconds = 1.0  # that an answer takes, a moving average

    @property
    def waiting(self) -> int:
        """How many runs wait for a slot."""
        return len(self._waiting)

    async def start(self) -> None:
        """Loads the model. Raises `ModelUnavailable`."""
        self._worker = await WorkerProcess.start(self._load)
        self._keeper = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Ends the worker; whoever waits is told that the server shuts down."""
        self._closed = True
        self._waiting.dismiss(ShuttingDown("The server is shutting down."))
        if self._worker is not None:
            self._worker.kill()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self._worker is not None:
            await self._worker.close()
            self._worker = None

    async def run(self, frame: dict[str, Any], caller: str, *, admitted: bool = False, patience: float = 0.0) -> Chunks:
        """The chunks of an answer.

        A worker that is lost before the answer's first token is replaced by another, once, unseen; later that is
        `WorkerDied`. `admitted`: the request is being answered already, so this run does not count in the queue.
        `patience`: seconds that the worker may say nothing beyond the limit before the first token.
        """
        for attempt in range(2):
            seen = False
            try:
                once = self._run_once(frame, caller, admitted or attempt > 0, patience)
                async with contextlib.aclosing(once) as chunks:
                    async for chunk in chunks:
                        seen = seen or "prompt_progress" not in chunk
                        yield chunk
                return
            except _Lost as lost:
                if seen or attempt:
                    raise WorkerDied(f"The model's process ended in the middle of the answer: {lost}.") from lost

    async def _run_once(self, frame: dict[str, Any], caller: str, admitted: bool, patience: float) -> Chunks:
        self._number += 1
        number, clock = self._number, asyncio.get_running_loop().time
        line = line_of({"run": number, **frame})
        await self._acquire(caller, admitted)
        worker = self._worker
        if worker is None:
            raise _Lost("the worker process ended before it could begin")
        begun = clock()
        run = self._runs[number] = _Run(self._limits.stall, patience)
        worker.send(line)
        try:
            while (piece := await run.take()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self._seconds += (clock() - begun - self._seconds) / 8
            if number in self._runs:  # the slot is free once the worker says so
                worker.send(line_of({"cancel": number}))

    async def _acquire(self, caller: str, admitted: bool) -> None:
        if self._closed:
            raise ShuttingDown("The server is shutting down.")
        if self._free:
            self._free -= 1
            return
        if self._fault:
            raise ModelUnavailable(self._fault)
        waiter = self._waiting.join(caller, self._queue_full(), admitted=admitted)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release()
            raise
        finally:
            self._waiting.leave(caller, waiter)

    def _queue_full(self) -> QueueFull:
        limit = self._waiting.limit
        seconds = math.ceil((limit + 1) * self._seconds / self._load.slots)
        return QueueFull(
            f"{limit} requests wait for this model already, which is the limit.", retry_after=min(max(seconds, 1), 60)
        )

    def _release(self) -> None:
        if self._worker is not None and not self._waiting.call(None):
            self._free += 1

    async def _keep(self) -> None:
        """Worker after worker."""
        failures = 0
        while not self._closed:
            if self._worker is None:
                await asyncio.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
                try:
                    self._worker = await WorkerProcess.start(self._load)
                except (ModelUnavailable, OSError) as error:
                    failures += 1
                    self._set_fault(f"a worker cannot be started: {error}")
                    continue
            self._set_fault(None)
            for _ in range(self._load.slots):
                self._release()
            served, how = await self._read(self._worker)
            self._lose(self._worker, how)
            failures = 0 if served else failures + 1
            if failures > 1:
                self._set_fault(f"its workers die again and again: {how}")

    def _lose(self, worker: WorkerProcess, how: str) -> None:
        self._worker, self._free = None, 0
        runs, self._runs = self._runs, {}
        for run in runs.values():
            run.put(_Lost(how))
        logger.warning("worker %d is lost and will be replaced: %s", worker.pid, how)

    async def _read(self, worker: WorkerProcess) -> tuple[bool, str]:
        """Passes chunks on until the worker is lost. Returns whether it has ended any run, and how it was lost."""
        served, self._killed = False, ""
        while line := await self._line(worker):
            name, _, data = line.partition(b" ")
            run = self._runs.get(int(name)) if name.isdigit() else None
            if run is None:
                continue
            if data:
                try:
                    taken = run.put(orjson.loads(data))
                except orjson.JSONDecodeError:
                    self._kill(worker, "wrote what is no JSON")
                    break
                if not taken:
                    worker.send(line_of({"cancel": int(name)}))
                continue
            served = True
            del self._runs[int(name)]
            run.put(None)
            self._release()
        how = await worker.close()
        return served, f"the worker process {self._killed or how}"

    def _kill(self, worker: WorkerProcess, why: str) -> None:
        self._killed = f"{why} and was killed"
        worker.kill()

    async def _line(self, worker: WorkerProcess) -> bytes:
        """The next line; empty when the process has ended, or was killed because it is silent."""
        waited = 0.0
        while True:
            busy = bool(self._runs)
            try:
                async with asyncio.timeout(self._limits.silence):
                    return await worker.line()
            except TimeoutError:
                waited = waited + self._limits.silence if busy and self._runs else 0.0
                if waited > max((run.patience for run in self._runs.values()), default=waited):
                    self._kill(worker, f"said nothing for {waited:g} seconds")

    def _set_fault(self, fault: str | None) -> None:
        """There is no worker, and it may be a while; None: there is one again."""
        if fault == self._fault:
            return
        self._fault = fault
        if fault is not None:
            logger.error("no worker: %s", fault)
            self._waiting.dismiss(ModelUnavailable(fault))
        self._on_fault(fault)

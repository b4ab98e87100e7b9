"""The pool: every worker process with the thread that drives it, and the queue of requests before them."""

import asyncio
import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final

from glmserve_server.engines.chatglm.handover import Handover
from glmserve_server.engines.chatglm.process import End, Job, WorkerFault, WorkerLost, WorkerProcess
from glmserve_server.errors import ModelUnavailable, QueueFull, ShuttingDown, WorkerDied

Pieces = Handover[int | End | WorkerLost | WorkerFault]

AHEAD: Final = 64
"""Tokens that may lie between a worker's thread and a reader who is slow."""

CANCEL_GRACE: Final = 0.5
"""Seconds that a worker has to end a cancelled run (a prefill cannot be interrupted) before it is replaced."""

BACKOFF: Final = (0.0, 0.1, 0.5, 2.0, 5.0)
"""Seconds before a lost worker is started again: first, second, … time in a row."""

logger = logging.getLogger(__name__)


class Pool:
    """Runs jobs on the first free worker, first come first served."""

    def __init__(self, start_worker: Callable[[], WorkerProcess], *, workers: int, queue_limit: int) -> None:
        self._start_worker = start_worker
        self._size = workers
        self._queue_limit = queue_limit
        self._seats: list[_Seat] = []
        self._free: deque[_Seat] = deque()
        self._waiting: deque[asyncio.Future[_Seat]] = deque()
        self._closed = False

    async def start(self) -> None:
        """Starts all workers and waits for them. Raises `ModelUnavailable` if one cannot load the model."""
        self._seats = [_Seat(self._start_worker, self._release, index) for index in range(self._size)]
        try:
            await asyncio.gather(*(seat.started for seat in self._seats))
        except ModelUnavailable:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Ends all workers; whoever waits is told that the server shuts down."""
        self._closed = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(ShuttingDown("The server is shutting down."))
        for seat in self._seats:
            seat.close()
        await asyncio.gather(*(asyncio.to_thread(seat.join) for seat in self._seats))

    async def run(self, job: Job) -> AsyncGenerator[list[int] | End, None]:
        """The tokens of the answer as they come, several at once when the caller is slow, then its end.

        A worker that dies before its first token is replaced by another, once, unseen; later that is `WorkerDied`.
        """
        for attempt in range(2):
            seen = False
            try:
                async with contextlib.aclosing(self._run_once(job)) as pieces:
                    async for piece in pieces:
                        seen = True
                        yield piece
                return
            except WorkerLost as lost:
                if seen or attempt:
                    raise WorkerDied(f"The model's process ended in the middle of the answer: {lost}.") from lost

    async def _run_once(self, job: Job) -> AsyncGenerator[list[int] | End, None]:
        seat = await self._acquire()
        pieces: Pieces = Handover(AHEAD)
        seat.run(job, pieces)
        ended = False
        try:
            while not ended:
                taken = await pieces.take()
                last = taken[-1]
                ended = not isinstance(last, int)
                if ids := [token for token in taken if isinstance(token, int)]:
                    yield ids
                if isinstance(last, Exception):
                    raise last
                if isinstance(last, End):
                    yield last
        finally:
            if not ended:
                pieces.close()
                seat.cancel()

    async def _acquire(self) -> "_Seat":
        if self._closed:
            raise ShuttingDown("The server is shutting down.")
        if self._free:
            return self._free.popleft()
        faults = [seat.fault for seat in self._seats if seat.fault]
        if len(faults) == len(self._seats):
            raise ModelUnavailable(faults[0])
        if len(self._waiting) >= self._queue_limit:
            raise QueueFull(f"{len(self._waiting)} requests wait for this model already, which is the limit.")
        waiter: asyncio.Future[_Seat] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release(waiter.result())
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiter)

    def _release(self, seat: "_Seat") -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(seat)
                return
        self._free.append(seat)


class _Seat:
    """A place for one worker: the thread that starts it, drives it, and starts another when it is lost."""

    def __init__(
        self, start_worker: Callable[[], WorkerProcess], release: Callable[["_Seat"], None], index: int
    ) -> None:
        self._start_worker = start_worker
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[tuple[Job, Pieces] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._process: WorkerProcess | None = None
        self._runs = 0
        self.fault: str | None = None
        """Why the last attempt to start a worker failed."""
        self.started: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, name=f"glmserve-worker-{index}", daemon=True)
        self._thread.start()

    def run(self, job: Job, pieces: Pieces) -> None:
        """Begins a job; the seat releases itself when it is done."""
        self._inbox.put((job, pieces))

    def cancel(self) -> None:
        """Ends the present job, by force if the worker does not do it soon."""
        process, run = self._process, self._runs
        if process is None:
            return
        process.cancel()

        def insist() -> None:
            if self._process is process and self._runs == run:
                process.kill()

        self._loop.call_later(CANCEL_GRACE, insist)

    def close(self) -> None:
        """Ends the thread and its worker."""
        self._closing.set()
        self._inbox.put(None)
        if self._process is not None:
            self._process.kill()

    def join(self) -> None:
        """Waits for the thread."""
        self._thread.join()

    def _work(self) -> None:
        losses = 0
        while not self._closing.wait(BACKOFF[min(losses, len(BACKOFF) - 1)]):
            try:
                self._process = self._start_worker()
            except ModelUnavailable as error:
                self.fault = str(error)
                losses += 1
                if not self._tell_start(error):
                    return
                continue
            self.fault = None
            self._tell_start(None)
            losses = 0 if self._drive(self._process) else losses + 1
            self._process.close()
            self._process = None

    def _tell_start(self, error: ModelUnavailable | None) -> bool:
        """Reports the first start. Returns whether to go on: a model that never loads is not tried again."""
        first = not self.started.done()
        if first:
            self._call(self._set_started, error)
        else:
            logger.warning("worker %s", f"cannot be started: {error}" if error else "started again")
        return error is None or not first

    def _set_started(self, error: ModelUnavailable | None) -> None:
        if self.started.done():
            return
        if error is None:
            self.started.set_result(None)
        else:
            self.started.set_exception(error)

    def _drive(self, process: WorkerProcess) -> bool:
        """Does jobs until the worker is lost or the seat closes. Returns whether the worker did any."""
        served = False
        while True:
            self._call(self._release, self)
            item = self._inbox.get()
            if item is None:
                return served
            job, pieces = item
            try:
                for piece in process.run(job):
                    pieces.put(piece)
                served = True
            except WorkerFault as fault:
                pieces.put(fault)
            except WorkerLost as lost:
                logger.warning("worker %d lost: %s", process.pid, lost)
                pieces.put(lost)
                return served
            finally:
                self._runs += 1

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._closing.is_set():
            self._loop.call_soon_threadsafe(function, *arguments)

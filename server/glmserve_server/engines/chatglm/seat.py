"""A place for one worker: the thread that starts it, drives it, and starts another when it is lost."""

import asyncio
import logging
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Final

from glmserve_server.engines.chatglm.handover import Handover
from glmserve_server.engines.chatglm.job import Job, Piece, ReaderStalled, WorkerFault, WorkerLost, common_prefix
from glmserve_server.engines.chatglm.process import WorkerProcess
from glmserve_server.errors import ModelUnavailable

Pieces = Handover[Piece]

CANCEL_GRACE: Final = 0.5
"""Seconds that a worker has to end a cancelled run (a prefill cannot be interrupted) before it is replaced."""

BACKOFF: Final = (0.0, 0.1, 0.5, 2.0, 5.0)
"""Seconds before a lost worker is started again: first, second, … time in a row."""

logger = logging.getLogger(__name__)


class Seat:
    """Runs one job at a time. Made, used and read on the event loop, which `on_free` and `on_lost` are called on."""

    def __init__(
        self,
        start_worker: Callable[[], WorkerProcess],
        *,
        name: str,
        stall_limit: float,
        on_free: Callable[["Seat"], None],
        on_lost: Callable[["Seat"], None],
    ) -> None:
        self._start_worker = start_worker
        self._stall_limit = stall_limit
        self._on_free = on_free
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._bell, self._button = multiprocessing.Pipe(duplex=False)  # rings when there is a job, or the seat closes
        self._job: tuple[Job, Pieces] | None = None
        self._closing = threading.Event()
        self._process: WorkerProcess | None = None
        self._runs = 0
        self._held: list[int] = []  # what the worker ran last
        self._key = ""
        self.fault: str | None = None
        """Why there is no worker: it cannot be started, or dies again and again."""
        self.started: asyncio.Future[None] = self._loop.create_future()
        """Done when the first worker has loaded the model, or failed to (`ModelUnavailable`)."""
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def promise(self, job: Job) -> tuple[int, bool]:
        """How well the worker knows a job: the ids that it holds, and whether the cache key is its last."""
        return common_prefix(self._held, job.ids), job.cache_key != "" and job.cache_key == self._key

    def run(self, job: Job, pieces: Pieces) -> None:
        """Begins a job; `on_free` follows when it has ended."""
        self._job = (job, pieces)
        self._button.send_bytes(b"job")

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
        """Ends the worker and the thread, without waiting for them."""
        self._closing.set()
        self._button.send_bytes(b"close")
        if self._process is not None:
            self._process.kill()

    def join(self) -> None:
        """Waits for the thread; blocks."""
        self._thread.join()
        self._bell.close()
        self._button.close()

    def _work(self) -> None:
        """The thread: worker after worker."""
        failures = 0
        while not self._closing.wait(BACKOFF[min(failures, len(BACKOFF) - 1)]):
            try:
                process = self._start_worker()
            except ModelUnavailable as error:
                failures += 1
                self._call(self._set_fault, str(error))
                continue
            self._process = process
            self._call(self._begin)
            lost, served = self._drive(process)
            self._process = None
            process.close()
            failures = 0 if served else failures + 1
            if failures > 1:
                self._call(self._set_fault, f"its workers die again and again: {lost}")

    def _drive(self, process: WorkerProcess) -> tuple[WorkerLost | None, bool]:
        """Does jobs until the worker is lost or the seat closes. Returns its loss, and whether it has done any."""
        served = False
        while not self._closing.is_set():
            if process.connection in wait([self._bell, process.connection]):
                lost = process.epitaph()
                self._lose(process, lost)
                return lost, served
            self._bell.recv_bytes()
            if self._job is None:
                continue
            job, pieces = self._job
            try:
                self._run(process, job, pieces)
                served = True
            except WorkerFault as fault:
                pieces.put_last(fault)
            except WorkerLost as lost:
                self._lose(process, lost)
                pieces.put_last(lost)
                return lost, served
            self._call(self._free)
        return None, served

    def _run(self, process: WorkerProcess, job: Job, pieces: Pieces) -> None:
        """Runs a job to its end, or to where its reader has taken nothing for too long."""
        held, stalled = list(job.ids), False
        try:
            for piece in process.run(job):
                if isinstance(piece, int):
                    held.append(piece)
                if not stalled and not pieces.put(piece, self._stall_limit):
                    stalled = True
                    process.cancel()
                    pieces.put_last(
                        ReaderStalled(f"Nothing of the answer was taken for {self._stall_limit:g} seconds.")
                    )
        finally:
            self._end_job(held, job.cache_key)

    def _end_job(self, held: list[int], key: str) -> None:
        self._runs += 1
        self._held, self._key = held, key
        self._job = None

    def _lose(self, process: WorkerProcess, lost: WorkerLost) -> None:
        self._held = []
        if not self._closing.is_set():
            logger.warning("worker %d is lost and will be replaced: %s", process.pid, lost)
        self._call(self._on_lost, self)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """Calls on the event loop, which is there for as long as the seat is open."""
        if not self._closing.is_set():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _begin(self) -> None:
        """A worker is there."""
        self.fault = None
        if not self.started.done():
            self.started.set_result(None)
        self._free()

    def _set_fault(self, fault: str) -> None:
        """There is no worker, and it may be a while."""
        self.fault = fault
        if not self.started.done():
            self.started.set_exception(ModelUnavailable(fault))
            return
        logger.error("no worker: %s", fault)
        if self._job is not None:
            _, pieces = self._job
            self._job = None
            pieces.put_last(WorkerLost(fault))
        self._on_lost(self)

    def _free(self) -> None:
        """Free, unless there is a job waiting for the worker to be replaced, or no worker."""
        if self._job is None and self._process is not None:
            self._on_free(self)

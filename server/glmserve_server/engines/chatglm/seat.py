"""A place for one worker: the thread that starts it, drives it, and starts another when it is lost."""

import asyncio
import logging
import multiprocessing
import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Final

from glmserve_server.engines.chatglm.costs import Costs
from glmserve_server.engines.chatglm.job import Job, ReaderStalled, WorkerFault, WorkerLost, reusable
from glmserve_server.engines.chatglm.process import WorkerProcess
from glmserve_server.engines.chatglm.run import Run
from glmserve_server.errors import ModelUnavailable

BACKOFF: Final = (0.0, 0.1, 0.5, 2.0, 5.0)
"""Seconds before a lost worker is started again: first, second, … time in a row."""

_TRIFLE: Final = 0.1
"""Savings below this part of a prompt's cost are not worth driving out what a worker holds."""

logger = logging.getLogger(__name__)


class Seat:
    """Taken, given a run, free again: on the event loop, which `on_free` and `on_lost` are called on.

    What the thread tells the loop goes through `_call`; what both read is changed in one place each.
    """

    def __init__(
        self,
        start_worker: Callable[[Connection], WorkerProcess],
        *,
        name: str,
        stall_limit: float,
        on_free: Callable[["Seat"], None],
        on_lost: Callable[["Seat"], None],
    ) -> None:
        """`start_worker` is given the bell. `on_free`: the seat has a worker and is not taken. `on_lost`: it has no
        worker for now."""
        self._start_worker = start_worker
        self._stall_limit = stall_limit
        self._on_free = on_free
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[Run] = queue.SimpleQueue()
        self._bell, self._button = multiprocessing.Pipe(duplex=False)  # rings for a run, a cancel, the end
        self._closing = threading.Event()
        self._process: WorkerProcess | None = None  # the thread's, for `close`
        self._alive = False  # the loop's: there is a worker
        self._taken = False  # the loop's
        self._run: Run | None = None  # the loop's
        self._held: list[int] = []  # what the worker ran last
        self._key = ""
        self._costs = Costs(prefill=0.0, step=0.0, picture=0.0)
        self.fault: str | None = None
        """Why there is no worker: it cannot be started, or dies again and again."""
        self.started: asyncio.Future[None] = self._loop.create_future()
        """Done when the first worker has loaded the model, or failed to (`ModelUnavailable`)."""
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def promise(self, job: Job) -> tuple[float, bool, int]:
        """How good a place this is for a job: the seconds that what the worker holds would save, whether the cache key
        is its last, and how little would be lost."""
        length, picture = len(job.ids), job.picture is not None
        saving = self._costs.saving(length, reusable(self._held, job.ids, job.picture), picture=picture)
        if saving < self._costs.prompt(length, picture=picture) * _TRIFLE:
            saving = 0.0
        return saving, job.cache_key != "" and job.cache_key == self._key, -len(self._held)

    def take(self) -> None:
        """Reserves the seat."""
        self._taken = True

    def give_back(self) -> None:
        """Frees a seat that was taken and given no run."""
        self._taken = False
        self._free()

    def begin(self, run: Run) -> None:
        """Gives a taken seat its run, whose end frees it."""
        self._run = run
        self._inbox.put(run)
        self._button.send_bytes(b"run")

    def cancel(self, run: Run) -> None:
        """Ends a run that nobody wants any more; nothing happens if it has ended."""
        run.cancel()
        if run is self._run:
            self._button.send_bytes(b"cancel")

    def close(self) -> None:
        """Ends the worker and the thread, without waiting for them."""
        self._closing.set()
        self._button.send_bytes(b"close")
        process = self._process  # once: the thread may take it away meanwhile
        if process is not None:
            process.kill()

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
                process = self._loaded()
            except ModelUnavailable as error:
                failures += 1
                self._call(self._set_fault, str(error))
                continue
            except Exception as error:  # no descriptor, no memory: worth another try, whatever it is
                failures += 1
                logger.exception("a worker cannot be started")
                self._call(self._set_fault, f"a worker cannot be started: {error}")
                continue
            self._call(self._begin)
            lost, served = self._drive(process)
            self._process = None
            process.close()
            self._call(self._lose)
            failures = 0 if served or (lost and lost.wanted) else failures + 1
            if failures > 1:
                self._call(self._set_fault, f"its workers die again and again: {lost}")

    def _loaded(self) -> WorkerProcess:
        process = self._process = self._start_worker(self._bell)
        if self._closing.is_set():  # `close` may have come before there was a process to kill
            process.kill()
        try:
            process.load()
        except ModelUnavailable:
            self._process = None
            raise
        self._costs = process.costs
        return process

    def _drive(self, process: WorkerProcess) -> tuple[WorkerLost | None, bool]:
        """Does runs until the worker is lost or the seat closes. Returns its loss, and whether it has done any."""
        served = False
        while not self._closing.is_set():
            try:
                run = self._inbox.get_nowait()
            except queue.Empty:
                if process.connection not in wait([self._bell, process.connection]):
                    self._bell.recv_bytes()
                    continue
                return self._mourned(process, process.epitaph()), served
            try:
                self._serve(process, run)
                served = True
            except WorkerFault as fault:
                run.pieces.put_last(fault)
            except WorkerLost as lost:
                self._held = []
                self._call(self._lose)
                run.pieces.put_last(lost)
                return self._mourned(process, lost), served
            finally:
                self._call(self._end, run)
        return None, served

    def _serve(self, process: WorkerProcess, run: Run) -> None:
        """Carries a run to its end, or to where its reader has taken nothing for too long."""
        if run.cancelled.is_set():
            return
        held = list(run.job.ids)
        for piece in process.run(run.job, run.cancelled):
            if isinstance(piece, int):
                held.append(piece)
            if not run.pieces.put(piece, self._stall_limit):
                run.pieces.put_last(ReaderStalled(f"Nothing was taken for {self._stall_limit:g} seconds."))
                run.cancelled.set()
        self._held, self._key = held, run.job.cache_key

    def _mourned(self, process: WorkerProcess, lost: WorkerLost) -> WorkerLost:
        self._held = []
        if not lost.wanted and not self._closing.is_set():
            logger.warning("worker %d is lost and will be replaced: %s", process.pid, lost)
        return lost

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """Calls on the event loop, which is there for as long as the seat is open."""
        if not self._closing.is_set():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _begin(self) -> None:
        """There is a worker."""
        self._alive, self.fault = True, None
        if not self.started.done():
            self.started.set_result(None)
        self._free()

    def _lose(self) -> None:
        """There is no worker, but will be soon."""
        if self._alive:
            self._alive = False
            self._on_lost(self)

    def _set_fault(self, fault: str) -> None:
        """There is no worker, and it may be a while."""
        self.fault = fault
        if not self.started.done():
            self.started.set_exception(ModelUnavailable(fault))
            return
        logger.error("no worker: %s", fault)
        if self._run is not None:
            self._run.pieces.put_last(WorkerLost(fault))
            self._run.cancelled.set()
        self._on_lost(self)

    def _end(self, run: Run) -> None:
        if self._run is run:
            self._run = None
            self.give_back()

    def _free(self) -> None:
        if self._alive and not self._taken:
            self._on_free(self)

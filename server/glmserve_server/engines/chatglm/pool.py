"""The pool: the seats of a model's workers, and the queue of requests before them."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final

from glmserve_server.engines.chatglm.handover import Handover
from glmserve_server.engines.chatglm.process import End, Job, WorkerLost, WorkerProcess
from glmserve_server.engines.chatglm.seat import Pieces, Seat
from glmserve_server.errors import ModelUnavailable, QueueFull, ShuttingDown, WorkerDied

AHEAD: Final = 64
"""Tokens that may lie between a worker's thread and a reader who is slow."""


class Pool:
    """Runs jobs on the first free worker, first come first served."""

    def __init__(self, start_worker: Callable[[], WorkerProcess], *, workers: int, queue_limit: int) -> None:
        self._start_worker = start_worker
        self._size = workers
        self._queue_limit = queue_limit
        self._seats: list[Seat] = []
        self._free: deque[Seat] = deque()
        self._waiting: deque[asyncio.Future[Seat]] = deque()
        self._closed = False

    async def start(self) -> None:
        """Starts all workers and waits for them. Raises `ModelUnavailable` if one cannot load the model."""
        self._seats = [
            Seat(self._start_worker, name=f"glmserve-worker-{index}", on_free=self._release, on_lost=self._withdraw)
            for index in range(self._size)
        ]
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

    async def _acquire(self) -> Seat:
        if self._closed:
            raise ShuttingDown("The server is shutting down.")
        if self._free:
            return self._free.popleft()
        if fault := self._fault():
            raise fault
        if len(self._waiting) >= self._queue_limit:
            raise QueueFull(f"{len(self._waiting)} requests wait for this model already, which is the limit.")
        waiter: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()
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

    def _release(self, seat: Seat) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(seat)
                return
        self._free.append(seat)

    def _withdraw(self, seat: Seat) -> None:
        with contextlib.suppress(ValueError):  # it was not free
            self._free.remove(seat)
        if fault := self._fault():
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_exception(fault)

    def _fault(self) -> ModelUnavailable | None:
        """Why no worker can be started, if none can."""
        faults = [seat.fault for seat in self._seats if seat.fault]
        return ModelUnavailable(faults[0]) if len(faults) == len(self._seats) else None

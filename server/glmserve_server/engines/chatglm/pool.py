"""The pool: the seats of a model's workers, and who waits for them."""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Callable, Iterator
from multiprocessing.connection import Connection
from typing import Final

from glmserve_server.dialects.progress import Begun, End
from glmserve_server.engines.chatglm.handover import Handover
from glmserve_server.engines.chatglm.job import Job, Piece, ReaderStalled, WorkerFault, WorkerLost
from glmserve_server.engines.chatglm.process import WorkerProcess
from glmserve_server.engines.chatglm.run import Run
from glmserve_server.engines.chatglm.seat import Seat
from glmserve_server.errors import DeadlineExceeded, ModelUnavailable, QueueFull, ShuttingDown, WorkerDied
from glmserve_server.waiting import Waiting

Pieces = AsyncGenerator[Begun | list[int] | End, None]

AHEAD: Final = 64
"""Tokens that may lie between a worker's thread and a reader who is slow."""


class Pool:
    """Runs a job on the free worker that saves most by what it holds of the prompt already."""

    def __init__(
        self,
        start_worker: Callable[[Connection], WorkerProcess],
        *,
        workers: int,
        queue_limit: int,
        stall_limit: float,
        on_fault: Callable[[str | None], None],
    ) -> None:
        """`stall_limit`: seconds that a reader may take nothing. `on_fault` is told why no worker can run any more,
        and None when one can again."""
        self._start_worker = start_worker
        self._size = workers
        self._stall_limit = stall_limit
        self._on_fault = on_fault
        self._seats: list[Seat] = []
        self._free: list[Seat] = []
        self._waiting: Waiting[Seat] = Waiting(queue_limit)
        self._closed = False
        self._faulty = False
        self._seconds = 1.0  # that a job takes, a moving average

    @property
    def waiting(self) -> int:
        """How many jobs wait for a seat."""
        return len(self._waiting)

    async def start(self) -> None:
        """Starts all workers and waits for them. Raises `ModelUnavailable` if one cannot load the model."""
        self._seats = [
            Seat(
                self._start_worker,
                name=f"glmserve-worker-{index}",
                stall_limit=self._stall_limit,
                on_free=self._release,
                on_lost=self._withdraw,
            )
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
        self._waiting.dismiss(ShuttingDown("The server is shutting down."))
        seats, self._seats = self._seats, []
        for seat in seats:
            seat.close()
        await asyncio.gather(*(asyncio.to_thread(seat.join) for seat in seats))

    async def run(self, job: Job, caller: str, *, admitted: bool = False) -> Pieces:
        """That the run has begun, the tokens as they come, several at once when the caller is slow, then its end.

        A worker that dies before its first token is replaced by another, once, unseen; later that is `WorkerDied`.
        `admitted`: the request is being answered already, so this job does not count in the queue.
        """
        for attempt in range(2):
            seen = False
            try:
                async with contextlib.aclosing(self._run_once(job, caller, admitted or attempt > 0)) as pieces:
                    async for piece in pieces:
                        seen = seen or not isinstance(piece, Begun)
                        yield piece
                return
            except WorkerLost as lost:
                if seen or attempt:
                    raise WorkerDied(f"The model's process ended in the middle of the answer: {lost}.") from lost

    async def _run_once(self, job: Job, caller: str, admitted: bool) -> Pieces:
        seat = await self._acquire(job, caller, admitted)
        clock = asyncio.get_running_loop().time
        begun, run = clock(), Run(job, Handover[Piece](AHEAD))
        seat.begin(run)
        ended = False
        try:
            while not ended:
                taken = await run.pieces.take()
                ended = isinstance(taken[-1], End | Exception)
                for piece in _joined(taken):
                    yield piece
        finally:
            self._seconds += (clock() - begun - self._seconds) / 8
            if not ended:
                seat.cancel(run)

    async def _acquire(self, job: Job, caller: str, admitted: bool) -> Seat:
        if self._closed:
            raise ShuttingDown("The server is shutting down.")
        if self._free:
            seat = max(self._free, key=lambda seat: seat.promise(job))
            self._free.remove(seat)
            seat.take()
            return seat
        if self._faulty:
            raise self._fault()
        waiter = self._waiting.join(caller, self._queue_full(), admitted=admitted)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                waiter.result().give_back()
            raise
        finally:
            self._waiting.leave(caller, waiter)

    def _queue_full(self) -> QueueFull:
        limit = self._waiting.limit
        seconds = math.ceil((limit + 1) * self._seconds / self._size)
        return QueueFull(
            f"{limit} requests wait for this model already, which is the limit.", retry_after=min(max(seconds, 1), 60)
        )

    def _release(self, seat: Seat) -> None:
        if self._closed:  # what the seats' threads said before their end may come after it
            return
        self._observe()
        if self._waiting.call(seat):
            seat.take()
        else:
            self._free.append(seat)

    def _withdraw(self, seat: Seat) -> None:
        if self._closed:
            return
        if seat in self._free:
            self._free.remove(seat)
        self._observe()
        if self._faulty:
            self._waiting.dismiss(self._fault())

    def _observe(self) -> None:
        """Tells of a change between some workers and none."""
        faulty = all(seat.fault for seat in self._seats)
        if faulty is not self._faulty:
            self._faulty = faulty
            self._on_fault(str(self._fault()) if faulty else None)

    def _fault(self) -> ModelUnavailable:
        return ModelUnavailable(self._seats[0].fault or "no worker can be started")


def _joined(taken: list[Piece]) -> Iterator[Begun | list[int] | End]:
    """What was taken, with its tokens in one piece. Raises the error that ends it."""
    yield from (piece for piece in taken if isinstance(piece, Begun))
    if ids := [piece for piece in taken if isinstance(piece, int)]:
        yield ids
    match taken[-1]:
        case End(reason="cancel"):  # nobody here has asked for that
            raise WorkerLost("the run was ended from outside")
        case End() as end:
            yield end
        case ReaderStalled() as stalled:
            raise DeadlineExceeded(str(stalled))
        case WorkerLost() | WorkerFault() as error:
            raise error

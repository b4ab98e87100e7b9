"""How many requests an upstream gets at a time, and who waits for that here."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Final

from glmserve_server.errors import QueueFull, ShuttingDown
from glmserve_server.waiting import Waiting

_LONGEST_WAIT: Final = 60


class Gate:
    """At most `most` at a time; of those who come then, `queue_limit` wait, in turn by caller."""

    def __init__(self, most: int, queue_limit: int) -> None:
        self._most = most
        self._inside = 0
        self._waiting: Waiting[None] = Waiting(queue_limit)
        self._seconds = 1.0  # that a request takes, a moving average
        self._closed = False

    @contextlib.asynccontextmanager
    async def passed(self, caller: str, *, admitted: bool = False) -> AsyncIterator[None]:
        """Waits, then counts until the block is left. Raises `QueueFull` at once if too many wait; who is `admitted`
        already waits all the same."""
        await self._enter(caller, admitted)
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            yield
        finally:
            self._seconds += (clock() - begun - self._seconds) / 8
            self._leave()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def close(self) -> None:
        """Whoever waits is told that the server shuts down."""
        self._closed = True
        self._waiting.dismiss(ShuttingDown("The server is shutting down."))

    async def _enter(self, caller: str, admitted: bool) -> None:
        if self._closed:
            raise ShuttingDown("The server is shutting down.")
        if self._inside < self._most:
            self._inside += 1
            return
        waiter = self._waiting.join(caller, self._full(), admitted=admitted)
        try:
            await waiter  # whoever leaves gives their place to this one
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._leave()
            raise
        finally:
            self._waiting.leave(caller, waiter)

    def _leave(self) -> None:
        if not self._waiting.call(None):
            self._inside -= 1

    def _full(self) -> QueueFull:
        limit = self._waiting.limit
        seconds = math.ceil((limit + 1) * self._seconds / self._most)
        return QueueFull(
            f"{limit} requests wait for this model already, which is the limit.",
            retry_after=min(max(seconds, 1), _LONGEST_WAIT),
        )

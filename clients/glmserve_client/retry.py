"""Whether and when a call that failed is made again, and how long it may take with all that."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from glmserve_client.errors import DeadlineExceeded, GlmserveError

_FIRST_DELAY = 0.25
_MOST_DELAY = 8.0
LONGEST_WAIT = 60.0
"""Seconds; a server that wants more is not waited for."""

_dice = random.SystemRandom()
_T = TypeVar("_T")


class Deadline:
    """A moment after which a call is given up; `seconds` from now, or never."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self._end = self._clock() + seconds

    @property
    def left(self) -> float:
        """Seconds until then, at least 0; infinite if there is no such moment."""
        return max(0.0, self._end - self._clock())

    def error(self) -> DeadlineExceeded:
        """What to raise then."""
        return DeadlineExceeded(f"the call took longer than {self.seconds:g} s")


@asynccontextmanager
async def within(seconds: float, error: Callable[[], DeadlineExceeded]) -> AsyncIterator[None]:
    """Raises `error()` when what is inside takes longer."""
    limit = asyncio.timeout(None if math.isinf(seconds) else seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        raise error() from None


async def retried(attempt: Callable[[], Awaitable[_T]], *, retries: int, deadline: Deadline) -> _T:
    """What `attempt` gives, which is made again as long as its error says that this may help.

    Only for attempts that fail before anything of an answer is used. Raises the last error.
    """
    for number in range(retries + 1):
        try:
            async with within(deadline.left, deadline.error):
                return await attempt()
        except GlmserveError as error:
            pause = delay(number, error.retry_after)
            if number == retries or pause is None or pause >= deadline.left:
                raise
        await asyncio.sleep(pause)
    raise AssertionError("unreachable")


def delay(number: int, retry_after: float | None) -> float | None:
    """Seconds to wait after failure `number` (from 0): what the server asks for, and a random part that grows.

    None: do not try again.
    """
    if retry_after is None or retry_after > LONGEST_WAIT:
        return None
    return retry_after + _dice.uniform(0, min(_MOST_DELAY, _FIRST_DELAY * 2**number))

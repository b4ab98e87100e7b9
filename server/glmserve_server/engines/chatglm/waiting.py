"""Who waits for a worker: callers in turn, each first come first served."""

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Waiting(Generic[T]):
    """At most `limit` futures. Used on the event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lines: OrderedDict[str, deque[asyncio.Future[T]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def join(self, caller: str, error: Exception) -> asyncio.Future[T]:
        """A place at the end of the caller's line. When all are taken: the last place of the longest line, if that is
        longer than the caller's would be, else `error` is raised, as it is to whoever loses their place."""
        if len(self) >= self.limit:
            self._make_room(caller, error)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(future)
        return future

    def leave(self, caller: str, future: asyncio.Future[T]) -> None:
        """Gives a place up; nothing happens if it is no longer held."""
        line = self._lines.get(caller)
        if line is not None and future in line:
            line.remove(future)
            self._tidy(caller)

    def call(self, result: T) -> bool:
        """Gives `result` to the first in the next caller's line. Returns whether anyone waited."""
        while self._lines:
            caller, line = next(iter(self._lines.items()))
            future = line.popleft()
            self._lines.move_to_end(caller)
            self._tidy(caller)
            if not future.done():
                future.set_result(result)
                return True
        return False

    def dismiss(self, error: Exception) -> None:
        """Gives `error` to all who wait."""
        for line in self._lines.values():
            for future in line:
                if not future.done():
                    future.set_exception(error)
        self._lines.clear()

    def _make_room(self, caller: str, error: Exception) -> None:
        longest = max(self._lines, key=lambda name: len(self._lines[name]), default=caller)
        if len(self._lines.get(longest, ())) <= len(self._lines.get(caller, ())) + 1:
            raise error
        self._lines[longest].pop().set_exception(error)
        self._tidy(longest)

    def _tidy(self, caller: str) -> None:
        if not self._lines[caller]:
            del self._lines[caller]

"""Who waits for a model: callers in turn, each first come first served."""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Place(Generic[T]):
    future: asyncio.Future[T]
    counted: bool


class Waiting(Generic[T]):
    """At most `limit` futures that count. Used on the event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lines: OrderedDict[str, deque[_Place[T]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(self._length(caller) for caller in self._lines)

    def join(self, caller: str, error: Exception, *, admitted: bool = False) -> asyncio.Future[T]:
        """A place at the end of the caller's line.

        When all are taken: the last place of the longest line, if that is longer than the caller's would be, else
        `error` is raised, as it is to whoever loses their place. Who is `admitted` already neither counts nor yields.
        """
        if not admitted and len(self) >= self.limit:
            self._make_room(caller, error)
        place: _Place[T] = _Place(asyncio.get_running_loop().create_future(), counted=not admitted)
        self._lines.setdefault(caller, deque()).append(place)
        return place.future

    def leave(self, caller: str, future: asyncio.Future[T]) -> None:
        """Gives a place up; nothing happens if it is no longer held."""
        line = self._lines.get(caller, deque())
        for place in list(line):
            if place.future is future:
                line.remove(place)
        self._tidy(caller)

    def call(self, result: T) -> bool:
        """Gives `result` to the first in the next caller's line. Returns whether anyone waited."""
        while self._lines:
            caller, line = next(iter(self._lines.items()))
            future = line.popleft().future
            self._lines.move_to_end(caller)
            self._tidy(caller)
            if not future.done():
                future.set_result(result)
                return True
        return False

    def dismiss(self, error: Exception) -> None:
        """Gives `error` to all who wait."""
        for line in self._lines.values():
            for place in line:
                if not place.future.done():
                    place.future.set_exception(error)
        self._lines.clear()

    def _length(self, caller: str) -> int:
        return sum(place.counted and not place.future.done() for place in self._lines.get(caller, ()))

    def _make_room(self, caller: str, error: Exception) -> None:
        longest = max(self._lines, key=self._length, default=caller)
        if self._length(longest) <= self._length(caller) + 1:
            raise error
        line = self._lines[longest]
        last = next(place for place in reversed(line) if place.counted and not place.future.done())
        line.remove(last)
        self._tidy(longest)
        last.future.set_exception(error)

    def _tidy(self, caller: str) -> None:
        if caller in self._lines and not self._lines[caller]:
            del self._lines[caller]

"""Hands items from a thread to the event loop, a bounded number at a time."""

import asyncio
import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """The thread waits while `size` items lie here untaken; the loop takes all there are at once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: list[T] = []
        self._closed = False
        self._changed = threading.Condition()
        self._loop = asyncio.get_running_loop()
        self._filled = asyncio.Event()

    def put(self, item: T, patience: float | None = None) -> bool:
        """For the thread. Waits for room up to `patience` seconds; returns whether there was. Once closed, drops it."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or len(self._items) < self._size, patience):
                return False
            self._append(item)
        return True

    def put_last(self, item: T) -> None:
        """For the thread: puts an item whether there is room or not, and takes no more."""
        with self._changed:
            self._append(item)
            self._closed = True

    def _append(self, item: T) -> None:
        if self._closed:
            return
        self._items.append(item)
        if len(self._items) == 1:
            self._loop.call_soon_threadsafe(self._filled.set)

    async def take(self) -> list[T]:
        """For the loop. Waits until there is at least one item."""
        await self._filled.wait()
        with self._changed:
            self._filled.clear()
            items, self._items = self._items, []
            self._changed.notify()
        return items

    def close(self) -> None:
        """Takes no more: the thread never waits again."""
        with self._changed:
            self._closed = True
            self._changed.notify()

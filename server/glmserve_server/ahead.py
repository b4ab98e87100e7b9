"""One asynchronous generator, read ahead of its reader."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

T = TypeVar("T")

_MOST: Final = 64


class Ahead(Generic[T]):
    """Gives the items of a source in lists: all that have come since the last one was taken.

    `async with Ahead(source) as ahead: async for items in ahead: ...`

    An item is given as soon as it is there; alone, if its reader is faster than the source. A source that is faster
    waits when 64 items lie here untaken. Leaving the block closes the source.
    """

    def __init__(self, source: AsyncGenerator[T, None]) -> None:
        self._source = source
        self._items: list[T] = []
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    def fail(self, error: Exception) -> None:
        """Reads no further: after the items that are here already, `error` is raised."""
        self._error = error
        self._reading.cancel()
        self._end()

    async def __aenter__(self) -> Self:
        """Begins to read."""
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the source. It is cancelled once: a second time would end what it does to close itself."""
        if not self._ended:
            self._reading.cancel()
        await asyncio.wait([self._reading])
        if not self._reading.cancelled():
            self._reading.exception()  # taken note of
        del self._reading  # an error leads to its readers, and they to this: a ring that would keep all their memory
        self._error = None

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> list[T]:
        """The next items, at least one. Raises what the source has raised, after its last items."""
        await self._filled.wait()
        if not self._items:
            if self._error is not None:
                raise self._error
            await self._reading  # raises what it raised
            raise StopAsyncIteration
        items, self._items = self._items, []
        self._room.set()
        if not self._ended:
            self._filled.clear()
        return items

    async def _read(self) -> None:
        try:
            async with contextlib.aclosing(self._source) as source:
                async for item in source:
                    self._items.append(item)
                    self._filled.set()
                    if len(self._items) == _MOST:
                        self._room.clear()
                        await self._room.wait()
        finally:
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._filled.set()

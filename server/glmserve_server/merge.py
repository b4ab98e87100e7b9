"""Several asynchronous generators as one."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_AHEAD: Final = 64


async def merged(sources: Sequence[AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    """The items of all sources as they come. The first error ends it, and closing it closes all sources."""
    if len(sources) == 1:
        async with contextlib.aclosing(sources[0]) as items:
            async for item in items:
                yield item
        return
    queue: asyncio.Queue[T | Exception | None] = asyncio.Queue(_AHEAD)
    tasks = [asyncio.create_task(_pump(source, queue)) for source in sources]
    try:
        left = len(tasks)
        while left:
            taken = await queue.get()
            if isinstance(taken, Exception):
                raise taken
            if taken is None:
                left -= 1
            else:
                yield taken
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(source: AsyncGenerator[T, None], queue: "asyncio.Queue[T | Exception | None]") -> None:
    """Puts all items, then None; or an error."""
    try:
        async with contextlib.aclosing(source) as items:
            async for item in items:
                await queue.put(item)
    except Exception as error:  # noqa: BLE001 (raised again where the items are taken)
        await queue.put(error)
    else:
        await queue.put(None)

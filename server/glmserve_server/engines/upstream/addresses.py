"""The servers of one model: which answer, and which has least to do."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

CHECK_SECONDS: Final = 10.0
"""Between two looks at servers that answer."""
AGAIN_SECONDS: Final = 0.5
"""Between two looks when one does not."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Address:
    """One server."""

    url: str
    """Its base URL."""
    running: int = 0
    """Requests that it is answering."""
    up: bool = True

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Counts a request."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


class Addresses:
    """Looks after the servers from `start` until `aclose`."""

    def __init__(
        self,
        urls: Sequence[str],
        look: Callable[[str], Awaitable[bool]],
        on_fault: Callable[[str | None], None],
    ) -> None:
        """`look` says whether a server answers. `on_fault` is told when none does any more, and None when one does."""
        self._all = [Address(url) for url in urls]
        self._look = look
        self._on_fault = on_fault
        self._faulty = False
        self._hurry = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Looks at all servers, and goes on to do so."""
        await self._look_at_all()
        self._looking = asyncio.create_task(self._look_on())

    async def aclose(self) -> None:
        """Looks no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def best(self, but: Collection[Address] = ()) -> Address | None:
        """The server that answers and has least to do."""
        able = [address for address in self._all if address.up and address not in but]
        return min(able, key=lambda address: address.running, default=None)

    def mark_down(self, address: Address) -> None:
        """A request has not reached it: it gets none until a look finds it answering."""
        self._set(address, up=False)
        self._hurry.set()

    def __len__(self) -> int:
        return len(self._all)

    async def _look_on(self) -> None:
        while True:
            wait = CHECK_SECONDS if all(address.up for address in self._all) else AGAIN_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._hurry.wait()
            if self._hurry.is_set():  # a moment, so that a server that is down is not asked without end
                self._hurry.clear()
                await asyncio.sleep(AGAIN_SECONDS)
            await self._look_at_all()

    async def _look_at_all(self) -> None:
        await asyncio.gather(*map(self._look_at, self._all))

    async def _look_at(self, address: Address) -> None:
        up = False
        try:
            up = await self._look(address.url)
        except Exception:  # whatever it is, there must be a next look
            logger.exception("%s: it cannot be looked at", address.url)
        self._set(address, up=up)

    def _set(self, address: Address, *, up: bool) -> None:
        if address.up is not up:
            address.up = up
            logger.log(logging.INFO if up else logging.WARNING, "%s %s", address.url, "answers" if up else "is down")
        faulty = not any(address.up for address in self._all)
        if faulty is not self._faulty:
            self._faulty = faulty
            self._on_fault("none of its upstream's servers can be reached" if faulty else None)

"""A bound on what an upstream may send."""

from collections.abc import AsyncIterator

import httpx
from typing_extensions import override


class TooMuch(Exception):
    """More has come than may."""


class Limited(httpx.AsyncByteStream):
    """A body of at most `most` bytes, and of at most `step` bytes between two calls of `reset`."""

    def __init__(self, inner: httpx.AsyncByteStream, *, step: int, most: int) -> None:
        self._inner = inner
        self._step = step
        self._most = most
        self._taken = 0
        self._all = 0

    def reset(self) -> None:
        """Begins the next step."""
        self._taken = 0

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises `TooMuch`."""
        async for chunk in self._inner:
            self._taken += len(chunk)
            self._all += len(chunk)
            if self._taken > self._step or self._all > self._most:
                raise TooMuch
            yield chunk

    @override
    async def aclose(self) -> None:
        """Ends the body."""
        await self._inner.aclose()


class LimitedTransport(httpx.AsyncBaseTransport):
    """Puts `Limited` around every body; it is in the response's extensions as `limited`.

    Where a redirect leads is left out: nobody follows it, but httpx would read it, and raise what it likes.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, *, step: int, most: int) -> None:
        self._inner = inner
        self._step = step
        self._most = most

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 (for the type checker)
        limited = Limited(response.stream, step=self._step, most=self._most)
        extensions = {**response.extensions, "limited": limited}
        headers = response.headers.copy()
        headers.pop("location", None)
        return httpx.Response(response.status_code, headers=headers, stream=limited, extensions=extensions)

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()

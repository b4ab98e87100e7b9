"""Bounds on what an HTTP server may send."""

from collections.abc import AsyncIterator
from typing import Final

import httpx
from typing_extensions import override

from glmserve_client.errors import InvalidAnswer

LARGEST_BODY: Final = 32 * 1024 * 1024
"""Bytes of a whole answer, or of one event of a stream with the comments before it."""


class Limited(httpx.AsyncByteStream):
    """A body that raises `InvalidAnswer` once more has come than the limit since `reset` was called."""

    def __init__(self, inner: httpx.AsyncByteStream, limit: int) -> None:
        self._inner = inner
        self._limit = limit
        self._taken = 0

    def reset(self) -> None:
        """Counts from here."""
        self._taken = 0

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._taken += len(chunk)
            if self._taken > self._limit:
                raise InvalidAnswer(f"the server sent more than {self._limit} bytes without end")
            yield chunk

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()


class LimitedTransport(httpx.AsyncBaseTransport):
    """Puts `Limited` around every body, and takes none that is compressed: a few bytes of it may be many."""

    def __init__(self, inner: httpx.AsyncBaseTransport, *, limit: int = LARGEST_BODY) -> None:
        self._inner = inner
        self._limit = limit

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 (for the type checker)
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            await response.stream.aclose()
            raise InvalidAnswer(f"the answer is compressed ({encoding[:40]}), which was not asked for")
        limited = Limited(response.stream, self._limit)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=limited,
            extensions={**response.extensions, "limited": limited},
        )

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()

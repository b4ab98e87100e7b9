"""One request over HTTP/2, and its answer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import httpx
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from typing_extensions import override


class Connection(Protocol):
    """What a stream needs of its connection."""

    async def send(self, stream: "Http2Stream", body: bytes) -> None:
        """Sends a request's body as fast as the server takes it, and no more of it once the answer is whole."""

    def acknowledge(self, stream: "Http2Stream", size: int) -> None:
        """Lets the server send so many bytes more."""

    def leave(self, stream: "Http2Stream") -> None:
        """Forgets a stream; the server is told to end it if it has not."""


class Http2Stream(httpx.AsyncByteStream):
    """One request, and the body of its answer."""

    def __init__(self, connection: Connection, number: int, *, sent: bool) -> None:
        self._connection = connection
        self.number = number
        self.begun = asyncio.get_running_loop().time()
        self.sent = sent
        """Whether the request is sent whole."""
        self.ended = False
        """Whether the answer is here whole."""
        self.reset = False
        """Whether the server has left it."""
        self.fault = ""
        """Why it never will be."""
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._data = bytearray()
        self._unread = 0  # with padding
        self._news = asyncio.Event()

    async def send_body(self, body: bytes) -> None:
        """See `Connection.send`."""
        await self._connection.send(self, body)

    async def answer(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """The answer's status and headers. Raises `httpx.RemoteProtocolError`."""
        while self._head is None:
            if self.fault:
                raise httpx.RemoteProtocolError(self.fault)
            await self.news()
        return self._head

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises `httpx.RemoteProtocolError`."""
        while True:
            if self._data:
                data = bytes(self._data)
                self._data.clear()
                self.give_back()
                yield data
            elif self.ended:
                return
            elif self.fault:
                raise httpx.RemoteProtocolError(self.fault)
            else:
                await self.news()

    @override
    async def aclose(self) -> None:
        """Leaves it, at once: a server that has not ended it is told so."""
        self._connection.leave(self)

    async def news(self) -> None:
        """Waits until something has come."""
        self._news.clear()
        await self._news.wait()

    def wake(self) -> None:
        """Something has come."""
        self._news.set()

    def take(self, event: Event) -> None:
        """Something that is this stream's has come."""
        if isinstance(event, ResponseReceived):
            head = event.headers or []
            status = b"".join(value for name, value in head if name == b":status")
            if len(status) != 3 or not status.isdigit():
                self.fail("the answer has no status")
                return
            self._head = int(status), [(name, value) for name, value in head if not name.startswith(b":")]
        elif isinstance(event, DataReceived):
            self._data += event.data
            self._unread += event.flow_controlled_length
            if not self._data:
                self.give_back()  # padding alone
        elif isinstance(event, StreamEnded):
            self.ended = True
        elif isinstance(event, StreamReset):
            self.reset = True
            self.fail(f"the server reset the stream: {event.error_code!r}")
        self.wake()

    def fail(self, fault: str) -> None:
        """Nothing more will come."""
        if not self.ended:
            self.fault = self.fault or fault
        self.wake()

    def give_back(self) -> None:
        """Lets the server send as much more as has come."""
        self._unread, unread = 0, self._unread
        if unread:
            self._connection.acknowledge(self, unread)

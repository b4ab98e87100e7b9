"""HTTP/2 to one server: many requests share a connection, and each can be left without harm to the others.

The rules of the protocol are h2's. The connection is not httpcore's, which tells no server that a stream is left
(encode/httpcore#1098), breaks when a request is cancelled while it is written, lets one caller who does not read hold
up all others, and fails every stream when a server announces that it will close.
"""

import asyncio
from typing import Final

import httpx
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RemoteSettingsChanged, ResponseReceived
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from glmserve_server.engines.upstream.frames import Frames
from glmserve_server.engines.upstream.http2_stream import Http2Stream

_STREAMS: Final = 64
"""Requests that share a connection; more get another one."""
_WINDOW: Final = 128 * 1024
"""Bytes of an answer that may come before it is read."""
_ALL_WINDOWS: Final = 2 * _STREAMS * _WINDOW
"""The same for all answers together: twice what can be, since h2 gives back half of it at a time. So there is always
room for who reads, whoever does not."""
_FIRST_WINDOW: Final = 65_535
"""What HTTP/2 begins with."""
_PIECE_BYTES: Final = 16 * 1024
"""What is read or sent at a time."""
_UNSENT_BYTES: Final = 4 * 1024 * 1024
"""More than a piece of each request and the control frames: a server that lets so much wait does not read."""
_VAIN_FRAMES: Final = 10_000
"""So many frames in a row that bring no request further are a flood."""
_DEAF_SECONDS: Final = 2.0
"""When a request is left and nothing at all has come for so long, the connection may be dead: others get a new one."""
_IDLE_SECONDS: Final = 60.0
_LAST_NUMBER: Final = 2**31 - 1
_NOT_SENT: Final = frozenset({b"connection", b"host", b"keep-alive", b"transfer-encoding"})
"""What HTTP/2 has no place for, or another one."""


class Http2Connection:
    """One connection, from its handshake on. A task reads from it as long as it lasts."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h2 = H2Connection(H2Configuration(validate_inbound_headers=False, header_encoding=None))
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: H2Connection.DEFAULT_MAX_HEADER_LIST_SIZE,
            },
        )
        self._frames = Frames(self._h2.max_inbound_frame_size)
        self._streams: dict[int, Http2Stream] = {}
        self._settled = asyncio.Event()
        self._vain = 0
        self._heard = 0.0
        self._deaf = False
        self._fault = ""
        self._idle: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Waits for the server's settings, which say how many streams it allows. Raises `httpx.RemoteProtocolError`."""
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_ALL_WINDOWS - _FIRST_WINDOW)
        self._flush()
        self._reading = asyncio.create_task(self._read())
        try:
            await self._settled.wait()
        except asyncio.CancelledError:
            self.close("it took too long")
            raise
        if not self.room:
            self.close("the server allows no stream")
            raise httpx.RemoteProtocolError(self._fault)

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return bool(self._fault)

    @property
    def room(self) -> bool:
        """Whether another request can be sent."""
        most = min(_STREAMS, self._h2.remote_settings.max_concurrent_streams)
        return not self.closed and not self._last and len(self._streams) < most

    @property
    def _last(self) -> bool:
        """Whether it gets no more requests."""
        used_up = self._h2.highest_outbound_stream_id == _LAST_NUMBER
        return self._deaf or used_up or self._frames.last_stream is not None

    def begin(self, request: httpx.Request, *, body: bool) -> Http2Stream:
        """Sends a request's head; there must be `room`."""
        url = request.url
        head = [
            (b":method", request.method.encode()),
            (b":scheme", url.raw_scheme),
            (b":authority", url.netloc),
            (b":path", url.raw_path),
        ]
        head += [(name.lower(), value) for name, value in request.headers.raw if name.lower() not in _NOT_SENT]
        number = self._h2.get_next_available_stream_id()
        self._h2.send_headers(number, head, end_stream=not body)
        stream = self._streams[number] = Http2Stream(self, number, sent=not body)
        self._vain = 0
        if self._idle is not None:
            self._idle.cancel()
        self._flush()
        return stream

    async def send(self, stream: Http2Stream, body: bytes) -> None:
        """See `Connection.send`."""
        begin = 0
        while not (stream.sent or stream.ended or stream.fault):
            window = self._h2.local_flow_control_window(stream.number)
            end = min(begin + min(_PIECE_BYTES, window), len(body))
            if end <= begin:
                await stream.news()
                continue
            stream.sent = end == len(body)
            self._h2.send_data(stream.number, body[begin:end], end_stream=stream.sent)
            begin = end
            self._vain = 0
            self._flush()
            try:
                await self._writer.drain()
            except OSError:
                stream.fail("the connection broke")

    def acknowledge(self, stream: Http2Stream, size: int) -> None:
        """See `Connection.acknowledge`."""
        if not self.closed:
            self._h2.acknowledge_received_data(size, stream.number)
            self._flush()

    def leave(self, stream: Http2Stream) -> None:
        """See `Connection.leave`."""
        if self._streams.pop(stream.number, None) is None or self.closed:
            return
        stream.give_back()
        loop = asyncio.get_running_loop()
        if not (stream.reset or (stream.sent and stream.ended)):
            self._h2.reset_stream(stream.number, ErrorCodes.CANCEL)
            self._flush()
            self._deaf |= loop.time() - max(stream.begun, self._heard) > _DEAF_SECONDS
        if not self._streams:
            self._idle = loop.call_later(0 if self._last else _IDLE_SECONDS, self.close, "nobody needs it")

    def close(self, reason: str) -> None:
        """Ends the connection, and all that is on it."""
        if not self.closed:
            self._h2.close_connection()
            self._flush()
        self._end(reason)
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        fault = "the server ended the connection"
        try:
            while not self.closed and (data := await self._reader.read(_PIECE_BYTES)):
                self._heard = asyncio.get_running_loop().time()
                frames, count = self._frames.taken(data)
                self._vain += count
                for event in self._h2.receive_data(frames):
                    self._take(event)
                if self._vain > _VAIN_FRAMES:
                    fault = "the server sends frames for nothing"
                    return
                self._heed_goaway()
                self._flush()
        except (H2Error, ValueError) as error:
            fault = f"the server breaks the rules of HTTP/2: {error}"
            self._flush()
        except OSError:
            fault = "the connection broke"
        finally:
            self._end(fault)

    def _take(self, event: Event) -> None:
        if isinstance(event, ResponseReceived) or (isinstance(event, DataReceived) and event.data):
            self._vain = 0
        if isinstance(event, RemoteSettingsChanged):
            self._settled.set()
        if stream := self._streams.get(getattr(event, "stream_id", None) or 0):
            stream.take(event)
        else:  # perhaps there is more room for what is to be sent
            for stream in self._streams.values():
                stream.wake()

    def _heed_goaway(self) -> None:
        """Once the server has announced that it will close: what it will not answer fails, and the rest goes on."""
        if (last := self._frames.last_stream) is None:
            return
        for number, stream in self._streams.items():
            if number > last:
                stream.fail("the server takes no more requests on this connection")
        if not self._streams:
            self._end("the server takes no more requests on this connection")

    def _flush(self) -> None:
        if not self.closed and (data := self._h2.data_to_send()):
            self._writer.write(data)
            if self._writer.transport.get_write_buffer_size() > _UNSENT_BYTES:
                self._end("the server does not read")

    def _end(self, fault: str) -> None:
        if self.closed:
            return
        self._fault = fault
        self._settled.set()
        self._writer.close()
        if self._idle is not None:
            self._idle.cancel()
        for stream in self._streams.values():
            stream.fail(fault)

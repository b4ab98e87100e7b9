"""A scripted upstream behind TLS that speaks HTTP/2, or HTTP/1.1 alone, and keeps what it sees."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from upstreams import DONE, HELLO, answer, chunk, usage

EVENTS = chunk({"role": "assistant", "content": "Hi"}) + chunk(finish="stop") + usage(3, 2, 1) + DONE
GOAWAY = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00"
"""The head of a frame, whose content is the last stream and an error."""


class Left(Exception):
    """The other side has reset the stream, or the connection is gone."""


class Exchange:
    """One request, and what becomes of it."""

    def __init__(self, connection: "Connection", number: int, headers: dict[bytes, bytes]) -> None:
        self.connection = connection
        self.number = number
        self.headers = headers
        self.body = b""
        self.left = threading.Event()
        """Set by RST_STREAM."""
        self.code: Any = None
        """Its error code."""

    @property
    def window(self) -> int:
        """Bytes that may be sent now."""
        return self.connection.h2.local_flow_control_window(self.number)

    def head(self, status: int = 200, kind: str = "text/event-stream", **more: str) -> None:
        """Sends the answer's head."""
        fields = [(":status", str(status)), ("content-type", kind)]
        fields += [(name.replace("_", "-"), value) for name, value in more.items()]
        self.connection.h2.send_headers(self.number, fields)
        self.connection.flush()

    def fill(self, kind: str) -> None:
        """Sends a head and as much of a body as the window allows, at once."""
        state, size = self.connection.h2, self.window
        state.send_headers(self.number, [(":status", "200"), ("content-type", kind)])
        for begin in range(0, size, state.max_outbound_frame_size):
            state.send_data(self.number, bytes(min(state.max_outbound_frame_size, size - begin)))
        self.connection.flush()

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Sends some of the body as the windows allow. Raises `Left`."""
        state = self.connection.h2
        while data or end:
            if self.left.is_set() or self.connection.gone:
                raise Left
            size = min(len(data), self.window, state.max_outbound_frame_size)
            if data and size <= 0:
                await self.connection.news()
                continue
            last = end and size == len(data)
            state.send_data(self.number, data[:size], end_stream=last)
            self.connection.flush()
            await self.connection.writer.drain()
            data, end = data[size:], end and not last

    async def until_left(self) -> None:
        """Waits for RST_STREAM or the connection's end."""
        while not (self.left.is_set() or self.connection.gone):
            await self.connection.news()

    def reset(self, code: h2.errors.ErrorCodes) -> None:
        """Sends RST_STREAM."""
        self.connection.h2.reset_stream(self.number, code)
        self.connection.flush()

    def stop_reading(self) -> None:
        """Makes the connection deaf."""
        self.connection.reader._transport.pause_reading()  # type: ignore[attr-defined]

    def goaway(self, last: int) -> None:
        """Announces that streams after `last` are not answered, as h2 cannot without ending the connection."""
        self.connection.writer.write(GOAWAY + last.to_bytes(4, "big") + bytes(4))

    def raw(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.connection.writer.write(data)

    def cut(self) -> None:
        """Ends the connection."""
        self.connection.writer.close()


Script = Callable[[Exchange], Awaitable[None]]


async def hello(exchange: Exchange) -> None:
    """A short answer."""
    exchange.head()
    await exchange.send(EVENTS, end=True)


async def no_models(exchange: Exchange) -> None:
    """What a look at a server is answered with."""
    exchange.head(kind="application/json")
    await exchange.send(b'{"data": []}', end=True)


class Connection:
    """One connection over HTTP/2."""

    def __init__(self, upstream: "Http2Upstream", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.upstream = upstream
        self.reader = reader
        self.writer = writer
        self.gone = False
        self.cancelled = 0
        """Streams that were reset before the request was whole."""
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self._exchanges: dict[int, Exchange] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def news(self) -> None:
        """Waits until something has come."""
        self._news.clear()
        await self._news.wait()

    async def serve(self) -> None:
        self.h2.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.upstream.streams}
        )
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 24)
        self.flush()
        with contextlib.suppress(OSError, h2.exceptions.H2Error):
            while data := await self.reader.read(1 << 16):
                for event in self.h2.receive_data(data):
                    self._take(event)
                self.flush()
                self._news.set()
        self.gone = True
        self._news.set()
        self.writer.close()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._exchanges[event.stream_id] = Exchange(self, event.stream_id, dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            self._exchanges[event.stream_id].body += event.data
            if self.upstream.hungry:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            task = asyncio.create_task(self.upstream.answer(self._exchanges[event.stream_id]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif isinstance(event, h2.events.StreamReset):
            exchange = self._exchanges[event.stream_id]
            exchange.code = event.error_code
            exchange.left.set()
            self.cancelled += exchange not in self.upstream.exchanges


class Http2Upstream:
    """`GET /models` is answered as `models` says, which is with an empty list, all else as `script` says."""

    def __init__(
        self, folder: Path, script: Script = hello, *, offers: Sequence[str] = ("h2", "http/1.1"), streams: int = 100
    ) -> None:
        """`folder` has the certificate; `offers` goes into the handshake; `streams`: how many at a time."""
        self.script = script
        self.models: Script = no_models
        self.streams = streams
        self.hungry = True
        """Whether more of a request is taken than a window of 64 KiB."""
        self.exchanges: list[Exchange] = []
        """What was asked over HTTP/2, but for looks at `/models`."""
        self.connections: list[Connection] = []
        self.old: list[bytes] = []
        """Heads that came over HTTP/1.1."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._context.set_alpn_protocols(list(offers))
        self._loop = asyncio.new_event_loop()
        started: Any = threading.Event()
        self._stop = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run(started)), daemon=True)
        self._thread.start()
        started.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def answer(self, exchange: Exchange) -> None:
        script = self.script
        if exchange.headers[b":path"] == b"/v1/models":
            script = self.models
        else:
            self.exchanges.append(exchange)
        with contextlib.suppress(Left, OSError, h2.exceptions.H2Error):
            await script(exchange)

    async def _run(self, started: threading.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.netloc = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.url = f"https://{self.netloc}/v1"
        started.set()
        await self._stop.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        closed = [writer.wait_closed() for writer in self._writers]
        await asyncio.gather(*tasks, *closed, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
            connection = Connection(self, reader, writer)
            self.connections.append(connection)
            await connection.serve()
            return
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET"):
                writer.write(answer("200 OK", b'{"data": []}'))
            else:
                size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                await reader.readexactly(int(size.split(b":")[1]))
                self.old.append(head)
                writer.write(HELLO)
        writer.close()

"""Scripted upstreams: raw sockets that read a request and then do what a test says, byte by byte."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

Script = Callable[[socket.socket], None]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, *, index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    """An event with one choice."""
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish, **more}
    return event({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


def event(data: Any) -> bytes:
    """An event of JSON."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def usage(prompt: int, completion: int, cached: int = 0) -> bytes:
    """The last chunk."""
    details = {"prompt_tokens_details": {"cached_tokens": cached}}
    return event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion, **details}})


def answer(status: str, body: bytes = b"", *headers: str, kind: str = "application/json") -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", "connection: close"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def failure(status: str, *headers: str, **error: Any) -> bytes:
    """An error as OpenAI words it."""
    return answer(status, json.dumps({"error": error}).encode(), *headers)


HELLO = HEAD + chunk({"role": "assistant", "content": "Hi"}) + chunk(finish="stop") + usage(3, 2, 1) + DONE


class Upstream:
    """`GET /models` is answered as `models` says, all else as `script` says: bytes are sent as they are."""

    def __init__(self, script: bytes | Script = HELLO, models: bytes = b'{"data": []}') -> None:
        self.script = script
        self.models = answer("200 OK", models)
        self.requests: list[tuple[bytes, bytes]] = []
        """Heads and bodies, but not of looks at `/models`."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.netloc = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.netloc}/v1"
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def body(self) -> Any:
        """The last request's."""
        return json.loads(self.requests[-1][1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Takes no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def respond(self, connection: socket.socket, body: bytes) -> None:
        """Answers one request, whose body this is."""
        _ = body
        if isinstance(self.script, bytes):
            connection.sendall(self.script)
        else:
            self.script(connection)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head, body = _request(connection)
            if head.startswith(b"GET /v1/models "):
                connection.sendall(self.models)
                return
            self.requests.append((head, body))
            self.respond(connection, body)


def _request(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < sum(lengths):
        body += _received(connection)
    return head, body


def _received(connection: socket.socket) -> bytes:
    if not (data := connection.recv(1 << 16)):
        raise ConnectionResetError
    return data


def until_left(connection: socket.socket) -> None:
    """Waits until the other side closes the connection."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(1 << 16):
            pass

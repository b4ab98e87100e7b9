"""The client against servers that misbehave: scripted sockets and scripted gRPC services, no model."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import grpc
import pytest
from client_ways import opened
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from glmserve.v1 import chat_pb2, chat_pb2_grpc
from glmserve_client import (
    BadRequest,
    BrokenStream,
    Client,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    GlmserveError,
    InvalidAnswer,
    NotSupported,
    PermissionDenied,
    RateLimited,
    ServerError,
    Stalled,
    Unauthenticated,
    Unavailable,
)
from glmserve_client.retry import LONGEST_WAIT, delay

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
CHUNK = (
    b'data: {"id": "1", "model": "m", "created": 1, "choices": [{"index": 0, "delta": {"content": "Hi "}}]}\n\n'
    b'data: {"id": "1", "model": "m", "created": 1, "choices": [{"index": 0, "delta": {"content": "you"}, '
    b'"finish_reason": "stop"}]}\n\n'
)
DONE = b"data: [DONE]\n\n"
WHOLE = b'{"id": "1", "model": "m", "created": 1, "choices": [{"index": 0, "message": {"content": "Hi"}}]}'

Script = Callable[[socket.socket], None]


def answer(status: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", "connection: close"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


class Scripted:
    """An HTTP server that reads a request and then does what the next script says: bytes are sent as they are."""

    def __init__(self, *scripts: bytes | Script) -> None:
        self.requests: list[bytes] = []
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def accept(self) -> socket.socket:
        """The next caller."""
        return self._listener.accept()[0]

    def _run(self) -> None:
        for script in self._scripts:
            with self.accept() as connection:
                self.requests.append(_request(connection))
                if isinstance(script, bytes):
                    connection.sendall(script)
                else:
                    script(connection)
        self._listener.close()


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < sum(lengths):
        body += _received(connection)
    return head + b"\r\n\r\n" + body


def _received(connection: socket.socket) -> bytes:
    if not (data := connection.recv(65536)):
        raise ConnectionResetError
    return data


def asked(script: bytes | Script, **options: Any) -> GlmserveError:
    """The error of a stream."""
    with Client(Scripted(script).url, retries=0, **options) as client:
        return error_of(lambda: read(client))


def read(client: Any, **parameters: Any) -> str:
    """The text of a stream."""
    with client.stream("Hello!", **parameters) as stream:
        for _ in stream:
            pass
        return str(stream.text)


def error_of(call: Callable[[], Any]) -> GlmserveError:
    """The error that a call raises."""
    with pytest.raises(GlmserveError) as raised:
        call()
    return raised.value


@pytest.fixture(params=["sync", "async"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_stream_is_read(style: str) -> None:
    with opened(style, Scripted(HEAD + CHUNK + DONE).url) as client:
        assert read(client) == "Hi you"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(1, 400), max_size=6),
    st.lists(st.sampled_from([b": comment", b"event: x", b"id: 7", b"retry: 5"]), max_size=3),
)
def test_events_have_any_line_end_and_comments_and_come_in_any_pieces(
    end: bytes, cuts: list[int], extras: list[bytes]
) -> None:
    said = "Grüße, 你好 👋 \u2028 "
    text = CHUNK.replace(b"Hi ", said.encode()) + DONE
    stream = b"".join(line + b"\n" for line in extras) + text
    stream = stream.replace(b"\n", end)

    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(HEAD)
        places = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
        for begin, stop in pairwise(places):
            connection.sendall(stream[begin:stop])

    with Client(Scripted(script).url) as client:
        assert read(client) == said + "you"


@pytest.mark.parametrize("nothing", [b"retry: 3000\n\n", b"event: ping\n\n", b"id: 7\n\n: comment\n\n", b"data:\n\n"])
def test_an_event_without_data_is_no_piece_of_the_answer(nothing: bytes) -> None:
    first, second, _ = CHUNK.split(b"\n\n")
    events = (first + b"\n\n", second + b"\n\n", DONE)
    with Client(Scripted(HEAD + nothing + nothing.join(events)).url) as client:
        assert read(client) == "Hi you"


def test_a_stream_may_begin_with_a_mark_of_byte_order() -> None:
    with Client(Scripted(HEAD + b"\xef\xbb\xbf" + CHUNK + DONE).url) as client:
        assert read(client) == "Hi you"


def test_cookies_are_not_kept() -> None:
    server = Scripted(*[answer("200 OK", WHOLE, "set-cookie: a=b; Path=/")] * 2)
    with Client(server.url) as client:
        client.chat("Hello!")
        client.chat("Hello!")
    assert not [request for request in server.requests if b"cookie" in request.lower()]


def chunked(body: bytes) -> bytes:
    """The head of an answer over a connection that is kept, and the beginning of its body."""
    head = HEAD.replace(b"connection: close", b"transfer-encoding: chunked")
    return head + b"%x\r\n" % len(body) + body + b"\r\n"


@pytest.mark.parametrize("pieces", [[chunked(CHUNK + DONE) + b"0\r\n\r\n"], [chunked(CHUNK + DONE), b"0\r\n", b"\r\n"]])
def test_the_connection_of_a_stream_is_used_again(pieces: list[bytes], style: str) -> None:
    def answer_twice(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        _request(connection)
        connection.sendall(b"".join(pieces))

    with opened(style, Scripted(answer_twice).url, timeout=10, retries=0) as client:
        assert [read(client), read(client)] == ["Hi you"] * 2


def test_a_stream_is_whole_once_done_was_said_whatever_follows(style: str) -> None:
    left = threading.Event()

    def stay(connection: socket.socket) -> None:
        connection.sendall(HEAD + CHUNK + DONE + b": still here\n\n")
        assert connection.recv(1) == b""  # the client has hung up
        left.set()

    with opened(style, Scripted(stay).url, token_timeout=0.2) as client:
        assert read(client) == "Hi you"
        assert left.wait(10)
    for script in (chunked(CHUNK + DONE), chunked(CHUNK + DONE) + b"nonsense\r\n"):
        with opened(style, Scripted(script).url) as client:
            assert read(client) == "Hi you"


def test_a_stream_that_ends_without_done_is_broken(style: str) -> None:
    with opened(style, Scripted(HEAD + CHUNK).url) as client, client.stream("Hello!") as stream:
        with pytest.raises(BrokenStream, match=r"without \[DONE\]"):
            list(stream)
        assert stream.text == "Hi you"


def test_a_stream_that_is_cut_is_broken() -> None:
    assert type(asked(chunked(CHUNK))) is BrokenStream
    with Client(Scripted(answer("200 OK", WHOLE)[:-5]).url, retries=0) as client:
        assert type(error_of(lambda: client.chat("Hello!"))) is BrokenStream


@pytest.mark.parametrize(
    "events",
    [
        b"data: nonsense\n\n",
        b"data: {}\n\n",
        b"data: []\n\n",
        b'data: {"choices": 7}\n\n',
        b'data: {"choices": [{"delta": {"content": 7}}]}\n\n',
        b'data: {"choices": [{"index": -1, "delta": {"content": "x"}}]}\n\n',
        b'data: {"choices": [{"index": 99999999, "delta": {"content": "x"}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": 5}]}}]}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: \xff\xfe\n\n",
        b"data: [DONE]\n\n",
    ],
)
def test_garbage_is_no_answer(events: bytes) -> None:
    assert type(asked(HEAD + events + DONE)) is InvalidAnswer


@pytest.mark.parametrize("kind", ["text/html", "application/json", ""])
def test_another_content_type_is_no_stream(kind: str) -> None:
    assert type(asked(answer("200 OK", b"<html>", kind=kind))) is InvalidAnswer


@pytest.mark.parametrize("body", [b"<html>", b"null", b'{"choices": []}', b'{"choices": [{"message": 5}]}'])
def test_a_whole_answer_of_another_kind_is_none(body: bytes) -> None:
    with Client(Scripted(answer("200 OK", body)).url) as client:
        assert type(error_of(lambda: client.chat("Hello!"))) is InvalidAnswer
    with Client(Scripted(answer("200 OK", body, kind="text/html")).url) as client:
        assert type(error_of(client.models)) is InvalidAnswer


def test_what_has_no_end_is_left() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"data: ")
        while True:
            try:
                connection.sendall(bytes(1_000_000))
            except OSError:
                return

    error = asked(flood)
    assert (type(error), "without end" in str(error)) == (InvalidAnswer, True)


def test_a_compressed_answer_is_not_opened() -> None:
    assert "compressed" in str(asked(answer("200 OK", b"x", "content-encoding: gzip")))


def test_a_redirect_is_not_followed() -> None:
    other = Scripted(answer("200 OK", WHOLE))
    with Client(Scripted(answer("307 Temporary Redirect", b"", f"location: {other.url}")).url, api_key="k") as client:
        error = error_of(lambda: client.chat("Hello!"))
    assert (type(error), other.url in str(error)) == (InvalidAnswer, True)
    assert other.requests == []


def test_a_stall_ends_the_stream(style: str) -> None:
    left = threading.Event()

    def stall(connection: socket.socket) -> None:
        connection.sendall(HEAD + CHUNK + b": still here\n\n")
        assert connection.recv(1) == b""  # the client has hung up
        left.set()

    with opened(style, Scripted(stall).url, token_timeout=0.2) as client, client.stream("Hello!") as stream:
        with pytest.raises(Stalled, match=r"nothing of the answer came for 0.2 s"):
            list(stream)
        assert stream.text == "Hi you"
    assert left.wait(10)


def test_the_first_piece_may_take_the_whole_time() -> None:
    def stall(connection: socket.socket) -> None:
        connection.sendall(HEAD)
        connection.recv(1)

    with Client(Scripted(stall).url, token_timeout=0.05) as client:
        error = error_of(lambda: read(client, timeout=0.3))
    assert (type(error), str(error)) == (DeadlineExceeded, "the call took longer than 0.3 s")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ('{"message": "Too many", "type": "rate_limit_error", "code": null}', RateLimited),
        ('{"message": "Gone", "type": "server_error", "code": null}', Unavailable),
        ('{"message": "Late", "type": "server_error", "code": "timeout"}', DeadlineExceeded),
        ('{"message": "Bad", "type": "invalid_request_error", "param": "n"}', BadRequest),
        ('"just text"', ServerError),
    ],
)
def test_an_error_in_a_stream_is_raised(error: str, kind: type[GlmserveError]) -> None:
    raised = asked(HEAD + CHUNK + f'data: {{"error": {error}}}\n\n'.encode())
    assert type(raised) is kind
    assert raised.retry_after is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, Unauthenticated),
        (403, PermissionDenied),
        (405, NotSupported),
        (413, BadRequest),
        (429, RateLimited),
        (500, ServerError),
        (502, Unavailable),
        (504, DeadlineExceeded),
    ],
)
def test_every_status_has_its_error(status: int, kind: type[GlmserveError]) -> None:
    for body in (b"<html>Oops</html>", b"", b'{"error": "Oops"}', b'{"error": {"message": "Oops", "param": null}}'):
        error = asked(answer(f"{status} No", body))
        assert type(error) is kind
        assert "Oops" in str(error) or not body


def test_a_call_is_made_again_where_the_server_says_so(style: str) -> None:
    busy = answer("429 Too Many Requests", b"{}", "retry-after: 0")
    again = answer("503 Service Unavailable", b"{}", "x-should-retry: true")
    server = Scripted(busy, again, answer("200 OK", WHOLE))
    with opened(style, server.url) as client:
        assert client.chat("Hello!").text == "Hi"
    assert len(server.requests) == 3
    with opened(style, Scripted(busy, again, HEAD + CHUNK + DONE).url) as client:
        assert read(client) == "Hi you"


def test_a_call_is_not_made_again_for_ever() -> None:
    server = Scripted(*[answer("503 No", b"{}", "retry-after: 0")] * 3, answer("200 OK", WHOLE))
    with Client(server.url, retries=2) as client:
        assert type(error_of(lambda: client.chat("Hello!"))) is Unavailable
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "refusal",
    [
        answer("503 No", b"{}"),
        answer("503 No", b"{}", "retry-after: 0", "x-should-retry: false"),
        answer("429 No", b"{}", "retry-after: 100000"),
        answer("500 No", b"{}"),
        HEAD + CHUNK,
        b"",
    ],
)
def test_a_call_is_not_made_again_without_reason(refusal: bytes) -> None:
    server = Scripted(refusal, HEAD + CHUNK + DONE)
    with Client(server.url) as client:
        error_of(lambda: read(client))
    assert len(server.requests) == 1


def test_a_call_is_not_made_again_once_its_time_is_over() -> None:
    begun = time.monotonic()
    with Client(Scripted(answer("429 No", b"{}", "retry-after: 30")).url) as client:
        assert type(error_of(lambda: client.chat("Hello!", timeout=5))) is RateLimited
    assert time.monotonic() - begun < 5


def test_pauses_grow_and_are_bounded() -> None:
    assert delay(0, None) is None
    assert delay(0, LONGEST_WAIT + 1) is None
    for number, most in ((0, 0.25), (1, 0.5), (20, 8.0)):
        pauses = [delay(number, 3.0) for _ in range(200)]
        assert all(pause is not None and 3.0 <= pause <= 3.0 + most for pause in pauses)
        assert len(set(pauses)) > 100


def test_a_server_that_does_not_listen_is_not_reached(style: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/v1", f"grpc://127.0.0.1:{port}"):
        with opened(style, url, retries=1) as client:
            for call in (lambda: client.chat("Hello!"), lambda: read(client), client.models, client.health):
                error = error_of(call)
                assert (type(error), error.retry_after) == (ConnectionFailed, 0.0)
                assert f"127.0.0.1:{port}" in str(error)


# gRPC


class ScriptedChat(chat_pb2_grpc.ChatServiceServicer):
    """Fails as often as there are statuses, then answers with `events`."""

    def __init__(self, statuses: list[status_pb2.Status], events: int = 2, text: str = "Hi") -> None:
        self.statuses = statuses
        self.events = events
        self.text = text
        self.metadata: list[dict[str, Any]] = []
        self.left = threading.Event()

    @override
    def CreateChatCompletion(self, request: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "streams alone")

    @override
    def StreamChatCompletion(self, request: Any, context: Any) -> Iterator[Any]:
        self.metadata.append(dict(context.invocation_metadata()))
        context.add_callback(self.left.set)
        if self.statuses:
            status = self.statuses.pop(0)
            context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
            context.abort({code.value[0]: code for code in grpc.StatusCode}[status.code], status.message)
        yield chat_pb2.StreamChatCompletionResponse(started=chat_pb2.Started(id="1", model="m"))
        for _ in range(self.events):
            yield chat_pb2.StreamChatCompletionResponse(text=chat_pb2.TextDelta(text=self.text))
        if self.events > 2:
            self.left.wait()
        if self.events == 2:
            yield chat_pb2.StreamChatCompletionResponse(usage=chat_pb2.Usage(prompt_tokens=1))


@contextmanager
def serving(servicer: ScriptedChat) -> Iterator[str]:
    """The address of a gRPC server."""
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        chat_pb2_grpc.add_ChatServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"grpc://127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


def status(code: grpc.StatusCode, retry_seconds: float | None) -> status_pb2.Status:
    """A status as the server gives it."""
    made = status_pb2.Status(code=code.value[0], message="no")
    if retry_seconds is not None:
        pause = duration_pb2.Duration()
        pause.FromNanoseconds(int(retry_seconds * 1e9))
        packed = any_pb2.Any()
        packed.Pack(error_details_pb2.RetryInfo(retry_delay=pause))
        made.details.append(packed)
    return made


def test_a_grpc_call_is_made_again_where_the_server_says_so(style: str) -> None:
    busy = status(grpc.StatusCode.RESOURCE_EXHAUSTED, 0.001)
    chat = ScriptedChat([busy, busy])
    with serving(chat) as url, opened(style, url, api_key="secret") as client:
        assert read(client) == "HiHi"
    assert [metadata["authorization"] for metadata in chat.metadata] == ["Bearer secret"] * 3


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, BadRequest),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied),
        (grpc.StatusCode.UNIMPLEMENTED, NotSupported),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, RateLimited),
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.INTERNAL, ServerError),
        (grpc.StatusCode.DATA_LOSS, ServerError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
    ],
)
def test_every_code_has_its_error(code: grpc.StatusCode, kind: type[GlmserveError]) -> None:
    chat = ScriptedChat([status(code, None)])
    with serving(chat) as url, Client(url) as client:
        assert type(error_of(lambda: read(client))) is kind
    assert len(chat.metadata) == 1


def test_a_grpc_stream_without_its_end_is_broken() -> None:
    with serving(ScriptedChat([], events=1)) as url, Client(url) as client:
        assert type(error_of(lambda: read(client))) is BrokenStream


def test_a_grpc_stall_ends_the_stream_and_leaves_the_call(style: str) -> None:
    chat = ScriptedChat([], events=3)
    with serving(chat) as url, opened(style, url, token_timeout=0.2) as client:
        assert type(error_of(lambda: read(client))) is Stalled
        assert chat.left.wait(10)


def test_a_grpc_answer_that_is_too_large_is_not_taken() -> None:
    chat = ScriptedChat([], text="x" * 40_000_000)
    with serving(chat) as url, Client(url) as client:
        assert type(error_of(lambda: read(client))) is InvalidAnswer


# Arguments of the client


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("localhost:50051", {}, "an address is like"),
        ("ftp://host", {}, "an address is like"),
        ("grpc://", {}, "an address is like"),
        ("http://host:port", {}, "is no address"),
        ("grpc://host:1/v1", {}, "no path"),
        ("http://ho\x00st/v1", {}, "is no address"),
        ("http://xn--a/v1", {}, "is no address"),
        ("https://\u2603.example/v1", {}, "is no address"),
        ("http://user:secret@host/v1", {}, "no user name"),
        ("http://host/v1?key=secret", {}, "no user name, query"),
        ("http://example.com/v1", {"api_key": "secret"}, "in the clear"),
        ("grpc://10.0.0.1:50051", {"api_key": "secret"}, "in the clear"),
        ("https://host/v1", {"api_key": "a\nb"}, "a header cannot carry"),
        ("http://localhost/v1", {"timeout": 0}, "timeout must be"),
        ("http://localhost/v1", {"token_timeout": float("nan")}, "token_timeout must be"),
        ("http://localhost/v1", {"retries": -1}, "retries must be"),
        ("https://localhost/v1", {"cert": "a.pem"}, "come together"),
        ("http://localhost/v1", {"ca": "a.pem"}, "need an encrypted address: https"),
        ("https://localhost/v1", {"ca": "/nowhere/a.pem"}, "cannot be used"),
        ("grpcs://localhost", {"ca": "/nowhere/a.pem"}, "cannot be read"),
        ("grpcs://localhost", {"ca": __file__}, "no PEM file"),
    ],
)
def test_what_is_wrong_with_an_argument_is_said(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        Client(url, **options)
    assert "secret" not in str(raised.value)


def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="retrys"):
        Client("http://localhost/v1", retrys=1)  # type: ignore[call-arg]


def test_the_key_is_not_shown() -> None:
    with Client("http://localhost/v1", api_key="secret") as client:
        assert "secret" not in repr(client._wrapped._settings)


def test_the_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLMSERVE_API_KEY", "secret")
    server = Scripted(answer("200 OK", WHOLE), answer("200 OK", WHOLE))
    with Client(server.url) as client:
        client.chat("Hello!")
    with Client(server.url, api_key="other") as client:
        client.chat("Hello!")
    assert b"Bearer secret" in server.requests[0]
    assert b"Bearer other" in server.requests[1]
    with pytest.raises(ConfigurationError, match="in the clear"):
        Client("http://example.com/v1")
    Client("http://example.com/v1", plain_key=True).close()

"""Upstreams that misbehave, over both faces: every fault has its status, nothing hangs or grows, nothing is told on."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing
from itertools import islice

import grpc
import httpx
import psutil
import pytest
from faces import Face, GrpcFace, Refused
from running import COMMAND, WIDE, Glmserve, health_of
from upstreams import DONE, HEAD, HELLO, Script, Upstream, answer, chunk, event, failure, until_left

Way = Callable[[Glmserve], AbstractContextManager[Face]]

KEY = "sk-aB3.very-secret"
QUESTION = [("user", "Hello!")]
TEXT = chunk({"role": "assistant", "content": "Hi"})
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def front(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glmserve]:
    """A server with that upstream, which may be silent for a second."""
    key = tmp_path_factory.mktemp("keys") / "key"
    key.write_text(KEY + "\n")
    flags = ("--upstream", f"model={upstream.url}#theirs", "--upstream-key-file", f"model={key}")
    with Glmserve("up", *flags, "--upstream-timeout", "1") as running:
        yield running


def drip(connection: socket.socket) -> None:
    """A byte now and then, which never becomes an event."""
    connection.sendall(HEAD + b"data: ")
    connection.settimeout(0.05)
    while True:
        connection.sendall(b"x")
        try:
            if not connection.recv(1):
                return
        except TimeoutError:
            pass


def after(begin: bytes, then: Callable[[socket.socket], None] = until_left) -> Script:
    """Sends something, and does something."""

    def script(connection: socket.socket) -> None:
        connection.sendall(begin)
        then(connection)

    return script


def told_when_left(begin: bytes, left: threading.Event) -> Script:
    """Sends something, and says when the other side has closed the connection."""

    def script(connection: socket.socket) -> None:
        connection.sendall(begin)
        until_left(connection)
        left.set()

    return script


def endless(begin: bytes, piece: bytes) -> Script:
    """Sends something without end, until the other side has enough."""

    def script(connection: socket.socket) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(piece)

    return script


LEAK = f"http://127.0.0.1:HHHHH/v1 refused {KEY}"
"""What an upstream should not say. Its port has five digits, as those of the system's choice have."""
WHOLE = answer("200 OK", b'{"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}')
HTML = b"<html><body>Bad gateway at http://127.0.0.1:HHHHH</body></html>"
CALL = {"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": "{}"}}]}

CHUNKED = HEAD.replace(b"connection", b"transfer-encoding: chunked\r\nconnection")

FAULTS: dict[str, tuple[bytes | Script, int]] = {
    "400": (failure("400 Bad Request", message=LEAK, param="temperature"), 400),
    "half a character in an error": (failure("400 Bad Request", message="no \ud83d", param="\ud83d"), 400),
    "half a character in an error's event": (HEAD + event({"error": {"message": "no \ud83d", "code": 400}}), 400),
    "400 without words": (answer("400 Bad Request", HTML, kind="text/html"), 503),
    "401": (failure("401 Unauthorized", message=LEAK, code="invalid_api_key"), 503),
    "403": (failure("403 Forbidden", message=LEAK), 503),
    "404": (failure("404 Not Found", message=LEAK, code="model_not_found"), 404),
    "404 of a page": (answer("404 Not Found", HTML, kind="text/html"), 503),
    "408": (failure("408 Request Timeout", message=LEAK), 504),
    "413": (failure("413 Content Too Large", message=LEAK), 400),
    "422 of FastAPI": (answer("422 No", b'{"detail": [{"loc": ["body", "top_p"], "msg": "too large"}]}'), 400),
    "429": (failure("429 Too Many Requests", "retry-after: 7", message=LEAK), 429),
    "429 for ages": (failure("429 Too Many Requests", f"retry-after: Fri, 01 Jan {'9' * 20} 00:00:00 GMT"), 429),
    "500": (failure("500 Internal Server Error", message=LEAK), 503),
    "502": (answer("502 Bad Gateway", HTML, kind="text/html"), 503),
    "504": (answer("504 Gateway Timeout", HTML, kind="text/html"), 504),
    "a redirect": (answer("307 Temporary Redirect", b"", "location: http://127.0.0.1:HHHHH/elsewhere"), 503),
    "a redirect to no place": (answer("302 Found", b"", "location: about:blank"), 503),
    "a redirect to a strange name": (answer("308 Permanent Redirect", b"", "location: //xn--xn--"), 503),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", 503),
    "nothing": (b"", 503),
    "a page": (answer("200 OK", HTML, kind="text/html"), 503),
    "no stream": (WHOLE, 503),
    "a compressed stream": (HEAD.replace(b"connection", b"content-encoding: gzip\r\nconnection") + b"\x1f\x8b", 503),
    "an empty stream": (HEAD, 503),
    "an end alone": (HEAD + DONE, 503),
    "no JSON": (HEAD + b"data: {hello\n\n", 503),
    "no object": (HEAD + b"data: [1]\n\n", 503),
    "deep JSON": (HEAD + b"data: " + b"[" * 100_000 + b"\n\n", 503),
    "no choices": (HEAD + event({"choices": None}), 503),
    "no choices and no usage": (HEAD + TEXT + event({"id": "1"}), 503),
    "choices of a wrong type": (HEAD + event({"choices": "Hi"}), 503),
    "text of a wrong type": (HEAD + chunk({"content": {"text": "Hi"}}), 503),
    "a choice too many": (HEAD + chunk({"content": "Hi"}, index=1 << 31), 503),
    "a negative choice": (HEAD + chunk({"content": "Hi"}, index=-1), 503),
    "half a character": (HEAD + b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n', 503),
    "a call without a name": (HEAD + chunk(CALL), 503),
    "more calls than anybody makes": (HEAD + chunk({"tool_calls": [{"function": {"name": "f"}}] * 5000}), 503),
    "more choices than anybody asks for": (HEAD + event({"choices": [{}] * 50_000}), 503),
    "usage of a wrong type": (HEAD + TEXT + chunk(finish="stop") + event({"choices": [], "usage": [1]}), 503),
    "a huge usage": (HEAD + event({"choices": [], "usage": {"prompt_tokens": 1 << 40}}), 503),
    "garbage in the middle": (HEAD + TEXT + b"data: \xff\xfe\n\n", 503),
    "a cut": (HEAD + TEXT, 503),
    "a cut in an event": (HEAD + TEXT + b'data: {"choices": [', 503),
    "a cut in a chunk": (CHUNKED + b"fff\r\n", 503),
    "an end without a finish": (HEAD + TEXT + DONE, 503),
    "a network error": (HEAD + TEXT + chunk(finish="network_error") + DONE, 503),
    "an error first": (HEAD + event({"error": {"message": LEAK, "type": "server_error"}}), 503),
    "an error of the request first": (HEAD + event({"error": {"message": LEAK, "code": 400}}), 400),
    "a rate limit first": (HEAD + event({"error": {"message": LEAK, "type": "rate_limit_error"}}), 429),
    "an error later": (HEAD + TEXT + event({"error": {"message": LEAK, "type": "server_error"}}), 503),
    "an error that is a text": (HEAD + TEXT + event({"error": LEAK}), 503),
    "silence": (until_left, 504),
    "silence in the head": (after(b"HTTP/1.1 200 OK\r\ncontent-"), 504),
    "silence before the first event": (after(HEAD), 504),
    "silence in the middle": (after(HEAD + TEXT), 504),
    "silence in an error": (after(b"HTTP/1.1 500 No\r\ncontent-length: 10\r\n\r\n"), 504),
    "a slow drip": (drip, 504),
    "endless headers": (endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 10_000), 503),
    "endless heads": (endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000), 504),
    "endless trailers": (endless(CHUNKED + b"0\r\n", b"a: b\r\n" * 10_000), 503),
    "an endless head of a chunk": (endless(CHUNKED, b"1;" + b"a" * MEBIBYTE), 503),
    "an endless line": (endless(HEAD, b"data: " + b"x" * MEBIBYTE), 503),
    "endless comments": (endless(HEAD, b": still here\n" * 10_000), 503),
    "endless empty events": (endless(HEAD, b"event: ping\ndata:\n\n" * 1000), 503),
    "endless calls": (endless(HEAD, chunk({"tool_calls": [{"function": {"name": "f"}}] * 100})), 503),
    "endless blank lines": (endless(HEAD, b"\n" * MEBIBYTE), 503),
    "an endless error": (endless(b"HTTP/1.1 500 No\r\n\r\n", b"x" * MEBIBYTE), 503),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_status_and_tells_no_secret(front: Glmserve, upstream: Upstream, way: Way, name: str) -> None:
    script, status = FAULTS[name]
    upstream.script = (
        script.replace(b"127.0.0.1:HHHHH", upstream.netloc.encode()) if isinstance(script, bytes) else script
    )
    late = {504} if name.startswith("endless") else set()  # a busy machine may not get to the end in a second
    with way(front) as face:
        for call in (face.ask, lambda *given, **more: list(face.stream(*given, **more))):
            with pytest.raises(Refused) as refused:
                call(QUESTION, model="model")
            told = f"{refused.value} {refused.value.param} {refused.value.code}"
            assert not [secret for secret in (KEY, upstream.netloc, "127.0.0.1", "theirs", "Errno") if secret in told]
            if call == face.ask:  # in the middle of a stream there is no status any more
                assert refused.value.status in {status, *late}
        upstream.script = HELLO
        assert face.ask(QUESTION, model="model").text == "Hi"
    assert "Traceback" not in front.log
    assert KEY not in front.log


def test_a_refusal_names_the_field_as_the_face_does(front: Glmserve, upstream: Upstream, way: Way) -> None:
    path = "messages[0].content[0].image_url"
    upstream.script = failure("400 Bad Request", message=f"{path} is too wide", param=path)
    with way(front) as face, pytest.raises(Refused, match="is too wide") as refused:
        face.ask(QUESTION, model="model")
    assert refused.value.param is not None
    assert str(refused.value).startswith(refused.value.param)
    assert refused.value.param in (path, "messages[0].content[0].image")


def test_a_prompt_that_is_too_long_there_is_too_long_here(front: Glmserve, upstream: Upstream, way: Way) -> None:
    upstream.script = failure("400 Bad Request", message="This model's maximum context length is 8 tokens.", code=400)
    with way(front) as face, pytest.raises(Refused, match="maximum context length is 8") as refused:
        face.ask(QUESTION, model="model")
    assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")


def test_the_time_to_wait_is_passed_on(front: Glmserve, upstream: Upstream) -> None:
    body = {"model": "model", "messages": [{"role": "user", "content": "Hello!"}]}
    for status, wait_ in (("429 Too Many Requests", "retry-after: 7"), ("503 Service Unavailable", "Retry-After: 7.0")):
        upstream.script = failure(status, wait_, message="busy")
        refused = httpx.post(f"{front.openai_url}/chat/completions", json=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (int(status[:3]), "7")


def test_a_flood_does_not_make_the_server_grow(front: Glmserve, upstream: Upstream, way: Way) -> None:
    process = psutil.Process(front.pid)
    small, large, line = chunk({"content": "y" * 1000}) * 100, chunk({"content": "x" * MEBIBYTE}), b"x" * MEBIBYTE
    upstream.script = HELLO
    with way(front) as face:
        face.ask(QUESTION, model="model")
        memory, files = process.memory_info().rss, process.num_fds()
        for piece in (small, large, line, small, large):
            upstream.script = endless(HEAD, piece)
            with pytest.raises(Refused) as refused:
                face.ask(QUESTION, model="model")
            assert refused.value.status in (503, 504)
        assert process.memory_info().rss - memory < 150 * MEBIBYTE  # what one answer may take, and not more for more
        upstream.script = HELLO
        assert face.ask(QUESTION, model="model").text == "Hi"
        assert process.num_fds() <= files + 1


def test_a_caller_who_leaves_ends_the_upstream_s_answer(way: Way) -> None:
    with Upstream() as upstream, Glmserve("up", "--upstream", f"model={upstream.url}") as server, way(server) as face:
        for begin in (HEAD + TEXT, HEAD + TEXT * 100):
            left = threading.Event()
            upstream.script = told_when_left(begin, left)
            with closing(face.stream(QUESTION, model="model")) as stream:
                list(islice(stream, 2))
            assert left.wait(10)  # long before the upstream would be taken for silent


def test_a_deadline_ends_the_upstream_s_answer(upstream: Upstream) -> None:
    left = threading.Event()
    upstream.script = told_when_left(HEAD + TEXT, left)
    with (
        Glmserve("up", "--upstream", f"model={upstream.url}", "--time-limit", "1") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        with pytest.raises(Refused, match="longer than 1 seconds") as refused:
            GrpcFace(channel).ask(QUESTION, model="model")
        assert refused.value.status == 504
        assert left.wait(10)


def test_more_callers_than_may_ask_wait_and_then_are_refused(way: Way) -> None:
    go = threading.Event()

    def script(connection: socket.socket) -> None:
        go.wait()
        connection.sendall(HELLO)

    with (
        Upstream(script) as upstream,
        Glmserve(
            "up", "--upstream", f"model={upstream.url}", "--upstream-concurrency", "1", "--queue-limit", "1"
        ) as server,
        way(server) as face,
        ThreadPoolExecutor() as threads,
    ):
        asked = [threads.submit(face.ask, QUESTION, model="model") for _ in range(3)]
        done, waiting = wait(asked, return_when=FIRST_COMPLETED)
        assert len(upstream.requests) <= 1
        go.set()
        with pytest.raises(Refused, match="1 requests wait for this model already") as refused:
            done.pop().result()
        assert refused.value.status == 429
        assert [call.result().text for call in waiting] == ["Hi", "Hi"]


def test_health_follows_the_upstream(way: Way) -> None:
    with Upstream() as upstream:
        well, upstream.models = upstream.models, answer("503 Service Unavailable")
        with (
            Glmserve("up", "--upstream", f"model={upstream.url}", "--model", "scripted") as server,
            grpc.insecure_channel(server.grpc_address) as channel,
            way(server) as face,
        ):
            statuses = health_of(channel, "model")
            assert next(statuses) == "NOT_SERVING"
            with pytest.raises(Refused, match="cannot be reached") as refused:
                face.ask(QUESTION, model="model")
            assert refused.value.status == 503
            assert upstream.requests == []
            assert face.ask(QUESTION, model="scripted").text == "Hello!"
            upstream.models = well
            assert next(statuses) == "SERVING"
            assert face.ask(QUESTION, model="model").text == "Hi"


@pytest.mark.parametrize("location", ["about:blank", "mailto:a", "//xn--xn--"])
def test_a_look_that_is_redirected_is_not_the_last(location: str) -> None:
    with Upstream() as upstream:
        upstream.models = answer("503 Service Unavailable")
        with (
            Glmserve("serve", "--upstream", f"model={upstream.url}") as server,
            grpc.insecure_channel(server.grpc_address) as channel,
        ):
            statuses = health_of(channel, "model")
            assert next(statuses) == "NOT_SERVING"
            upstream.models = answer("302 Found", b"", f"location: {location}")
            assert next(statuses) == "SERVING"  # it answers, though it lists no models


def test_a_server_that_redirects_everything_is_no_reason_not_to_start(way: Way) -> None:
    redirect = answer("302 Found", b"", "location: about:blank")
    with Upstream(redirect) as upstream:
        upstream.models = redirect
        with Glmserve("up", "--upstream", f"model={upstream.url}") as server, way(server) as face:
            with pytest.raises(Refused) as refused:
                face.ask(QUESTION, model="model")
            assert refused.value.status == 503
            upstream.script = HELLO
            assert face.ask(QUESTION, model="model").text == "Hi"


@pytest.mark.parametrize(
    "fault",
    [
        b"",
        failure("503 Service Unavailable", message="no"),
        failure("429 Too Many Requests"),
        HEAD,
        HEAD + b"data: x\n\n",
    ],
)
def test_another_address_answers_when_one_cannot(way: Way, fault: bytes) -> None:
    with (
        Upstream(fault) as broken,
        Upstream() as well,
        Glmserve("up", "--upstream", f"model={broken.url},{well.url}") as server,
        way(server) as face,
    ):
        assert [face.ask(QUESTION, model="model").text for _ in range(4)] == ["Hi"] * 4
        assert broken.requests
        broken.script = HEAD + TEXT
        with pytest.raises(Refused):  # what has begun cannot be begun again elsewhere
            face.ask(QUESTION, model="model")


def test_an_address_that_is_gone_is_not_asked(way: Way) -> None:
    with (
        Upstream() as leaving,
        Upstream() as well,
        Glmserve("up", "--upstream", f"model={leaving.url},{well.url}") as server,
        way(server) as face,
    ):
        assert face.ask(QUESTION, model="model").text == "Hi"
        leaving.close()
        assert [face.ask(QUESTION, model="model").text for _ in range(4)] == ["Hi"] * 4
        assert f"{leaving.url} is down" in server.log


def test_the_address_with_least_to_do_is_asked(way: Way) -> None:
    go = threading.Event()

    def slow(connection: socket.socket) -> None:
        connection.sendall(HEAD + TEXT)
        go.wait()
        connection.sendall(chunk(finish="stop") + DONE)

    with (
        Upstream(slow) as one,
        Upstream(slow) as other,
        Glmserve("up", "--upstream", f"model={one.url},{other.url}") as server,
        way(server) as face,
    ):
        streams = [face.stream(QUESTION, model="model") for _ in range(4)]
        for stream in streams:
            next(reply for reply in stream if reply.text)
        assert (len(one.requests), len(other.requests)) == (2, 2)
        go.set()
        for stream in streams:
            list(stream)


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (["--upstream", "model"], "NAME=URL"),
        (["--upstream", "model=ftp://host"], "is not an http: or https: URL"),
        (["--upstream", f"model=http://me:{KEY}@host/v1"], "no user name and no password"),
        (["--upstream", " ab=http://host"], "name must be 1 to 128 printable characters without spaces at its ends"),
        (["--upstream", "m=http://host,http://host/v1"], "names one URL twice"),
        (["--upstream", "m=http://host", "--upstream", "m=http://other"], "two models have one name"),
        (["--upstream", "m=http://host", "--upstream-timeout", "0"], "must be a number between 0.1"),
        (["--upstream", "m=http://host", "--upstream-concurrency", "0"], "must be a whole number between 1"),
        (
            ["--upstream", "m=http://host", "--upstream-key-file", "n=/dev/null"],
            "names the model 'n', but the models are: m",
        ),
        (["--upstream", "m=http://host", "--upstream-key-file", "m=/nowhere"], "No such file"),
        (["--upstream", "m=http://host", "--upstream-key-file", "m=/dev/null"], "must be printable ASCII"),
    ],
)
def test_flags_that_make_no_sense_are_refused(flags: list[str], fault: str) -> None:
    done = subprocess.run([COMMAND, "up", *flags], capture_output=True, text=True, check=False, env=WIDE)
    assert done.returncode == 2
    assert fault in done.stderr
    assert KEY not in done.stderr

"""Upstreams over HTTP/2, over both faces: what is shared, what leaving does to others, and what may break."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path

import grpc
import pytest
from certificates import FILES
from faces import Face, GrpcFace, Refused
from h2.errors import ErrorCodes
from http2_upstream import Exchange, Http2Upstream, Script, hello, no_models
from running import Glmserve
from upstreams import DONE, chunk

Way = Callable[[Glmserve], AbstractContextManager[Face]]

QUESTION = [("user", "Hello!")]
TEXT = chunk({"role": "assistant", "content": "Hi"})
END = chunk(finish="stop") + DONE
KIBIBYTE = 1 << 10
WINDOW = 128 * KIBIBYTE
"""What is let come of one answer before it is read."""
WINDOWS = 128 * WINDOW
"""And of all on a connection."""
CONFIGURATION = """
[[models]]
name = "model"
urls = ["{new}"]
timeout = 1

[[models]]
name = "deaf"
urls = ["{new}"]
timeout = 2.5

[[models]]
name = "many"
urls = ["{new}"]

[[models]]
name = "old"
urls = ["{old}"]

[[models]]
name = "off"
urls = ["{new}"]
http2 = false

[[models]]
name = "narrow"
urls = ["{narrow}"]

[[models]]
name = "shut"
urls = ["{shut}"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The certificates, which are trusted meanwhile."""
    made = tmp_path_factory.mktemp("certificates")
    for name, text in FILES.items():
        (made / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(made / "ca.pem"))
        yield made


@pytest.fixture(scope="module")
def upstream(folder: Path) -> Iterator[Http2Upstream]:
    with Http2Upstream(folder) as running:
        yield running


@pytest.fixture(scope="module")
def old(folder: Path) -> Iterator[Http2Upstream]:
    with Http2Upstream(folder, offers=["http/1.1"]) as running:
        yield running


@pytest.fixture(scope="module")
def narrow(folder: Path) -> Iterator[Http2Upstream]:
    with Http2Upstream(folder, streams=1) as running:
        yield running


@pytest.fixture(scope="module")
def front(folder: Path, upstream: Http2Upstream, old: Http2Upstream, narrow: Http2Upstream) -> Iterator[Glmserve]:
    """A server with all of them; `upstream` may be silent for a second."""
    file = folder / "glmserve.toml"
    with Http2Upstream(folder, streams=0) as shut:
        narrow.models = cut_once(narrow)
        file.write_text(CONFIGURATION.format(new=upstream.url, old=old.url, narrow=narrow.url, shut=shut.url))
        with Glmserve("up", "--config", str(file)) as running:
            yield running


def cut_once(upstream: Http2Upstream) -> Script:
    """Breaks the connection of the first look."""

    async def script(exchange: Exchange) -> None:
        upstream.models = no_models
        exchange.cut()

    return script


def gathered(upstream: Http2Upstream, count: int) -> Script:
    """Answers once so many have asked."""
    all_here = asyncio.Event()
    before = len(upstream.exchanges)

    async def script(exchange: Exchange) -> None:
        exchange.head()
        await exchange.send(TEXT)
        if len(upstream.exchanges) - before >= count:
            all_here.set()
        await all_here.wait()
        await exchange.send(END, end=True)

    return script


def test_answers_share_a_connection(front: Glmserve, upstream: Http2Upstream, way: Way) -> None:
    upstream.script = gathered(upstream, 6)
    begun = len(upstream.exchanges)
    with way(front) as face, ThreadPoolExecutor() as threads:
        whole = [threads.submit(face.ask, QUESTION, model="many") for _ in range(3)]
        parts = [threads.submit(lambda: list(face.stream(QUESTION, model="many"))) for _ in range(3)]
        assert [call.result().text for call in whole] == ["Hi"] * 3
        assert [call.result()[-1].text for call in parts] == ["Hi"] * 3
    exchanges = upstream.exchanges[begun:]
    assert len(exchanges) == 6
    assert len({exchange.connection for exchange in exchanges}) == 1
    head = exchanges[0].headers
    assert (head[b":method"], head[b":path"], head[b":scheme"]) == (b"POST", b"/v1/chat/completions", b"https")
    assert head[b":authority"] == upstream.netloc.encode()
    assert not {b"host", b"connection", b"cookie"} & set(head)


def test_leaving_an_answer_ends_it_alone(front: Glmserve, upstream: Http2Upstream, way: Way) -> None:
    go = threading.Event()

    async def script(exchange: Exchange) -> None:
        exchange.head()
        await exchange.send(TEXT)
        if b"leave" in exchange.body:
            await exchange.until_left()
        else:
            await asyncio.to_thread(go.wait)
            await exchange.send(END, end=True)

    upstream.script = script
    with way(front) as face, closing(face.stream([("user", "stay")], model="many")) as staying:
        next(reply for reply in staying if reply.text)
        with closing(face.stream([("user", "leave")], model="many")) as leaving:
            next(reply for reply in leaving if reply.text)
        stayed, left = upstream.exchanges[-2:]
        assert left.left.wait(10)
        assert left.code == ErrorCodes.CANCEL
        go.set()
        assert list(staying)[-1].finish == "stop"
        upstream.script = hello
        assert face.ask(QUESTION, model="many").text == "Hi"
    assert stayed.connection is left.connection is upstream.exchanges[-1].connection


def test_a_silent_answer_is_left(front: Glmserve, upstream: Http2Upstream, way: Way) -> None:
    async def script(exchange: Exchange) -> None:
        if b"later" in exchange.body:
            exchange.head()
            await exchange.send(TEXT)
        await exchange.until_left()

    upstream.script = script
    with way(front) as face, ThreadPoolExecutor() as threads:
        asked = [threads.submit(face.ask, [("user", text)], model="model") for text in ("now", "later")]
        for call in asked:
            with pytest.raises(Refused, match="said nothing for 1 seconds") as refused:
                call.result()
            assert refused.value.status == 504
        silent = upstream.exchanges[-2:]
        assert all(exchange.left.wait(10) for exchange in silent)
        upstream.script = hello
        assert face.ask(QUESTION, model="model").text == "Hi"
    assert {upstream.exchanges[-1].connection} == {exchange.connection for exchange in silent}


def test_a_request_that_is_not_taken_is_left(front: Glmserve, upstream: Http2Upstream, way: Way) -> None:
    upstream.hungry = False
    try:
        with way(front) as face:
            with pytest.raises(Refused) as refused:
                face.ask([("user", "x" * 300_000)], model="model")
            assert refused.value.status == 504
            upstream.hungry = True
            upstream.script = hello
            assert face.ask(QUESTION, model="model").text == "Hi"
            assert face.ask([("user", "x" * 300_000)], model="model").text == "Hi"
        assert upstream.exchanges[-1].connection.cancelled
    finally:
        upstream.hungry = True


def test_what_was_not_read_is_given_back(front: Glmserve, upstream: Http2Upstream) -> None:
    """A connection has a window, which all that is not read would fill. Of a page, nothing is."""

    async def script(exchange: Exchange) -> None:
        exchange.fill("text/html")
        await exchange.until_left()

    upstream.script = script
    before = len(upstream.exchanges)
    with grpc.insecure_channel(front.grpc_address) as channel:
        face = GrpcFace(channel)
        for _ in range(2 * WINDOWS // WINDOW):
            with pytest.raises(Refused, match="does not answer as it should"):
                face.ask(QUESTION, model="model")
        upstream.script = hello
        assert face.ask(QUESTION, model="model").text == "Hi"
    assert len({exchange.connection for exchange in upstream.exchanges[before:]}) == 1


def test_what_comes_late_is_given_back(front: Glmserve, upstream: Http2Upstream) -> None:
    done = threading.Event()

    async def script(exchange: Exchange) -> None:
        exchange.head()
        await exchange.send(TEXT)
        await exchange.until_left()
        size = 16 * KIBIBYTE
        frame = size.to_bytes(3, "big") + b"\x00\x00" + exchange.number.to_bytes(4, "big") + bytes(size)
        for _ in range(WINDOWS // size + 100):
            exchange.raw(frame)
            await exchange.connection.writer.drain()
        done.set()

    upstream.script = script
    with grpc.insecure_channel(front.grpc_address) as channel:
        face = GrpcFace(channel)
        with closing(face.stream(QUESTION, model="model")) as stream:
            next(reply for reply in stream if reply.text)
        assert done.wait(30)
        upstream.script = hello
        assert face.ask(QUESTION, model="model").text == "Hi"
    assert upstream.exchanges[-1].connection is upstream.exchanges[-2].connection


def frame(kind: int, content: bytes, exchange: Exchange | None = None, flags: int = 0) -> bytes:
    """A frame of a stream, or of the connection."""
    number = exchange.number if exchange else 0
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big") + content


DATA, HEADERS, SETTINGS, PUSH_PROMISE, PING = 0, 1, 4, 5, 6


def after_text(then: Callable[[Exchange], None]) -> Script:
    """Begins an answer, and does something."""

    async def script(exchange: Exchange) -> None:
        exchange.head()
        await exchange.send(TEXT)
        then(exchange)
        await exchange.until_left()

    return script


def first(then: Callable[[Exchange], None]) -> Script:
    """Does something in place of an answer."""

    async def script(exchange: Exchange) -> None:
        then(exchange)
        await exchange.until_left()

    return script


def endless(piece: Callable[[Exchange], bytes], *, head: bool = True) -> Script:
    """Sends something without end, until the other side has enough."""

    async def script(exchange: Exchange) -> None:
        if head:
            exchange.head()
        while not exchange.left.is_set() and not exchange.connection.gone:
            exchange.raw(piece(exchange))
            await exchange.connection.writer.drain()
            await asyncio.sleep(0)

    return script


async def ended_early(exchange: Exchange) -> None:
    exchange.head()
    await exchange.send(TEXT, end=True)


async def large_head(exchange: Exchange) -> None:
    exchange.head(200, "text/event-stream", **{f"x_{number}": "x" * 10_000 for number in range(8)})
    await exchange.until_left()


async def busy(exchange: Exchange) -> None:
    exchange.head(429, "application/json", retry_after="7")
    await exchange.send(b'{"error": {"message": "no"}}', end=True)


FAULTS: dict[str, tuple[Script, int]] = {
    "a refusal": (busy, 429),
    "a stream refused": (first(lambda exchange: exchange.reset(ErrorCodes.REFUSED_STREAM)), 503),
    "a reset": (first(lambda exchange: exchange.reset(ErrorCodes.INTERNAL_ERROR)), 503),
    "a reset in the middle": (after_text(lambda exchange: exchange.reset(ErrorCodes.CANCEL)), 503),
    "an end without a finish": (ended_early, 503),
    "a cut": (first(Exchange.cut), 503),
    "a cut in the middle": (after_text(Exchange.cut), 503),
    "GOAWAY": (first(lambda exchange: exchange.goaway(0)), 503),
    "GOAWAY in the middle": (after_text(lambda exchange: exchange.goaway(0)), 503),
    "half a GOAWAY": (first(lambda exchange: exchange.raw(frame(7, b""))), 503),
    "another protocol": (first(lambda exchange: exchange.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")), 503),
    "garbage in the middle": (after_text(lambda exchange: exchange.raw(b"\0\0\1" + b"\xff" * 1000)), 503),
    "a head that cannot be read": (first(lambda exchange: exchange.raw(frame(HEADERS, b"\xff" * 9, exchange, 5))), 503),
    "a head without a status": (first(lambda exchange: exchange.raw(frame(HEADERS, b"", exchange, 4))), 503),
    "a large head": (large_head, 503),
    "a push": (first(lambda exchange: exchange.raw(frame(PUSH_PROMISE, bytes(4), exchange, 4))), 503),
    "endless pings": (endless(lambda _: frame(PING, bytes(8)) * 100), 503),
    "endless settings": (endless(lambda _: frame(SETTINGS, b"") * 100, head=False), 503),
    "endless frames without data": (endless(lambda exchange: frame(DATA, b"", exchange) * 100), 503),
    "endless padding": (endless(lambda exchange: frame(DATA, b"\x07" + bytes(7), exchange, 8) * 100), 503),
    "endless frames of no known kind": (endless(lambda exchange: frame(99, b"x" * 100, exchange) * 100), 503),
    "an endless line": (endless(lambda exchange: frame(DATA, b"x" * 16_000, exchange)), 503),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_status(front: Glmserve, upstream: Http2Upstream, way: Way, name: str) -> None:
    script, status = FAULTS[name]
    upstream.script = script
    with way(front) as face:
        with pytest.raises(Refused) as refused:
            face.ask(QUESTION, model="many")
        assert refused.value.status == status
        assert upstream.netloc not in str(refused.value)
        upstream.script = hello
        assert face.ask(QUESTION, model="many").text == "Hi"
    assert "Traceback" not in front.log
    assert f"{upstream.url} is down" not in front.log


def test_a_connection_that_is_dead_is_replaced(front: Glmserve, upstream: Http2Upstream) -> None:
    upstream.script = first(Exchange.stop_reading)
    with grpc.insecure_channel(front.grpc_address) as channel:
        face = GrpcFace(channel)
        with pytest.raises(Refused) as refused:
            face.ask(QUESTION, model="deaf")
        assert refused.value.status == 504
        upstream.script = hello
        assert face.ask(QUESTION, model="deaf").text == "Hi"


def test_a_request_that_was_not_answered_is_sent_again(front: Glmserve, upstream: Http2Upstream, way: Way) -> None:
    async def script(exchange: Exchange) -> None:
        upstream.script = hello
        faults[0](exchange)

    faults: list[Callable[[Exchange], None]] = [
        lambda exchange: exchange.reset(ErrorCodes.REFUSED_STREAM),
        lambda exchange: exchange.goaway(exchange.number - 2),
        Exchange.cut,
    ]
    with way(front) as face:
        while faults:
            upstream.script = script
            assert face.ask(QUESTION, model="many").text == "Hi"
            faults.pop(0)


def test_an_answer_outlives_the_end_of_its_connection(front: Glmserve, upstream: Http2Upstream, way: Way) -> None:
    """A server that takes no more requests on a connection goes on with those that it has."""
    go = threading.Event()

    async def script(exchange: Exchange) -> None:
        exchange.head()
        await exchange.send(TEXT)
        exchange.goaway(exchange.number)
        await asyncio.to_thread(go.wait)
        await exchange.send(END, end=True)

    with way(front) as face:
        upstream.script = script
        with closing(face.stream(QUESTION, model="many")) as stream:
            next(reply for reply in stream if reply.text)
            leaving = upstream.exchanges[-1]
            upstream.script = hello
            assert face.ask(QUESTION, model="many").text == "Hi"
            assert upstream.exchanges[-1].connection is not leaving.connection
            go.set()
            assert list(stream)[-1].finish == "stop"


def test_connections_are_as_many_as_streams_need(front: Glmserve, upstream: Http2Upstream) -> None:
    before = len(upstream.exchanges)

    async def script(exchange: Exchange) -> None:
        exchange.head()
        await exchange.send(TEXT)
        await exchange.until_left()

    upstream.script = script
    with grpc.insecure_channel(front.grpc_address) as channel, ExitStack() as stack:
        face = GrpcFace(channel)
        streams = [stack.enter_context(closing(face.stream(QUESTION, model="many"))) for _ in range(70)]
        for stream in streams:
            next(reply for reply in stream if reply.text)
        assert len({exchange.connection for exchange in upstream.exchanges[before:]}) == 2
        upstream.script = hello
        assert face.ask(QUESTION, model="many").text == "Hi"


def test_a_server_that_allows_one_stream_gets_more_connections(
    front: Glmserve, narrow: Http2Upstream, way: Way
) -> None:
    narrow.script = gathered(narrow, 4)
    with way(front) as face, ThreadPoolExecutor() as threads:
        asked = [threads.submit(face.ask, QUESTION, model="narrow") for _ in range(4)]
        assert [call.result().text for call in asked] == ["Hi"] * 4
    assert len({exchange.connection for exchange in narrow.exchanges[-4:]}) == 4


def test_a_look_is_not_believed_when_its_connection_breaks(front: Glmserve, narrow: Http2Upstream) -> None:
    assert narrow.models is no_models
    assert f"{narrow.url} is down" not in front.log


def test_a_server_that_allows_no_stream_cannot_be_used(front: Glmserve, way: Way) -> None:
    with way(front) as face, pytest.raises(Refused, match="cannot be reached") as refused:
        face.ask(QUESTION, model="shut")
    assert refused.value.status == 503


def test_http_1_1_is_spoken_where_http_2_is_not(
    front: Glmserve, upstream: Http2Upstream, old: Http2Upstream, way: Way
) -> None:
    asked = len(upstream.exchanges)
    with way(front) as face:
        for model, server in (("old", old), ("off", upstream)):
            server.old.clear()
            assert face.ask(QUESTION, model=model).text == "Hi"
            assert list(face.stream(QUESTION, model=model))[-1].text == "Hi"
            assert [head.split(b"\r\n")[0] for head in server.old] == [b"POST /v1/chat/completions HTTP/1.1"] * 2
    assert old.connections == []
    assert len(upstream.exchanges) == asked

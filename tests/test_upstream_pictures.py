"""Pictures for upstreams: sent along, also those that callers name by URL. No upstream is sent to look for one."""

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import ThreadingHTTPServer
from threading import Thread

import grpc
import pytest
from faces import Face, Refused
from running import Glmserve
from test_fetcher import IMAGE, Handler
from test_images import shown
from upstreams import HELLO, Upstream, answer

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.content_pb2 import ContentPart, Image
from glmserve.v1.message_pb2 import ROLE_USER, Message
from glmserve.v1.token_pb2 import CountTokensRequest
from glmserve.v1.token_pb2_grpc import TokenServiceStub

Way = Callable[[Glmserve], AbstractContextManager[Face]]

LARGE = b"\x89PNG\r\n\x1a\n" + bytes(17 << 20)


class Pictures(Handler):
    """Has large ones too."""

    def large(self) -> None:
        """More than half of what a request may have."""
        self._send(200, {"Content-Length": str(len(LARGE))}, LARGE)

    def page(self) -> None:
        """No picture."""
        self._send(200, {}, b"<html>")


@pytest.fixture(scope="module")
def host() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pictures) as server:
        server.daemon_threads = True
        server.seen = []  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def front(upstream: Upstream, host: ThreadingHTTPServer) -> Iterator[Glmserve]:
    """A server with that upstream that may fetch pictures from the host."""
    place = f"127.0.0.1:{host.server_port}"
    with Glmserve("up", "--upstream", f"model={upstream.url}", "--image-host", place) as running:
        yield running


def at(host: ThreadingHTTPServer, path: str) -> str:
    return f"http://127.0.0.1:{host.server_port}/{path}"


@pytest.fixture(scope="module")
def strict(upstream: Upstream) -> Iterator[Glmserve]:
    """A server with that upstream that may fetch nothing."""
    with Glmserve("up", "--upstream", f"model={upstream.url}") as running:
        yield running


def test_a_url_is_refused_unless_the_operator_allows_it_and_the_upstream_hears_nothing(
    strict: Glmserve, upstream: Upstream, way: Way
) -> None:
    before = len(upstream.requests)
    with way(strict) as face:
        for url in ("https://example.com/a.png", "http://169.254.169.254/latest/meta-data"):
            with pytest.raises(Refused, match=r"fetches no images.*--image-host") as refused:
                face.ask([shown("x", url)], model="model")
            assert refused.value.status == 400
            assert str(refused.value.param).startswith("messages[0].content[1].image")
        assert len(upstream.requests) == before
        upstream.script = HELLO
        assert face.ask([shown("x", IMAGE)], model="model").text == "Hi"


def test_a_picture_of_an_allowed_host_is_sent_along(
    front: Glmserve, upstream: Upstream, host: ThreadingHTTPServer, way: Way
) -> None:
    host.seen.clear()  # type: ignore[attr-defined]
    upstream.script = HELLO
    with way(front) as face:
        turns = [shown("x", at(host, "on/image")), ("assistant", "A cat."), shown(at(host, "on/image"), "y", IMAGE)]
        assert face.ask(turns, model="model").text == "Hi"
    messages = upstream.body["messages"]
    assert messages[1]["content"] == "A cat."
    data = "data:image/png;base64," + base64.b64encode(IMAGE).decode()
    images = [
        part["image_url"]["url"] for place in (0, 2) for part in messages[place]["content"] if "image_url" in part
    ]
    assert images == [data] * 3
    assert len(host.seen) == 2  # type: ignore[attr-defined]  # the redirect, and the picture: once


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (["missing"], "HTTP status 404"),
        (["page"], "is a web page; it must be PNG, JPEG, WebP or GIF"),
        (["away/1"], "at 127.0.0.1:1, from where this server fetches no images"),
        (["image", "large?1", "large?1"], "makes the pictures larger than 32 MiB together"),
        ([f"image?{number}" for number in range(17)], "one URL more than the 16"),
    ],
)
def test_a_picture_that_cannot_be_had_is_named(
    front: Glmserve, upstream: Upstream, host: ThreadingHTTPServer, way: Way, paths: list[str], reason: str
) -> None:
    before = len(upstream.requests)
    with way(front) as face, pytest.raises(Refused, match=reason) as refused:
        face.ask([("system", "Look."), shown(*(at(host, path) for path in paths))], model="model")
    assert refused.value.status == 400
    assert str(refused.value.param).startswith(f"messages[1].content[{len(paths) - 1}].image")
    assert len(upstream.requests) == before


def test_a_picture_is_counted_as_it_is_asked_about(
    front: Glmserve, upstream: Upstream, host: ThreadingHTTPServer
) -> None:
    upstream.script = answer("200 OK", b'{"count": 2, "tokens": [1, 2]}')
    with grpc.insecure_channel(front.grpc_address) as channel:
        assert TokenServiceStub(channel).CountTokens(counting(at(host, "image"))).prompt_tokens == 2
        with pytest.raises(grpc.RpcError, match="HTTP status 404") as refused:
            TokenServiceStub(channel).CountTokens(counting(at(host, "missing")))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert upstream.body["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


def counting(url: str) -> CountTokensRequest:
    message = Message(role=ROLE_USER, content=[ContentPart(image=Image(url=url))])
    return CountTokensRequest(chat=ChatCompletionRequest(model="model", messages=[message]))

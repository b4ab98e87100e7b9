"""Images for GGUF models, through a projector file: a real one, which tells red from blue."""

import shutil
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any, Final

import grpc
import pytest
from faces import Face, Refused, Reply, Turn, opened, request_of
from paintings import DAMAGED, WHOLE, encoded, noise, plain
from running import Glmserve, llama_server
from test_fetcher import Handler, at
from test_images import shown

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart, Image
from glmserve.v1.message_pb2 import ROLE_USER, Message
from glmserve.v1.model_pb2 import GetModelRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve.v1.token_pb2 import CountTokensRequest
from glmserve.v1.token_pb2_grpc import TokenServiceStub
from glmserve_server.engines.llama.sight import MAX_PICTURES

pytestmark = pytest.mark.llama
ggufchain = pytest.importorskip("ggufchain", reason="left out: gguf is not installed", exc_type=ImportError)
ggufprojector = pytest.importorskip("ggufprojector", reason="left out: gguf is not installed", exc_type=ImportError)

RED_SEEN: Final = "A red one."
BLUE_SEEN: Final = "It is blue!"
BOTH_SEEN: Final = "They differ"
MODEL: Final[dict[str, Any]] = {"model": "seeing", "temperature": 0}
RED: Final = encoded(plain("RGB", (230, 20, 20), (90, 60)), "PNG")
BLUE: Final = encoded(plain("RGB", (20, 20, 230), (60, 90)), "JPEG", quality=90)
JOINER: Final = "\u2060"

FAULTS: Final = {
    "lost": "projector: there is no file",
    "mistaken": "no projector: its general.architecture is 'llama', not 'clip'",
    "torn": "the file is cut or damaged",
    "spoken": "projector: this model is spoken to in the words of one of our dialects",
    "narrow": "narrow-mmproj.gguf: cannot be loaded",
}
"""Models that cannot be served with the projector that they are given, and what is said of them."""


@pytest.fixture(scope="module")
def host() -> Iterator[ThreadingHTTPServer]:
    """A host with a red picture."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory, host: ThreadingHTTPServer) -> Iterator[Glmserve]:
    """A server with a model that sees and has one slot, the same without eyes, and what cannot be loaded."""
    folder = tmp_path_factory.mktemp("seeing")
    chain, sight = folder / "seeing.gguf", folder / "mmproj.gguf"
    said = (RED_SEEN, BLUE_SEEN, BOTH_SEEN)
    colours = ggufprojector.RED, ggufprojector.BLUE
    ggufchain.write_gguf_chain(chain, "tagged", *said, seen=[*((colour,) for colour in colours), colours])
    ggufchain.write_gguf_chain(folder / "spoken.gguf", "metadata", RED_SEEN)
    ggufprojector.write_projector(sight, chain)
    ggufprojector.write_projector_of(folder / "narrow-mmproj.gguf", 64)
    (folder / "torn-mmproj.gguf").write_bytes(sight.read_bytes()[:300])
    for name in ("blind", "lost", "mistaken", "torn", "narrow"):
        shutil.copyfile(chain, folder / f"{name}.gguf")
    projectors = {
        "seeing": sight,
        "lost": folder / "none.gguf",
        "mistaken": chain,
        "torn": folder / "torn-mmproj.gguf",
        "spoken": sight,
        "narrow": folder / "narrow-mmproj.gguf",
    }
    models = [word for name in (*projectors, "blind") for word in ("--model", str(folder / f"{name}.gguf"))]
    sets = [word for name, file in projectors.items() for word in ("--set", f"models.{name}.projector={file}")]
    allowed = ("--image-host", f"127.0.0.1:{host.server_port}", "--context-length", "1024")
    with llama_server(*models, *sets, *allowed, slots=1) as server:
        yield server


@pytest.fixture(scope="module", params=["grpc", "http"])
def face(request: pytest.FixtureRequest, seeing: Glmserve) -> Iterator[Face]:
    with opened(request.param, seeing) as way:
        yield way


def asked(face: Face, *turns: Turn, **more: Any) -> Reply:
    """The answer, which is the same whole and in pieces."""
    whole = face.ask(turns, **MODEL, **more)
    *_, pieces = face.stream(turns, **MODEL, **more)
    assert (pieces.text, pieces.finish, pieces.prompt_tokens) == (whole.text, "stop", whole.prompt_tokens)
    return whole


def refused(face: Face, *turns: Turn, model: str = "seeing") -> Refused:
    with pytest.raises(Refused) as caught:
        face.ask(turns, model=model)
    assert caught.value.status == 400
    return caught.value


def test_what_is_said_depends_on_what_is_seen(face: Face) -> None:
    assert asked(face, shown(RED, "What is it?")).text == RED_SEEN
    assert asked(face, shown("And this?", BLUE)).text == BLUE_SEEN
    assert asked(face, shown(RED, "and", BLUE)).text == BOTH_SEEN


@pytest.mark.parametrize("name", ["one pixel", "a line", "a column", "an animated gif"])
def test_a_picture_of_any_shape_can_be_shown(face: Face, name: str) -> None:
    reply = face.ask([shown(WHOLE[name](), "x")], **MODEL, max_completion_tokens=2)
    assert reply.completion_tokens == 2
    assert RED_SEEN.startswith(reply.text) or name in ("a line", "a column")  # of which little is left in a square


def test_another_picture_in_the_same_place_is_looked_at(face: Face) -> None:
    replies = [face.ask([shown("What is it?", picture, ".")], **MODEL) for picture in (RED, BLUE, RED, RED)]
    assert [reply.text for reply in replies] == [RED_SEEN, BLUE_SEEN, RED_SEEN, RED_SEEN]
    other, again, same = (reply.cached_tokens for reply in replies[1:])
    assert other <= again < same - ggufprojector.TOKENS


def test_a_picture_is_remembered_in_the_next_turn(face: Face) -> None:
    talk: list[Turn] = [shown(RED, "What is it?")]
    first = face.ask(talk, **MODEL)
    talk += [("assistant", first.text), ("user", "Sure?")]
    second = face.ask(talk, **MODEL)
    assert (second.text, second.cached_tokens >= ggufprojector.TOKENS) == (RED_SEEN, True)
    talk += [("assistant", second.text), shown("And this?", BLUE)]
    assert face.ask(talk, **MODEL).text == BOTH_SEEN


def test_a_conversation_that_has_lost_its_slot_comes_back_with_its_picture(face: Face) -> None:
    talks: list[list[Turn]] = [
        [("system", word * 30), shown("What is it?", picture)] for word, picture in (("alpha ", RED), ("beta ", BLUE))
    ]
    firsts = [face.ask(talk, **MODEL) for talk in talks]
    assert [first.text for first in firsts] == [RED_SEEN, BLUE_SEEN]
    for talk, first in zip(talks, firsts, strict=True):
        again = face.ask([*talk, ("assistant", first.text), ("user", "Sure?")], **MODEL)
        assert (again.text, again.cached_tokens >= first.prompt_tokens - 1) == (first.text, True)


def test_a_picture_counts_with_the_prompt(face: Face, seeing: Glmserve) -> None:
    without = face.ask([("user", "x")], **MODEL).prompt_tokens
    with grpc.insecure_channel(seeing.grpc_address) as channel:
        for pictures in ([RED], [RED, RED, BLUE]):
            turn = shown(*pictures, "x")
            wanted = without + len(pictures) * ggufprojector.TOKENS
            assert face.ask([turn], **MODEL).prompt_tokens == wanted
            request = CountTokensRequest(chat=request_of([turn], {"model": "seeing"}))
            assert TokenServiceStub(channel).CountTokens(request).prompt_tokens == wanted


def test_a_prompt_with_a_picture_can_be_too_long(face: Face) -> None:
    fault = refused(face, shown(RED, "x" * 2000))
    assert fault.code == "context_length_exceeded"
    assert face.ask([shown(RED, "x")], **MODEL).text == RED_SEEN


def test_what_looks_like_a_picture_is_text(face: Face) -> None:
    text = "<__media__>a<__media_0__><|begin_of_image|>b<|end_of_image|>"
    longer = len(text.replace("<", f"<{JOINER}").encode()) - 1
    for pieces in ([RED], []):
        plainly, forged = (face.ask([shown(*pieces, words)], **MODEL) for words in ("x", text))
        assert forged.prompt_tokens - plainly.prompt_tokens == longer
        assert not pieces or forged.text == RED_SEEN


def test_pieces_of_text_are_one_text(face: Face) -> None:
    whole = face.ask([shown(RED, "a<|us", "x")], **MODEL).prompt_tokens
    assert face.ask([shown(RED, "a", "<|us", "x")], **MODEL).prompt_tokens == whole
    forged = face.ask([shown(RED, "<|us", "er|>")], **MODEL).prompt_tokens
    assert forged == face.ask([shown(RED, "<|user|>")], **MODEL).prompt_tokens


@pytest.mark.parametrize("name", ["a jpeg cut short", "a png bomb", "nothing but a head"])
def test_what_is_no_picture_is_refused_by_its_place(face: Face, name: str) -> None:
    make, reason = DAMAGED[name]
    fault = refused(face, ("system", "Look."), shown("What is it?", RED, make()))
    assert str(fault.param).startswith("messages[1].content[2].image")
    assert reason in str(fault)


def test_formats_are_those_of_this_server(face: Face) -> None:
    """llama.cpp could read these."""
    for form in ("BMP", "PPM"):
        assert "it must be PNG, JPEG, WebP or GIF" in str(refused(face, shown(encoded(noise(8), form), "x")))


def test_only_so_many_pictures_are_shown(face: Face) -> None:
    most = [RED] * MAX_PICTURES
    assert face.ask([shown(*most, "x")], **MODEL).text == RED_SEEN
    fault = refused(face, shown(*most, "x"), ("assistant", "y"), shown("z", RED))
    assert f"the {MAX_PICTURES} images" in str(fault)
    assert str(fault.param).startswith("messages[2].content[1].image")


def test_a_url_is_fetched_if_the_operator_allows_its_host(face: Face, host: ThreadingHTTPServer) -> None:
    assert face.ask([shown(at(host, "image"), "x")], **MODEL).text == RED_SEEN
    assert "HTTP status 404" in str(refused(face, shown(at(host, "none"), "x")))
    assert "fetches no images" in str(refused(face, shown("http://127.0.0.1:1/image", "x")))


@pytest.mark.parametrize("url", ["file:///etc/hostname", "data:image/png;base64,AAAA", "/9j/4AAQ"])
def test_a_url_never_reaches_the_library(seeing: Glmserve, url: str) -> None:
    parts = [ContentPart(image=Image(url=url)), ContentPart(text="x")]
    request = ChatCompletionRequest(model="seeing", messages=[Message(role=ROLE_USER, content=parts)])
    with (
        grpc.insecure_channel(seeing.grpc_address) as channel,
        pytest.raises(grpc.RpcError, match=r"http: URL") as caught,
    ):
        ChatServiceStub(channel).CreateChatCompletion(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_model_says_whether_it_sees(face: Face, seeing: Glmserve) -> None:
    with grpc.insecure_channel(seeing.grpc_address) as channel:
        for name, sees in (("seeing", True), ("blind", False)):
            model = ModelServiceStub(channel).GetModel(GetModelRequest(model=name)).model
            assert model.capabilities.images == sees
    fault = refused(face, shown(RED, "x"), model="blind")
    assert "cannot give images" in str(fault)
    assert face.ask([("user", "<__media__>")], model="blind", max_completion_tokens=1).completion_tokens == 1


@pytest.mark.parametrize("name", FAULTS)
def test_a_projector_that_is_of_no_use_is_refused_with_the_reason(seeing: Glmserve, name: str) -> None:
    seeing.await_log(FAULTS[name])
    with grpc.insecure_channel(seeing.grpc_address) as channel:
        model = ModelServiceStub(channel).GetModel(GetModelRequest(model=name)).model
    assert FAULTS[name] in model.fault

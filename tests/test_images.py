"""Images in conversations, over both faces: a real GLM-4V network, whose tower sees but does not understand."""

import base64
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Thread
from typing import Any

import chatglm_cpp
import grpc
import httpx
import psutil
import pytest
from faces import Face, Refused, Turn
from paintings import DAMAGED, WHOLE, encoded, noise, painted
from running import MODEL, Glmserve
from test_fetcher import IMAGE, Handler
from towers import TOWER, write_tower

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart, Image
from glmserve.v1.message_pb2 import Message
from glmserve.v1.model_pb2 import GetModelRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve.v1.token_pb2 import CountTokensRequest
from glmserve.v1.token_pb2_grpc import TokenServiceStub
from glmserve_server.images.frame import Frame

Way = Callable[[Glmserve], AbstractContextManager[Face]]

PROBE = {"model": "tower", "temperature": 0, "ignore_eos": True, "max_completion_tokens": 48}
"""Long enough for small differences in what is seen to be heard."""

RED_DISC = encoded(painted("ellipse", "red"), "PNG")
BLUE_SQUARE = encoded(painted("rectangle", "blue"), "PNG")


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tower(tmp_path_factory.mktemp("towers") / "tower.bin")


@pytest.fixture(scope="module")
def seeing(tower: Path) -> Iterator[Glmserve]:
    """A server with one worker, so that it is clear who holds what, and a model that sees nothing."""
    with Glmserve("up", "--model", str(tower), "--model", MODEL, "--workers", "1", "--threads", "1") as running:
        yield running


def shown(*pieces: bytes | str, role: str = "user") -> Turn:
    """A message of images, as bytes or by URL, and texts."""
    return {"role": role, "content": [part(piece) for piece in pieces]}


def part(piece: bytes | str) -> dict[str, Any]:
    if isinstance(piece, bytes):
        piece = "data:image/png;base64," + base64.b64encode(piece).decode()
    elif "://" not in piece:
        return {"type": "text", "text": piece}
    return {"type": "image_url", "image_url": {"url": piece}}


def message(*pieces: bytes | str) -> Message:
    """A message over gRPC."""
    parts = [ContentPart(image=Image(data=p)) if isinstance(p, bytes) else ContentPart(text=p) for p in pieces]
    return Message(role=message_pb2.ROLE_USER, content=parts)


def test_another_picture_makes_another_answer(seeing: Glmserve, way: Way) -> None:
    pictures = [RED_DISC, BLUE_SQUARE, encoded(noise(80), "JPEG"), encoded(painted("ellipse", "black"), "WEBP")]
    with way(seeing) as face:
        for question in ("Say a word:", "x", "Hello!"):
            answers = [face.ask([shown(picture, question)], **PROBE).text for picture in pictures * 2]
            assert answers[:4] == answers[4:]
            if len(set(answers)) > 1:
                return
    pytest.fail("all pictures look the same")


def test_a_model_says_that_it_sees(seeing: Glmserve) -> None:
    with grpc.insecure_channel(seeing.grpc_address) as channel:
        models = ModelServiceStub(channel)
        assert models.GetModel(GetModelRequest(model="tower")).model.capabilities.images
        assert not models.GetModel(GetModelRequest(model=MODEL)).model.capabilities.images


def test_a_prompt_has_the_ids_of_the_library(seeing: Glmserve, tower: Path) -> None:
    pipeline = chatglm_cpp.Pipeline(str(tower))
    pixels = chatglm_cpp.Image(memoryview(bytes(56 * 56 * 3)).cast("B", (56, 56, 3)))
    text = "What <|begin_of_image|><|endoftext|><|end_of_image|> is it? 你好"
    with grpc.insecure_channel(seeing.grpc_address) as channel:
        for image in (pixels, None):
            theirs = [chatglm_cpp.ChatMessage("system", "Be brief."), chatglm_cpp.ChatMessage("user", text, image)]
            ids = pipeline.tokenizer.apply_chat_template(theirs, 1 << 20)
            count = pipeline.model.count_tokens(ids, image)
            system = Message(role=message_pb2.ROLE_SYSTEM, content=[ContentPart(text="Be brief.")])
            chat = ChatCompletionRequest(
                model="tower", messages=[system, message(text, *([RED_DISC] if image else []))]
            )
            counted = TokenServiceStub(channel).CountTokens(CountTokensRequest(chat=chat, include_token_ids=True))
            assert counted.prompt_tokens == len(counted.token_ids) == count
            if image is not None:  # the library writes the id once that stands for all tokens of an image
                begin = ids.index(_begin(pipeline))
                ids[begin + 1 : begin + 2] = ids[begin + 1 : begin + 2] * TOWER.tokens
            assert list(counted.token_ids) == ids


def _begin(pipeline: Any) -> int:
    image = chatglm_cpp.Image(memoryview(bytes(3)).cast("B", (1, 1, 3)))
    ids: list[int] = pipeline.tokenizer.apply_chat_template([chatglm_cpp.ChatMessage("user", "", image)], 100)
    return ids[-4]


def test_a_raw_prompt_shows_no_picture(seeing: Glmserve, way: Way) -> None:
    with way(seeing) as face:
        ids, texts, _ = face.tokenize([shown(RED_DISC, "What is it?")], model="tower", texts=True)
        assert "<|begin_of_image|><|endoftext|>" in face.detokenize(ids, "tower")
        with pytest.raises(Refused, match="stands for a picture") as caught:
            face.complete(ids, **PROBE)
        begin = texts.index("<|begin_of_image|>")
        assert caught.value.status == 400
        assert caught.value.param in (f"prompt[{begin}]", f"prompt.token_ids.ids[{begin}]")
        without = [number for number, text in zip(ids, texts, strict=True) if "_of_image" not in text]
        assert face.complete(without, **PROBE).completion_tokens == PROBE["max_completion_tokens"]


def conversation(face: Face, picture: bytes, model: str = "tower") -> list[tuple[str, int, int]]:
    """Answers, sizes of the prompts, and what of them was reused, in a conversation about a picture."""
    turns: list[Turn] = [shown(picture, "What do you see?")]
    replies = []
    for question in ("And what else?", "Hello!", "Say a word:"):
        # Not beyond its own end: there the model is so unsure that the last bit of a sum decides.
        reply = face.ask(turns, **{**PROBE, "model": model, "ignore_eos": False})
        replies.append((reply.text, reply.prompt_tokens, reply.cached_tokens))
        turns += [("assistant", reply.text), ("user", question)]
    return replies


def test_what_was_seen_is_kept_for_the_next_turn(seeing: Glmserve, tower: Path, way: Way) -> None:
    arguments = ("--model", str(tower), "--workers", "1", "--threads", "1", "--no-prefix-reuse")
    with ExitStack() as stack:
        forgetful = stack.enter_context(Glmserve("up", *arguments))
        keeping, anew = stack.enter_context(way(seeing)), stack.enter_context(way(forgetful))
        for picture in (RED_DISC, BLUE_SQUARE, encoded(noise(90), "GIF"), RED_DISC):
            mine, others = conversation(keeping, picture), conversation(anew, picture)
            assert [reply[:2] for reply in mine] == [reply[:2] for reply in others]
            assert not any(cached for *_, cached in others)
            assert all(cached > TOWER.tokens for *_, cached in mine[1:])


def test_another_picture_in_the_same_place_is_looked_at(seeing: Glmserve, way: Way) -> None:
    with way(seeing) as face:
        first = face.ask([shown(RED_DISC, "Say a word:")], **PROBE)
        other = face.ask([shown(BLUE_SQUARE, "Say a word:")], **PROBE)
        again = face.ask([shown(RED_DISC, "Say a word:")], **PROBE)
        same = face.ask([shown(RED_DISC, "Say a word:")], **PROBE)
    assert other.cached_tokens == again.cached_tokens == 0
    assert same.cached_tokens > TOWER.tokens
    assert first.text == again.text == same.text


def test_an_image_counts_with_the_prompt(seeing: Glmserve, tower: Path, way: Way) -> None:
    with way(seeing) as face:
        plain = face.ask([("user", "x")], **PROBE).prompt_tokens
        assert face.ask([shown(RED_DISC, "x")], **PROBE).prompt_tokens == plain + TOWER.tokens + 2
    short = (
        "--model",
        str(tower),
        "--workers",
        "1",
        "--threads",
        "1",
        "--context-length",
        str(plain + TOWER.tokens + 2),
    )
    with Glmserve("up", *short) as server, way(server) as face:
        assert face.ask([("user", "x")], model="tower", max_completion_tokens=1).prompt_tokens == plain
        with pytest.raises(Refused, match=f"messages have {plain + TOWER.tokens + 2} tokens") as refused:
            face.ask([shown(RED_DISC, "x")], model="tower")
    assert refused.value.code == "context_length_exceeded"


def test_an_image_goes_with_choices_and_tools(seeing: Glmserve, way: Way) -> None:
    tool = {"type": "function", "function": {"name": "save", "parameters": {"type": "object"}}}
    with way(seeing) as face:
        assert face.ask([shown(RED_DISC, "x")], **PROBE, n=3).completion_tokens == 3 * 48
        assert face.ask([shown(RED_DISC, "x")], **PROBE, tools=[tool]).prompt_tokens > 50
        *_, streamed = face.stream([shown(RED_DISC, "x")], **PROBE)
        assert streamed == face.ask([shown(RED_DISC, "x")], **PROBE)


@pytest.mark.parametrize(
    ("turns", "second"),
    [
        ([shown(RED_DISC, "a", BLUE_SQUARE)], (0, 2)),
        ([shown(RED_DISC, "a"), ("assistant", "b"), shown("c", RED_DISC)], (2, 1)),
    ],
)
def test_a_second_image_is_refused_by_name(
    seeing: Glmserve, way: Way, turns: list[Turn], second: tuple[int, int]
) -> None:
    with way(seeing) as face, pytest.raises(Refused, match="one image too many") as refused:
        face.ask(turns, **PROBE)
    assert refused.value.status == 400
    assert f"messages[{second[0]}].content[{second[1]}].image" in str(refused.value.param)


def test_a_model_that_sees_nothing_refuses_images(seeing: Glmserve, way: Way) -> None:
    with way(seeing) as face, pytest.raises(Refused, match="cannot give images") as refused:
        face.ask([shown(RED_DISC, "x")], model=MODEL)
    assert refused.value.status == 400
    assert str(refused.value.param).startswith("messages[0].content[0].image")


@pytest.mark.parametrize("name", ["a jpeg cut short", "a png bomb", "a text bomb", "nothing but a head"])
def test_a_picture_that_cannot_be_read_is_refused_by_its_place(seeing: Glmserve, way: Way, name: str) -> None:
    make, reason = DAMAGED[name]
    with way(seeing) as face, pytest.raises(Refused, match=reason) as refused:
        face.ask([("system", "Look."), shown("What is it?", make())], **PROBE)
    assert refused.value.status == 400
    assert str(refused.value.param).startswith("messages[1].content[1].image")
    assert str(refused.value.param) in str(refused.value)


def test_a_picture_that_cannot_be_read_is_not_counted(seeing: Glmserve) -> None:
    make, reason = DAMAGED["a jpeg cut short"]
    chat = ChatCompletionRequest(model="tower", messages=[message("What is it?", make())])
    with (
        grpc.insecure_channel(seeing.grpc_address) as channel,
        pytest.raises(grpc.RpcError, match=rf"messages\[0\]\.content\[1\]\.image.*{reason}") as refused,
    ):
        TokenServiceStub(channel).CountTokens(CountTokensRequest(chat=chat))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "name", ["an animated gif", "a cmyk jpeg", "one pixel", "a line", "notes that lead in circles"]
)
def test_a_picture_of_another_kind_is_seen(seeing: Glmserve, way: Way, name: str) -> None:
    with way(seeing) as face:
        assert face.ask([shown(WHOLE[name](), "x")], **PROBE).completion_tokens == 48


def test_damage_never_harms_the_server(seeing: Glmserve) -> None:
    generator = random.Random(1)
    good = [encoded(noise(20), form) for form in ("PNG", "JPEG", "WEBP", "GIF")]
    with grpc.insecure_channel(seeing.grpc_address) as channel:

        def attempt(number: int) -> grpc.StatusCode:
            data = bytearray(good[number % 4])
            for _ in range(generator.choice((1, 5, 50))):
                data[generator.randrange(len(data))] = generator.randrange(256)
            request = ChatCompletionRequest(model="tower", messages=[message(bytes(data))], max_completion_tokens=1)
            try:
                ChatServiceStub(channel).CreateChatCompletion(request)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        with ThreadPoolExecutor(8) as threads:
            statuses = set(threads.map(attempt, range(48)))
    assert statuses <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}


def decoders(server: Glmserve) -> list[psutil.Process]:
    """The processes that decode images."""
    return [process for process in server.family() if "glmserve_server.images.decoder" in " ".join(_words(process))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_many_images_at_once_are_answered(seeing: Glmserve, way: Way) -> None:
    pictures = [encoded(painted("ellipse", (number * 12, 0, 0)), "PNG") for number in range(20)]
    with way(seeing) as face, ThreadPoolExecutor(20) as threads:
        calls = [threads.submit(face.ask, [shown(picture, "x")], **PROBE) for picture in pictures]
        most = 0
        while not all(call.done() for call in calls):
            most = max(most, len(decoders(seeing)))
            time.sleep(0.01)
        assert all(call.result().completion_tokens == 48 for call in calls)
    assert most <= 4  # two at work, one that ends, one that waits


def busy_decoder(server: Glmserve) -> psutil.Process:
    """The next decoder; there is none now."""
    while True:
        for process in decoders(server):
            return process


def without_decoders(server: Glmserve) -> None:
    """Ends the decoder that waits for the next picture."""
    for process in decoders(server):
        process.kill()
        process.wait(10)


def test_a_decoder_that_is_killed_is_not_noticed(seeing: Glmserve, way: Way) -> None:
    large = encoded(noise(2400), "PNG", compress_level=0)
    without_decoders(seeing)
    with way(seeing) as face, ThreadPoolExecutor() as threads:
        call = threads.submit(face.ask, [shown(large, "x")], **PROBE)
        busy_decoder(seeing).kill()
        assert call.result().completion_tokens == 48


def test_a_signal_that_reaches_all_lets_a_decoder_finish() -> None:
    with Popen([sys.executable, "-I", "-m", "glmserve_server.images.decoder"], stdin=PIPE, stdout=PIPE) as decoder:
        while psutil.Process(decoder.pid).rlimit(psutil.RLIMIT_NOFILE) != (0, 0):
            pass  # it is not ready yet
        decoder.terminate()
        answer, _ = decoder.communicate(Frame(8).head + RED_DISC)
    assert answer[:1] == b"+"
    assert decoder.returncode == 0


def test_a_caller_who_leaves_leaves_no_decoder_behind(seeing: Glmserve) -> None:
    without_decoders(seeing)
    request = ChatCompletionRequest(model="tower", messages=[message(encoded(noise(2400), "PNG", compress_level=0))])
    with grpc.insecure_channel(seeing.grpc_address) as channel:
        call = ChatServiceStub(channel).CreateChatCompletion.future(request)
        process = busy_decoder(seeing)
        process.suspend()
        call.cancel()
        process.wait(10)


def test_the_server_itself_holds_no_decoder_and_writes_no_images(seeing: Glmserve, way: Way) -> None:
    with way(seeing) as face:
        face.ask([shown(RED_DISC, "Abracadabra")], **PROBE)
        with pytest.raises(Refused):
            face.ask([shown(b"\x89PNG\r\n\x1a\nSimsalabim", "Abracadabra")], **PROBE)
    assert "_imaging" not in Path(f"/proc/{seeing.pid}/maps").read_text()
    for secret in ("Abracadabra", "Simsalabim", base64.b64encode(RED_DISC[20:50]).decode(), "iVBOR"):
        assert secret not in seeing.log


def test_urls_are_refused_unless_the_operator_allows_them(seeing: Glmserve, way: Way) -> None:
    for url in ("https://example.com/a.png", "http://169.254.169.254/latest/meta-data"):
        with way(seeing) as face, pytest.raises(Refused, match=r"fetches no images.*--image-host") as refused:
            face.ask([shown(url, "x")], **PROBE)
        assert refused.value.status == 400
        assert str(refused.value.param).startswith("messages[0].content[0].image")


@pytest.mark.parametrize("scheme", ["data", "DATA"])
@pytest.mark.parametrize("size", [4, 10_000])
def test_a_data_url_over_grpc_is_told_where_its_bytes_belong(seeing: Glmserve, scheme: str, size: int) -> None:
    image = Image(url=f"{scheme}:image/png;base64,{'A' * size}")
    asked = Message(role=message_pb2.ROLE_USER, content=[ContentPart(image=image)])
    with grpc.insecure_channel(seeing.grpc_address) as channel, pytest.raises(grpc.RpcError) as refused:
        ChatServiceStub(channel).CreateChatCompletion(ChatCompletionRequest(model="tower", messages=[asked]))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "must be an https: or http: URL; send the bytes of a data: URL in data" in str(refused.value)


def test_urls_of_allowed_hosts_are_fetched(tower: Path, way: Way) -> None:
    host = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host.seen = []  # type: ignore[attr-defined]
    Thread(target=host.serve_forever, daemon=True).start()
    place = f"127.0.0.1:{host.server_port}"
    arguments = ("--model", str(tower), "--workers", "1", "--threads", "1", "--image-host", place)
    with Glmserve("up", *arguments) as server, way(server) as face:
        fetched = face.ask([shown(f"http://{place}/on/image", "x")], **PROBE)
        assert fetched == face.ask([shown(IMAGE, "x")], **PROBE)
        for path, reason in (("missing", "HTTP status 404"), ("huge", "larger than 20 MiB"), ("away/1", "fetches no")):
            with pytest.raises(Refused, match=reason) as refused:
                face.ask([shown(f"http://{place}/{path}", "x")], **PROBE)
            assert refused.value.status == 400
    host.shutdown()
    host.server_close()


@pytest.mark.parametrize(
    "url",
    [
        base64.b64encode(RED_DISC).decode(),
        base64.encodebytes(RED_DISC).decode(),
        "data:image/jpeg;base64," + base64.b64encode(RED_DISC).decode(),
        "data:;base64," + base64.b64encode(RED_DISC).decode(),
        "data:application/octet-stream;base64," + base64.b64encode(RED_DISC).decode(),
        "data:image/*;base64," + base64.b64encode(RED_DISC).decode(),
        "data:image/png; base64," + base64.b64encode(RED_DISC).decode(),
        "data:image/png;name=a%20b.png;base64," + base64.b64encode(RED_DISC).decode(),
        'data:image/png; name="a (1); b.png" ;base64,' + base64.b64encode(RED_DISC).decode(),
        "data:image/png;base64," + base64.encodebytes(RED_DISC).decode().replace("\n", "\t"),
        " \n\tdata:image/png;base64," + base64.b64encode(RED_DISC).decode() + "\t\r\n ",
    ],
    ids=[
        *("bare", "lines", "another type", "no type", "any type", "any kind", "a space"),
        *("a name", "a name in quotes", "tabs", "white space around"),
    ],
)
def test_base64_comes_in_several_forms(seeing: Glmserve, url: str) -> None:
    content = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}, {"type": "text", "text": "x"}]
    body = {**PROBE, "messages": [{"role": "user", "content": content}]}
    answer = httpx.post(f"{seeing.openai_url}/chat/completions", json=body, timeout=60).json()
    assert answer["usage"]["completion_tokens"] == 48


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("cat.png", "not valid base64"),
        ("data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode(), "is an SVG drawing"),
        ("data:video/mp4;base64,AAAA", "must be an https:"),
        ("data:image/png;base64", "must be an https:"),
        ("data:image/png;name=a b.png;base64,AAAA", "must be an https:"),
        ('data:image/png;name="a.png;base64,AAAA', "must be an https:"),
        ("", "must be an https:"),
        (" \n", "must be an https:"),
    ],
)
def test_what_is_no_picture_is_refused(seeing: Glmserve, url: str, reason: str) -> None:
    body = {**PROBE, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
    response = httpx.post(f"{seeing.openai_url}/chat/completions", json=body, timeout=60)
    assert response.status_code == 400
    assert reason in response.json()["error"]["message"]
    assert response.json()["error"]["param"].startswith("messages[0].content[0].image_url")

"""Texts and conversations to tokens and back, over both faces."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import chatglm_cpp
import grpc
import httpx
import pytest
from faces import Face, Refused, opened
from running import BATCHED, MODEL, Glmserve
from test_text import TEXTS
from upstreams import Upstream, answer, failure

from glmserve.v1.chat_pb2 import ChatCompletionRequest, Prompt, TokenIds
from glmserve.v1.token_pb2 import CountTokensRequest, DetokenizeRequest, TokenizeRequest
from glmserve.v1.token_pb2_grpc import TokenServiceStub
from glmserve_server.bundled import BUNDLED

Way = Callable[[Glmserve], AbstractContextManager[Face]]

TALK = [("system", "You are Bob."), ("user", "你好, who are you?")]


@pytest.fixture(scope="module")
def library() -> chatglm_cpp.Pipeline:
    return chatglm_cpp.Pipeline(str(BUNDLED[MODEL]))


@pytest.fixture(params=["server", "relay", BATCHED])
def any_face(request: pytest.FixtureRequest, way: Way) -> Iterator[Face]:
    with way(request.getfixturevalue(request.param)) as face:
        yield face


@pytest.fixture
async def http(server: Glmserve) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.edge_url, timeout=30) as client:
        yield client


def test_texts_have_the_library_s_tokens_and_come_back(any_face: Face, library: chatglm_cpp.Pipeline) -> None:
    for text in TEXTS:
        ids, texts, _ = any_face.tokenize(text, model=MODEL)
        assert (ids, texts) == (library.tokenizer.encode(text, 1 << 20), [])
        bare, _, _ = any_face.tokenize(text, model=MODEL, add_special_tokens=False)
        assert bare == ids[2:]
        assert any_face.detokenize(bare, MODEL) == text
        assert any_face.detokenize(ids, MODEL) == f"[gMASK]<sop>{text}"


def test_conversations_have_the_library_s_tokens(any_face: Face, library: chatglm_cpp.Pipeline) -> None:
    theirs = [chatglm_cpp.ChatMessage(role=role, content=text) for role, text in TALK]
    ids, texts, _ = any_face.tokenize(TALK, model=MODEL, texts=True)
    assert ids == library.tokenizer.apply_chat_template(theirs, 1 << 20)
    assert texts[:4] == ["[gMASK]", "<sop>", "<|system|>", "\n"]
    assert len(texts) == len(ids)
    tool = {"type": "function", "function": {"name": "get_time"}}
    longer, _, _ = any_face.tokenize(TALK, model=MODEL, tools=[tool])
    assert "## get_time" in any_face.detokenize(longer, MODEL)


def test_what_is_counted_is_what_is_shown(server: Glmserve) -> None:
    chat = ChatCompletionRequest(model=MODEL, prompt=Prompt(text="one two"))
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = TokenServiceStub(channel)
        counted = stub.CountTokens(CountTokensRequest(chat=chat, include_token_ids=True))
        assert counted.token_ids == stub.Tokenize(TokenizeRequest(chat=chat)).token_ids
        chat.prompt.token_ids.ids.extend([1, 2, 3])
        assert stub.CountTokens(CountTokensRequest(chat=chat)).prompt_tokens == 3


def test_broken_characters_become_replacement_characters(any_face: Face) -> None:
    ids, texts, _ = any_face.tokenize("🙂", model=MODEL, texts=True, add_special_tokens=False)
    assert len(ids) > 1
    assert all("\ufffd" in text for text in texts)
    assert set(any_face.detokenize(ids[:1], MODEL)) == {"\ufffd"}
    assert any_face.detokenize(ids, MODEL) == "🙂"
    assert any_face.detokenize([], MODEL) == ""


def test_the_scripted_engine_has_bytes_for_tokens(any_face: Face) -> None:
    assert any_face.tokenize("aé", model="scripted", texts=True)[:2] == ([97, 195, 169], ["a", "\ufffd", "\ufffd"])
    assert any_face.detokenize([97, 195, 169, 255], "scripted") == "aé\ufffd"
    assert any_face.tokenize([("user", "one two")], model="scripted", texts=True)[:2] == ([0, 1], ["one", " two"])


def test_the_context_length_is_told(face: Face) -> None:
    assert (face.tokenize("x", model=MODEL)[2], face.tokenize("x", model="scripted")[2]) == (2048, 4096)


def test_a_text_longer_than_the_context_has_tokens(any_face: Face) -> None:
    assert len(any_face.tokenize("x " * 5000, model=MODEL)[0]) > 2048
    with pytest.raises(Refused, match="maximum context length") as caught:
        any_face.tokenize("x" * 3_000_000, model=MODEL)
    assert (caught.value.status, caught.value.param) == (400, "prompt")


@pytest.mark.parametrize("model", [MODEL, "scripted"])
def test_ids_that_are_no_tokens_have_no_text(any_face: Face, model: str) -> None:
    with pytest.raises(Refused, match="must be a token, from 0 to") as caught:
        any_face.detokenize([1, 2, 3_000_000], model)
    path = "tokens[2]" if type(any_face).__name__ == "HttpFace" else "token_ids[2]"
    assert (caught.value.status, caught.value.param) == (400, path)


def test_an_unknown_model_is_not_found(any_face: Face) -> None:
    for ask in (lambda: any_face.tokenize("x", model="gpt-9"), lambda: any_face.detokenize([1], "gpt-9")):
        with pytest.raises(Refused, match="does not exist") as caught:
            ask()
        assert caught.value.status == 404


def test_tokens_are_no_text_and_a_text_is_no_conversation(server: Glmserve) -> None:
    with opened("grpc", server) as face, grpc.insecure_channel(server.grpc_address) as channel:
        stub = TokenServiceStub(channel)
        for chat in (
            ChatCompletionRequest(model=MODEL, prompt=Prompt(token_ids=TokenIds(ids=[1]))),
            ChatCompletionRequest(model=MODEL, prompt=Prompt(add_special_tokens=True)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Tokenize(TokenizeRequest(chat=chat))
            refused = face._refused(caught.value)  # type: ignore[attr-defined]
            assert (refused.status, refused.param) == (400, "prompt")
        with pytest.raises(grpc.RpcError, match="1048576"):
            stub.Detokenize(DetokenizeRequest(model=MODEL, token_ids=[1] * 1048577))


async def test_answers_have_vllm_s_shape(http: httpx.AsyncClient) -> None:
    response = await http.post("/tokenize", json={"model": "scripted", "prompt": "ab"})
    assert response.json() == {"count": 2, "max_model_len": 4096, "tokens": [97, 98], "token_strs": None}
    body = {
        "model": "scripted",
        "messages": [{"role": "user", "content": "a b"}],
        "return_token_strs": True,
        "add_generation_prompt": True,
        "continue_final_message": False,
        "add_special_tokens": False,
        "chat_template": None,
        "chat_template_kwargs": {"enable_thinking": True},
        "mm_processor_kwargs": {},
        "tools": None,
    }
    response = await http.post("/tokenize", json=body)
    assert response.json() == {"count": 2, "max_model_len": 4096, "tokens": [0, 1], "token_strs": ["a", " b"]}
    response = await http.post("/detokenize", json={"model": "scripted", "tokens": [97, 98]})
    assert response.json() == {"prompt": "ab"}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["openai-processing-ms"]
    assert response.headers["x-request-id"]


TALKED = {"messages": [{"role": "user", "content": "x"}]}
WRONG = [
    ("tokenize", {}, "prompt", "prompt or messages is required"),
    ("tokenize", {"prompt": ["a"]}, "prompt", "must be a string, not a list"),
    ("tokenize", {"prompt": "a", **TALKED}, "prompt", "give one of the two"),
    ("tokenize", {"messages": []}, "messages", "at least one message"),
    ("tokenize", {"messages": [{"role": "robot"}]}, "messages[0].role", "robot"),
    ("tokenize", {**TALKED, "add_special_tokens": True}, "add_special_tokens", "messages have theirs"),
    ("tokenize", {**TALKED, "add_generation_prompt": False}, "add_generation_prompt", "must be true"),
    ("tokenize", {**TALKED, "continue_final_message": True}, "continue_final_message", "must be false"),
    ("tokenize", {**TALKED, "chat_template": "{{ x }}"}, "chat_template", "not supported"),
    ("tokenize", {"prompt": "a", "return_token_strs": 1}, "return_token_strs", "must be a boolean"),
    ("tokenize", {"prompt": "a", "tools": [{"type": "cogview"}]}, "tools", "goes with messages"),
    ("detokenize", {}, "tokens", "tokens is required"),
    ("detokenize", {"tokens": "ab"}, "tokens", "must be a list"),
    ("detokenize", {"tokens": [1, "b"]}, "tokens[1]", "must be an integer"),
    ("detokenize", {"tokens": [1, -1]}, "tokens[1]", "at least 0"),
    ("detokenize", {"tokens": [1, 256]}, "tokens[1]", "tokens[1] must be a token, from 0 to 255, not 256"),
    ("detokenize", {"tokens": [1] * 262144}, None, "the request body may hold at most 262144 values"),
    ("detokenize", {"tokens": [1], "model": 5}, "model", "must be a string"),
]


@pytest.mark.parametrize(("path", "body", "param", "message"), WRONG)
async def test_wrong_bodies_are_refused_by_name(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], param: str | None, message: str
) -> None:
    response = await http.post(f"/{path}", json={"model": "scripted", **body})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert message in error["message"]


@pytest.mark.parametrize("path", ["tokenize", "detokenize"])
async def test_only_posts_of_json_objects_are_answered(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(f"/{path}")).status_code == 405
    for content, kind in ((b"{", "application/json"), (b"[]", "application/json"), (b"{}", "text/plain")):
        response = await http.post(f"/{path}", content=content, headers={"content-type": kind})
        assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")


NOT_FOUND = failure("404 Not Found", message="Not Found", type="NotFoundError", code=404)
UNKNOWN = failure("404 Not Found", message="The model `m` does not exist.", type="NotFoundError", code=404)
OTHER = answer("200 OK", b'{"content": "x"}')


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (NOT_FOUND, 501),
        (answer("404 Not Found", b"<html>", kind="text/html"), 501),
        (answer("405 Method Not Allowed"), 501),
        (OTHER, 501),
        (answer("200 OK", b'{"count": 2, "tokens": [1], "prompt": 7}'), 501),
        (UNKNOWN, 404),
        (failure("400 Bad Request", message="no", param="prompt"), 400),
        (answer("500 Oops"), 503),
    ],
)
def test_an_upstream_without_tokens_is_no_fault_of_the_caller(way: Way, script: bytes, status: int) -> None:
    with (
        Upstream(script) as upstream,
        Glmserve("up", "--upstream", f"m={upstream.url}") as running,
        way(running) as face,
    ):
        for ask in (
            lambda: face.tokenize("x", model="m"),
            lambda: face.tokenize([("user", "x")], model="m", texts=True),
            lambda: face.detokenize([1], "m"),
        ):
            with pytest.raises(Refused) as caught:
                ask()
            assert caught.value.status == status
            assert upstream.netloc not in str(caught.value)
        assert [head.split(b" ")[1] for head, _ in upstream.requests] == [b"/tokenize", b"/tokenize", b"/detokenize"]

"""Raw prompts over both faces: what is gone on with, what ends it, what is refused, and several at once."""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import pytest
from faces import Face, Refused, Reply, opened
from hypothesis import given, settings
from hypothesis import strategies as st
from running import BATCHED, MODEL, Glmserve

from glmserve.v1.chat_pb2 import ChatCompletionRequest, Prompt, Reasoning, ResponseFormat, TokenIds
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.message_pb2 import ROLE_USER, Message
from glmserve.v1.model_pb2 import GetModelRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve.v1.tool_pb2 import FunctionTool, Tool, ToolChoice
from glmserve_gateway.completions import COMPLETIONS
from glmserve_gateway.errors import InvalidRequest

Way = Callable[[Glmserve], AbstractContextManager[Face]]

QUESTION = [("user", "What is the capital of France?")]
ANSWER = "The capital of France is Paris."


@pytest.fixture(params=["server", "relay", BATCHED])
def both(request: pytest.FixtureRequest) -> Glmserve:
    """The server with the models, the one that has it as its upstream, and the one with llama.cpp."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture
def any_face(both: Glmserve, way: Way) -> Iterator[Face]:
    with way(both) as face:
        yield face


@pytest.fixture
async def http(server: Glmserve) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.openai_url, timeout=30) as client:
        yield client


def test_a_text_is_gone_on_with(any_face: Face) -> None:
    reply = any_face.complete("The capital of France is", model=MODEL, max_completion_tokens=6)
    assert reply.text
    assert reply.finish in ("stop", "length")
    assert reply.completion_tokens <= 6
    ids, _, _ = any_face.tokenize("The capital of France is", model=MODEL)
    assert reply.prompt_tokens == len(ids)
    pieces = list(any_face.complete_stream("The capital of France is", model=MODEL, max_completion_tokens=6))
    assert pieces[-1] == reply
    again = any_face.complete(ids, model=MODEL, max_completion_tokens=6)
    assert (again.text, again.prompt_tokens) == (reply.text, reply.prompt_tokens)


def test_a_turn_spelt_in_tokens_is_answered_as_the_chat_is(any_face: Face) -> None:
    said = any_face.ask(QUESTION, model=MODEL)
    assert said.text == ANSWER
    ids, _, _ = any_face.tokenize(QUESTION, model=MODEL)
    reply = any_face.complete(ids, model=MODEL)
    # The newline ends the empty metadata of the turn, which a chat does not show.
    assert (reply.text, reply.finish) == (f"\n{ANSWER}", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (said.prompt_tokens, said.completion_tokens)


def test_stop_strings_end_it(any_face: Face) -> None:
    ids, _, _ = any_face.tokenize(QUESTION, model=MODEL)
    reply = any_face.complete(ids, model=MODEL, stop=["France"])
    assert (reply.text, reply.finish) == ("\nThe capital of ", "stop")


def test_calls_and_thoughts_are_text(any_face: Face) -> None:
    text = "<think>hm</think>\nget_time\n{}"
    reply = any_face.complete(text, model="scripted")
    assert (reply.text, reply.reasoning, reply.calls) == (text, "", [])


def test_the_scripted_engine_says_a_prompt_again(any_face: Face) -> None:
    reply = any_face.complete("one two three", model="scripted")
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.completion_tokens) == ("one two three", "stop", 13, 3)
    assert any_face.complete(list(b"/count 3"), model="scripted").text == " 1 2 3"
    assert any_face.complete("", model="scripted").text == ""


@pytest.mark.parametrize("both", ["server", "relay"], indirect=True)  # llama.cpp honours them
def test_preferences_are_ignored_and_named(any_face: Face) -> None:
    reply = any_face.complete("x", model=MODEL, seed=7, presence_penalty=1.0, max_completion_tokens=2)
    assert reply.ignored == ["presence_penalty", "seed"]
    assert list(any_face.complete_stream("x", model=MODEL, seed=7, max_completion_tokens=2))[-1].ignored == ["seed"]


def test_a_prompt_that_was_run_is_reused(any_face: Face) -> None:
    text = "Once upon a time there was a long prompt, and it was run again and again. " * 4
    options: dict[str, Any] = {"model": MODEL, "max_completion_tokens": 1, "prompt_cache_key": "raw"}
    replies = [any_face.complete(text, **options) for _ in range(2)]
    assert replies[1].cached_tokens > replies[1].prompt_tokens // 2


def test_leaving_a_stream_stops_it(any_face: Face) -> None:
    pieces = any_face.complete_stream("/slow", model="scripted")
    assert next(piece.text for piece in pieces if piece.text)
    pieces.close()
    assert any_face.complete("still here", model="scripted").text == "still here"


REFUSED = [
    pytest.param("x" * 40_000, {"model": MODEL}, "prompt", "maximum context length is 2048 tokens", id="too long"),
    pytest.param([5] * 2048, {"model": MODEL}, "prompt", "prompt has 2048 tokens", id="too many tokens"),
    pytest.param("x" * 4096, {"model": "scripted"}, "prompt", "4096 tokens", id="too long for a script"),
    pytest.param("", {"model": MODEL, "add_special_tokens": False}, "prompt", "at least one token", id="nothing"),
    pytest.param("x", {"model": MODEL, "n": 9}, "n", "at most 8", id="n"),
    pytest.param("x", {"model": MODEL, "temperature": 3}, "temperature", "between 0 and 2", id="temperature"),
]


@pytest.mark.parametrize(("prompt", "options", "param", "message"), REFUSED)
def test_what_cannot_be_is_refused_by_name(
    any_face: Face, prompt: str | list[int], options: dict[str, Any], param: str, message: str
) -> None:
    with pytest.raises(Refused, match=message) as caught:
        any_face.complete(prompt, **options)
    assert (caught.value.status, caught.value.param) == (400, param)
    with pytest.raises(Refused, match=message):
        list(any_face.complete_stream(prompt, **options))


@pytest.mark.parametrize("both", ["server", "relay"], indirect=True)  # llama.cpp can
def test_log_probabilities_are_refused_by_an_engine_without(any_face: Face) -> None:
    for call in (any_face.complete, partial(last, any_face)):
        with pytest.raises(Refused, match="log probabilities") as caught:
            call("x", model=MODEL, logprobs=1)
        assert (caught.value.status, caught.value.param) == (400, "logprobs")


def last(face: Face, prompt: str, **parameters: Any) -> Reply:
    """The answer of a stream, after its last piece."""
    return list(face.complete_stream(prompt, **parameters))[-1]


@pytest.mark.parametrize("model", [MODEL, "scripted"])
def test_ids_that_are_no_tokens_are_refused_by_their_place(any_face: Face, model: str) -> None:
    for name, place in (("grpc", "prompt.token_ids.ids[2]"), ("http", "prompt[2]")):
        if name in type(any_face).__name__.lower():
            with pytest.raises(Refused, match="must be a token, from 0 to") as caught:
                any_face.complete([1, 2, 4_000_000_000], model=model)
            assert (caught.value.status, caught.value.param) == (400, place)


def test_an_unknown_model_is_not_found(any_face: Face) -> None:
    with pytest.raises(Refused, match="does not exist") as caught:
        any_face.complete("x", model="gpt-9")
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (ChatCompletionRequest(messages=[Message(role=ROLE_USER)]), "prompt"),
        (ChatCompletionRequest(tools=[Tool(function=FunctionTool(name="f"))]), "tools"),
        (ChatCompletionRequest(tool_choice=ToolChoice(mode=ToolChoice.MODE_NONE)), "tool_choice"),
        (ChatCompletionRequest(response_format=ResponseFormat()), "response_format"),
        (ChatCompletionRequest(reasoning=Reasoning(enabled=False)), "reasoning"),
        (ChatCompletionRequest(prompt=Prompt(token_ids=TokenIds())), "prompt.token_ids"),
        (ChatCompletionRequest(prompt=Prompt(token_ids=TokenIds(ids=[1] * 1048577))), "prompt.token_ids.ids"),
        (ChatCompletionRequest(prompt=Prompt()), "prompt"),
    ],
)
def test_a_raw_prompt_goes_with_nothing_of_a_conversation(
    server: Glmserve, request_: ChatCompletionRequest, field: str
) -> None:
    request_.model = "scripted"
    if not request_.HasField("prompt"):
        request_.prompt.text = "x"
    elif field == "prompt":
        request_.prompt.add_special_tokens = True
    with opened("grpc", server) as face, pytest.raises(Refused) as caught:
        face._whole(request_)  # type: ignore[attr-defined]
    assert (caught.value.status, caught.value.param) == (400, field)


def test_models_say_that_they_take_raw_prompts(server: Glmserve) -> None:
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = ModelServiceStub(channel)
        assert all(
            stub.GetModel(GetModelRequest(model=name)).model.capabilities.prompts for name in (MODEL, "scripted")
        )


# What OpenAI's older API has beyond the contract.


async def completed(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await http.post("/completions", json={"model": "scripted", **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def chunks_of(http: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    response = await http.post("/completions", json={"model": "scripted", "stream": True, **body})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    *lines, last = response.text.removesuffix("\n\n").split("\n\n")
    assert last == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def texts(chunks: list[dict[str, Any]]) -> dict[int, str]:
    """The text of each choice."""
    made: dict[int, str] = {}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        made[choice["index"]] = made.get(choice["index"], "") + choice["text"]
    return made


async def test_a_whole_answer_has_openais_shape(http: httpx.AsyncClient) -> None:
    answer = await completed(http, prompt="hello big world")
    assert answer.pop("id").startswith("cmpl-")
    assert isinstance(answer.pop("created"), int)
    usage = answer.pop("usage")
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (15, 3, 18)
    choice = {"index": 0, "text": "hello big world", "logprobs": None, "finish_reason": "stop"}
    assert answer == {"object": "text_completion", "model": "scripted", "choices": [choice]}


async def test_every_chunk_has_openais_shape(http: httpx.AsyncClient) -> None:
    plain = await chunks_of(http, prompt="hello")
    assert [list(chunk) for chunk in plain] == [["id", "object", "created", "model", "choices"]] * len(plain)
    chunks = await chunks_of(http, prompt="hello", stream_options={"include_usage": True})
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["id"].startswith("cmpl-")
    assert [chunk["choices"] for chunk in chunks] == [
        [{"index": 0, "text": "hello", "logprobs": None, "finish_reason": None}],
        [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}],
        [],
    ]
    assert [chunk["usage"] and chunk["usage"]["prompt_tokens"] for chunk in chunks] == [None, None, 5]


async def test_sixteen_tokens_are_the_most_unless_max_tokens_says_otherwise(http: httpx.AsyncClient) -> None:
    counted = (await completed(http, prompt="/count 100"))["choices"][0]
    assert (counted["text"], counted["finish_reason"]) == ("".join(f" {i}" for i in range(1, 17)), "length")
    assert (await completed(http, prompt="/count 100", max_tokens=20))["usage"]["completion_tokens"] == 20
    assert (await completed(http, prompt="/count 100", max_tokens=None))["usage"]["completion_tokens"] == 100


async def test_choices_are_numbered_prompt_by_prompt(http: httpx.AsyncClient) -> None:
    prompts = ["one", "two words", "/count 3"]
    said = ["one", "two words", " 1 2 3"]
    answer = await completed(http, prompt=prompts)
    assert [(choice["index"], choice["text"]) for choice in answer["choices"]] == list(enumerate(said))
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (20, 6)
    ids = [list(prompt.encode()) for prompt in prompts]
    assert (await completed(http, prompt=ids))["choices"] == answer["choices"]
    chunks = await chunks_of(http, prompt=ids, stream_options={"include_usage": True})
    assert texts(chunks) == dict(enumerate(said))
    assert sorted(choice["index"] for c in chunks for choice in c["choices"] if choice["finish_reason"]) == [0, 1, 2]
    assert chunks[-1]["usage"] == answer["usage"]


async def test_several_prompts_have_several_choices_each(http: httpx.AsyncClient) -> None:
    body = {"model": MODEL, "prompt": ["The capital of", "What is"], "n": 2, "max_tokens": 4, "temperature": 0}
    answer = await completed(http, **body)
    alone = [await completed(http, **{**body, "prompt": prompt}) for prompt in body["prompt"]]  # type: ignore[attr-defined]
    assert [c["index"] for c in answer["choices"]] == [0, 1, 2, 3]
    assert [c["text"] for c in answer["choices"]] == [c["text"] for one in alone for c in one["choices"]]
    for name in ("prompt_tokens", "completion_tokens"):
        assert answer["usage"][name] == sum(one["usage"][name] for one in alone)
    assert texts(await chunks_of(http, **body)) == {c["index"]: c["text"] for c in answer["choices"]}


async def test_more_prompts_than_workers_and_places_in_the_queue_are_one_request() -> None:
    with Glmserve("up", "--model", MODEL, "--workers", "1", "--queue-limit", "1") as running:
        async with httpx.AsyncClient(base_url=running.openai_url, timeout=60) as http:
            answer = await completed(http, model=MODEL, prompt=[f"{i} and" for i in range(12)], max_tokens=2)
            assert len(answer["choices"]) == 12


async def test_the_same_holds_for_upstreams_and_a_full_queue_refuses_all_at_once(server: Glmserve) -> None:
    arguments = ("--upstream", f"scripted={server.openai_url}", "--upstream-concurrency", "1", "--queue-limit", "0")
    with Glmserve("up", *arguments) as running:
        async with httpx.AsyncClient(base_url=running.openai_url, timeout=60) as http:
            prompts = [f"{i} and" for i in range(12)]
            answer = await completed(http, prompt=prompts)
            assert [choice["text"] for choice in answer["choices"]] == prompts
            slow = {"model": "scripted", "prompt": "/slow", "max_tokens": None, "stream": True}
            async with http.stream("POST", "/completions", json=slow) as busy:
                lines = busy.aiter_lines()  # kept: one that nobody holds would end the answer
                assert await anext(lines)
                response = await http.post("/completions", json={"model": "scripted", "prompt": prompts})
                assert (response.status_code, response.headers["retry-after"]) == (429, "1")


@pytest.mark.parametrize("prompt", ["one two", ["one two"], list(b"one two"), [list(b"one two")]])
async def test_the_prompt_is_echoed(http: httpx.AsyncClient, prompt: Any) -> None:
    answer = await completed(http, prompt=prompt, echo=True)
    assert answer["choices"][0]["text"] == "one twoone two"
    assert texts(await chunks_of(http, prompt=prompt, echo=True)) == {0: "one twoone two"}


async def test_each_choice_echoes_its_own_prompt(http: httpx.AsyncClient) -> None:
    ids = [list(text.encode()) for text in ("a", "/count 0", "é")]
    expected = ["aa", "/count 0", "éé"]
    answer = await completed(http, prompt=ids, echo=True)
    assert [choice["text"] for choice in answer["choices"]] == expected
    assert texts(await chunks_of(http, prompt=ids, echo=True)) == dict(enumerate(expected))
    body = {"model": MODEL, "prompt": ["The capital", "of"], "n": 2, "max_tokens": 2, "echo": True}
    choices = (await completed(http, **body))["choices"]
    assert [c["text"].startswith(("The capital", "of")[c["index"] // 2]) for c in choices] == [True] * 4


async def test_an_echo_of_tokens_names_special_ones(http: httpx.AsyncClient, server: Glmserve) -> None:
    with opened("http", server) as face:
        ids, _, _ = face.tokenize(QUESTION, model=MODEL)
    text = (await completed(http, model=MODEL, prompt=ids, echo=True, max_tokens=50))["choices"][0]["text"]
    assert text == f"[gMASK]<sop><|user|>\n{QUESTION[0][1]}<|assistant|>\n{ANSWER}"


async def test_best_of_may_be_n(http: httpx.AsyncClient) -> None:
    body = {"model": MODEL, "prompt": "x", "max_tokens": 1}
    assert len((await completed(http, **body, best_of=1))["choices"]) == 1
    assert len((await completed(http, **body, n=2, best_of=2))["choices"]) == 2


async def test_preferences_without_a_place_are_named(http: httpx.AsyncClient) -> None:
    body = {"model": "scripted", "prompt": "x", "reasoning_effort": "high", "seed": 1, "user": "me", "frobnicate": 1}
    for stream in (False, True):
        response = await http.post("/completions", json={**body, "stream": stream})
        assert response.headers["x-glmserve-ignored"] == "seed, reasoning_effort"


WRONG = [
    ({}, "prompt", "prompt is required"),
    ({"prompt": None}, "prompt", "prompt is required"),
    ({"prompt": 7}, "prompt", "must be a string, a list of strings, a list of token ids, or a list of such lists"),
    ({"prompt": {}}, "prompt", "not an object"),
    ({"prompt": []}, "prompt", "at least one prompt or token id"),
    ({"prompt": [[]]}, "prompt[0]", "at least one token id"),
    ({"prompt": [[1], []]}, "prompt[1]", "at least one token id"),
    ({"prompt": ["a", 1]}, "prompt[1]", "must be a string, not a number (1)"),
    ({"prompt": ["a", [1]]}, "prompt[1]", "must be a string, not a list"),
    ({"prompt": [1, "a"]}, "prompt[1]", "must be an integer, not a string"),
    ({"prompt": [1, -1]}, "prompt[1]", "at least 0, not -1"),
    ({"prompt": [1, 2**32]}, "prompt[1]", "at most 4294967295"),
    ({"prompt": [1.5]}, "prompt[0]", "must be an integer"),
    ({"prompt": [True]}, "prompt[0]", "must be an integer, not a boolean"),
    ({"prompt": [None]}, "prompt[0]", "must be an integer, not null"),
    ({"prompt": [[1], "a"]}, "prompt[1]", "must be a list"),
    ({"prompt": [[1], [1, None]]}, "prompt[1][1]", "must be an integer"),
    ({"prompt": [[1], [2, 999]]}, "prompt[1][1]", "prompt[1][1] must be a token, from 0 to 255, not 999"),
    ({"prompt": [[1, 999]]}, "prompt[0][1]", "must be a token"),
    ({"prompt": ["a", "x" * 5000]}, "prompt[1]", "maximum context length"),
    ({"prompt": ["x" * 5000]}, "prompt[0]", "maximum context length"),
    ({"prompt": ["a"] * 129}, "prompt", "at most 128 prompts, not 129"),
    ({"prompt": ["a"] * 65, "n": 2}, "prompt", "130 completions together, more than 128"),
    ({"prompt": "a", "suffix": "b"}, "suffix", "suffix is not supported"),
    ({"prompt": "a", "best_of": 3}, "best_of", "best_of must be the same as n, 1, not 3"),
    ({"prompt": "a", "best_of": 1, "n": 2}, "best_of", "the same as n, 2, not 1"),
    ({"prompt": "a", "logprobs": 2}, "logprobs", "log probabilities"),
    ({"prompt": "a", "logprobs": 0}, "logprobs", "log probabilities"),
    ({"prompt": "a", "logprobs": True}, "logprobs", "must be an integer"),
    ({"prompt": "a", "logprobs": 21}, "logprobs", "logprobs must be between 0 and 20, not 21"),
    ({"prompt": "a", "logprobs": 1, "echo": True}, "logprobs", "must not be given with echo"),
    ({"prompt": "a", "max_tokens": 0}, "max_tokens", "max_tokens must be at least 1, not 0"),
    ({"prompt": "a", "max_completion_tokens": 5}, "max_completion_tokens", "here it is max_tokens"),
    ({"prompt": "a", "messages": []}, "messages", "at /v1/chat/completions"),
    ({"messages": [{"role": "user", "content": "hi"}]}, "messages", "at /v1/chat/completions"),
    ({"prompt": "a", "tools": []}, "tools", "it goes with messages"),
    ({"prompt": "a", "response_format": {"type": "text"}}, "response_format", "it goes with messages"),
    ({"prompt": "a", "echo": "yes"}, "echo", "must be a boolean"),
    ({"prompt": "a", "stop": ["a"] * 5}, "stop", "at most 4"),
    ({"prompt": "a", "n": 0}, "n", "between 1 and 128"),
    ({"prompt": ["a"], "n": 129}, "n", "between 1 and 128"),
    ({"prompt": "a", "stream_options": {}}, "stream_options", "allowed only with"),
    ({"prompt": "a", "model": 7}, "model", "must be a string"),
]


@pytest.mark.parametrize(("body", "param", "message"), WRONG)
async def test_wrong_bodies_are_refused_by_name(
    http: httpx.AsyncClient, body: dict[str, Any], param: str, message: str
) -> None:
    response = await http.post("/completions", json={"model": "scripted", **body})
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert message in error["message"]
    assert response.headers["x-should-retry"] == "false"


@settings(max_examples=300, deadline=None)
@given(
    prompt=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=8,
    ),
    n=st.none() | st.integers(0, 200),
)
def test_any_prompt_is_read_or_refused_by_name(prompt: Any, n: int | None) -> None:
    param: str | None = "prompt"
    requests: tuple[ChatCompletionRequest, ...] = ()
    try:
        requests = COMPLETIONS.parse(json.dumps({"prompt": prompt, "n": n}).encode()).requests
    except InvalidRequest as error:
        param = error.param
    assert param is not None
    assert param.startswith("prompt")
    assert len(requests) <= 128
    assert all(request.HasField("prompt") for request in requests)


async def test_an_error_after_the_first_byte_is_an_event(http: httpx.AsyncClient) -> None:
    response = await http.post("/completions", json={"model": "scripted", "prompt": "/fail after 2", "stream": True})
    assert response.status_code == 200
    *_, last = response.text.strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"
    response = await http.post("/completions", json={"model": "scripted", "prompt": ["ok", "/fail"]})
    assert (response.status_code, response.json()["error"]["type"]) == (503, "server_error")


async def test_only_posts_of_json_are_answered(http: httpx.AsyncClient) -> None:
    assert (await http.get("/completions")).status_code == 405
    response = await http.post("/completions", content=b"{}", headers={"content-type": "text/plain"})
    assert "content type" in response.json()["error"]["message"]


def test_the_official_client_completes(both: Glmserve) -> None:
    with openai.OpenAI(base_url=both.openai_url, api_key="any", max_retries=0, timeout=60) as client:
        whole = client.completions.create(model=MODEL, prompt="The capital of France is", temperature=0, max_tokens=5)
        assert whole.object == "text_completion"
        stream = client.completions.create(
            model=MODEL, prompt="The capital of France is", temperature=0, max_tokens=5, stream=True
        )
        chunks = list(stream)
        assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
        assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
        many = client.completions.create(model="scripted", prompt=[[97], [98]], echo=True)
        assert [choice.text for choice in many.choices] == ["aa", "bb"]
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(model=MODEL, prompt="x", suffix="y")
        assert caught.value.param == "suffix"


async def test_the_asynchronous_client_completes(server: Glmserve) -> None:
    async with openai.AsyncOpenAI(base_url=server.openai_url, api_key="any", max_retries=0, timeout=60) as client:
        stream = await client.completions.create(model="scripted", prompt=["one", "two"], stream=True)
        said = {0: "", 1: ""}
        async for chunk in stream:
            for choice in chunk.choices:
                said[choice.index] += choice.text
        assert said == {0: "one", 1: "two"}


@pytest.mark.parametrize("name", ["CreateChatCompletion", "StreamChatCompletion"])
def test_both_methods_take_a_prompt(server: Glmserve, name: str) -> None:
    with grpc.insecure_channel(server.grpc_address) as channel:
        answer = getattr(ChatServiceStub(channel), name)(
            ChatCompletionRequest(model="scripted", prompt=Prompt(text="a"))
        )
        ids = [answer.id] if name.startswith("Create") else [event.started.id for event in answer if event.started.id]
        assert ids[0].startswith("chatcmpl-")


DOCUMENT = (Path(__file__).parents[1] / "docs" / "completions.md").read_text()


def test_the_documented_examples_work(server: Glmserve) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    code = code.replace("http://127.0.0.1:8080/v1", server.openai_url)
    assert subprocess.check_output([sys.executable, "-W", "error", "-c", code], text=True).strip()
    (commands,) = re.findall(r"```console\n(.*?)```", DOCUMENT, re.DOTALL)
    for command in commands.replace("http://127.0.0.1:8080", server.edge_url).replace("$ ", "").splitlines():
        answer = json.loads(subprocess.check_output(command, shell=True, text=True))  # noqa: S602
        assert set(answer) in ({"count", "max_model_len", "tokens", "token_strs"}, {"prompt"})

"""The face of DB-GPT's client: what is on the wire, and what the real package makes of it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from google.protobuf import json_format
from running import MODEL, Glmserve
from sdks import shown, with_sdk
from test_openai_chat import active_calls

from glmserve.v1 import chat_pb2
from glmserve_gateway.dbgpt import DBGPT

CLIENTS_DEFAULTS = {
    "temperature": None,
    "top_p": 1.0,
    "top_k": -1,
    "n": 1,
    "max_tokens": None,
    "stop": None,
    "stream": False,
    "user": None,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "max_new_tokens": None,
    "conv_uid": None,
    "span_id": None,
    "chat_mode": None,
    "chat_param": None,
    "user_name": None,
    "sys_code": None,
    "incremental": True,
    "enable_vis": True,
}
"""What the client sends along when nobody has set anything."""


def url(server: Glmserve) -> str:
    return f"{server.edge_url}/api/v2"


@pytest.fixture
async def http(server: Glmserve) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url(server), timeout=30) as client:
        yield client


def request_of(**body: Any) -> dict[str, Any]:
    """What the contract holds of a request, in protobuf's JSON."""
    call = DBGPT.parse(json.dumps(body).encode())
    return json_format.MessageToDict(call.request, preserving_proto_field_name=True)


async def chunks(http: httpx.AsyncClient, text: str, **more: Any) -> list[dict[str, Any]]:
    """The chunks of a streamed answer; it must end with `[DONE]`."""
    response = await http.post("/chat/completions", json={"model": "scripted", "messages": text, "stream": True} | more)
    assert response.status_code == 200, response.text
    *lines, done, end = response.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_defaults_of_the_client_are_as_good_as_absent() -> None:
    bare = request_of(model="m", messages="Hello?")
    assert bare == {"model": "m", "messages": [{"role": "ROLE_USER", "content": [{"text": "Hello?"}]}]}
    given = request_of(model="m", messages="Hello?", **CLIENTS_DEFAULTS)
    assert given == {**bare, "n": 1, "frequency_penalty": 0.0, "presence_penalty": 0.0}


def test_what_is_set_reaches_the_contract() -> None:
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    own = {"chat_mode": "chat_normal", "conv_uid": "talk-1", "max_new_tokens": 9, "max_tokens": 9}
    request = request_of(messages=talk, top_p=0.5, top_k=7, repetition_penalty=1.25, user_name="Ann", **own)
    assert [message["role"] for message in request.pop("messages")] == ["ROLE_SYSTEM", "ROLE_USER"]
    assert request == {
        "max_completion_tokens": 9,
        "top_p": 0.5,
        "top_k": 7,
        "repetition_penalty": 1.25,
        "prompt_cache_key": "talk-1",
    }


async def test_every_chunk_has_a_choice_and_only_the_last_the_usage(http: httpx.AsyncClient) -> None:
    *others, last = await chunks(http, "hello big world", stream_options={"include_usage": True})
    assert all("usage" not in chunk for chunk in others)
    assert [chunk["choices"][0]["delta"] for chunk in others] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "hello big world"},
    ]
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert last["usage"]["total_tokens"] == 6


async def test_each_chunk_has_all_of_the_text_if_not_incremental(http: httpx.AsyncClient) -> None:
    answer = await chunks(http, "/count 4 at 20", incremental=False)
    said = [chunk["choices"][0]["delta"]["content"] for chunk in answer]
    assert all(later.startswith(earlier) for earlier, later in pairwise(said))
    assert (said[0], said[-1]) == ("", " 1 2 3 4")
    assert len(set(said)) > 2


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"chat_mode": "chat_knowledge", "chat_param": "my_space"}, "chat_mode"),
        ({"tools": []}, "tools"),
        ({"tool_choice": "none"}, "tool_choice"),
        ({"messages": []}, "messages"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(http: httpx.AsyncClient, more: dict[str, Any], param: str) -> None:
    response = await http.post("/chat/completions", json={"model": "scripted", "messages": "hi", **more})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_form_and_origin_count_as_for_openai(http: httpx.AsyncClient) -> None:
    body = json.dumps({"model": "scripted", "messages": "hi"})
    refused = await http.post("/chat/completions", content=body, headers={"content-type": "text/plain"})
    assert refused.status_code == 400
    preflight = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    allowed = await http.options("/chat/completions", headers=preflight)
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert (await http.get("/chat/completions")).status_code == 405
    assert (await http.get("/serve/datasources")).status_code == 404


# --- The real package ------------------------------------------------------------------------------------------------


@pytest.fixture
async def client(server: Glmserve) -> AsyncIterator[Any]:
    package = pytest.importorskip("dbgpt_client", reason="left out: DB-GPT's client is not installed")
    client = package.Client(api_base=url(server), api_key="dbgpt", timeout=30)
    yield client
    await client.aclose()


@with_sdk
@pytest.mark.parametrize("messages", ["What is the capital of France?", [{"role": "user", "content": "hello world"}]])
async def test_client_reads_a_whole_answer(client: Any, messages: Any) -> None:
    answer = await client.chat(model=MODEL if isinstance(messages, str) else "scripted", messages=messages)
    (choice,) = answer.choices
    assert re.search("Paris|hello world", choice.message.content)
    assert choice.finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@with_sdk
@pytest.mark.parametrize("incremental", [True, False])
async def test_client_reads_a_stream(client: Any, incremental: bool) -> None:
    question = "What is the capital of France?"
    stream = client.chat_stream(model=MODEL, messages=question, incremental=incremental, conv_uid="talk", sys_code="s")
    answer = [chunk async for chunk in stream]
    pieces = [chunk.choices[0].delta.content or "" for chunk in answer]
    assert ("".join(pieces) if incremental else pieces[-1]) == "The capital of France is Paris."
    assert answer[-1].choices[0].finish_reason == "stop"
    assert answer[-1].usage.completion_tokens > 0


@with_sdk
async def test_client_stops_at_its_limit(client: Any) -> None:
    answer = await client.chat(model="scripted", messages="one two three", max_new_tokens=2)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("one two", "length")


@with_sdk
async def test_client_gets_errors_as_json_or_raises_them(client: Any) -> None:
    refused = await client.chat(model="none", messages="hi")
    assert refused["error"]["code"] == "model_not_found"
    streamed = [chunk async for chunk in client.chat_stream(model="none", messages="hi")]
    assert [chunk["error"]["code"] for chunk in streamed] == ["model_not_found"]
    with pytest.raises(Exception, match="server_error"):
        _ = [chunk async for chunk in client.chat_stream(model="scripted", messages="/fail after 2")]


@with_sdk
async def test_model_stops_when_the_client_leaves(client: Any, server: Glmserve) -> None:
    async with httpx.AsyncClient(base_url=server.admin_url) as admin, asyncio.timeout(20):
        stream = client.chat_stream(model="scripted", messages="/slow")
        await anext(stream)
        assert await active_calls(admin) > 0
        await stream.aclose()
        while await active_calls(admin) > 0:
            pass


@with_sdk
def test_example_prints_the_answer(server: Glmserve) -> None:
    pytest.importorskip("dbgpt_client", reason="left out: DB-GPT's client is not installed")
    assert shown("dbgpt_client", server) == ["The capital of France is Paris."]


def test_log_probabilities_come_with_the_whole_text_too() -> None:
    request = {"logprobs": True, "incremental": False, "stream": True, "messages": "Hello"}
    chunks = DBGPT.chunks(chat_pb2.Started(id="chatcmpl-1"), DBGPT.parse(json.dumps(request).encode()))
    token = chat_pb2.TokenLogprob(token="Hi", logprob=-0.5)
    text = chat_pb2.TextDelta(text="Hi", logprobs=[token])
    told = chunks.render(chat_pb2.StreamChatCompletionResponse(text=text)).decode()
    assert '"logprob":-0.5' in told

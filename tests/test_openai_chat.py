"""Chat completions over HTTP: the bytes on the wire, and what OpenAI's own client makes of them."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from running import Glmserve


@pytest.fixture
async def http(server: Glmserve) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.openai_url, timeout=30) as client:
        yield client


@pytest.fixture
async def client(server: Glmserve) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.openai_url, api_key="any", max_retries=0, timeout=30) as client:
        yield client


def asking(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": [{"role": "user", "content": text}], **more}


def usage_of(prompt: int, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


async def events(http: httpx.AsyncClient, body: dict[str, Any]) -> list[str]:
    """The data of each server-sent event. Every event must be one `data:` line and an empty line."""
    response = await http.post("/chat/completions", json=body)
    assert response.status_code == 200, response.text
    assert response.text.endswith("\n\n")
    lines = response.text[:-2].split("\n\n")
    assert all(line.startswith("data: ") and "\n" not in line for line in lines)
    return [line.removeprefix("data: ") for line in lines]


async def test_whole_answer_has_openais_shape(http: httpx.AsyncClient) -> None:
    response = await http.post("/chat/completions", json=asking("hello big world"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert answer.pop("id").startswith("chatcmpl-")
    assert isinstance(answer.pop("created"), int)
    assert answer == {
        "object": "chat.completion",
        "model": "scripted",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hello big world", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": usage_of(3, 3),
    }


async def test_stream_is_role_then_text_then_finish_then_done(http: httpx.AsyncClient) -> None:
    *chunks, last = await events(http, asking("hello big world", stream=True))
    assert last == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in parsed}) == 1
    assert [list(chunk) for chunk in parsed] == [["id", "object", "created", "model", "choices"]] * 3
    assert [chunk["choices"] for chunk in parsed] == [
        [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
        for delta, reason in (
            ({"role": "assistant", "content": "", "refusal": None}, None),
            ({"content": "hello big world"}, None),  # all of it is ready at once
            ({}, "stop"),
        )
    ]


async def test_usage_asked_for_is_null_in_each_chunk_but_one_without_choices(http: httpx.AsyncClient) -> None:
    body = asking("one two", stream=True, stream_options={"include_usage": True})
    *chunks, last = [json.loads(data) for data in (await events(http, body))[:-1]]
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert last["choices"] == []
    assert last["usage"] == usage_of(2, 2)


async def test_stream_headers_tell_browsers_and_caches_what_it_is(http: httpx.AsyncClient) -> None:
    response = await http.post("/chat/completions", json=asking("hi", stream=True))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("stream", [False, True])
async def test_headers_that_clients_read_are_there(http: httpx.AsyncClient, stream: bool) -> None:
    response = await http.post("/chat/completions", json=asking("hi", stream=stream))
    assert re.fullmatch(r"[0-9]+", response.headers["openai-processing-ms"])
    assert response.headers["x-request-id"]
    assert not [name for name in response.headers if name.startswith(("grpc-", "x-envoy-", "x-glmserve-"))]


async def test_callers_request_id_is_kept(http: httpx.AsyncClient) -> None:
    response = await http.post("/chat/completions", json=asking("hi"), headers={"x-request-id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"


async def test_text_that_is_special_in_json_or_sse_arrives_unchanged(client: openai.AsyncOpenAI) -> None:
    text = 'data:\n\n[DONE]\r\n"quoted\\" 你好 😀 \u2028 <|user|> \x01'
    whole = await client.chat.completions.create(**asking(text))
    assert whole.choices[0].message.content == text
    stream = await client.chat.completions.create(**asking(text, stream=True))
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == text


async def test_words_arrive_one_by_one_while_the_model_still_talks(http: httpx.AsyncClient) -> None:
    async with http.stream("POST", "/chat/completions", json=asking("/slow", stream=True)) as response:
        pieces = response.aiter_bytes()
        for _ in range(3):
            assert b"data: " in await anext(pieces)


@pytest.mark.parametrize("stream", [False, True])
async def test_model_stops_when_the_caller_leaves(server: Glmserve, stream: bool) -> None:
    async with httpx.AsyncClient(timeout=30) as caller, httpx.AsyncClient(base_url=server.admin_url) as admin:
        url = f"{server.openai_url}/chat/completions"
        call = asyncio.create_task(caller.post(url, json=asking("/slow", stream=stream)))
        async with asyncio.timeout(10):
            while await active_calls(admin) == 0:
                pass
            call.cancel()
            while await active_calls(admin) > 0:
                pass


async def active_calls(admin: httpx.AsyncClient) -> int:
    stats = (await admin.get("/stats", params={"filter": r"^cluster\.server\.upstream_rq_active$"})).text
    return int(stats.rpartition(":")[2])


def test_synchronous_client_gets_answer_and_stream(server: Glmserve) -> None:
    with openai.OpenAI(base_url=server.openai_url, api_key="any", max_retries=0, timeout=30) as client:
        whole = client.chat.completions.create(**asking("hello big world"))
        assert whole.choices[0].message.content == "hello big world"
        assert whole.usage
        assert whole.usage.total_tokens == 6
        with client.chat.completions.create(**asking("hello big world", stream=True)) as stream:
            assert [chunk.choices[0].delta.content for chunk in stream] == ["", "hello big world", None]


async def test_clients_stream_helper_accumulates_the_answer(client: openai.AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "hello big world"}]
    async with client.chat.completions.stream(model="scripted", messages=messages) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "hello big world"
    assert final.choices[0].finish_reason == "stop"


async def test_all_forms_of_messages_are_understood(client: openai.AsyncOpenAI) -> None:
    messages: Any = [
        {"role": "developer", "content": "one"},
        {"role": "system", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "three", "name": "Ann"},
        {"role": "assistant", "content": None, "refusal": "four"},
        {"role": "user", "content": [{"type": "text", "text": "five"}, {"type": "text", "text": " six"}]},
    ]
    answer = await client.chat.completions.create(model="scripted", messages=messages)
    assert answer.choices[0].message.content == "five six"


async def test_preferences_nobody_can_honour_are_ignored_by_name(http: httpx.AsyncClient) -> None:
    body = asking("hi", verbosity="low", prediction={"type": "content", "content": "hi"})
    for stream in (False, True):
        response = await http.post("/chat/completions", json={**body, "stream": stream})
        assert response.status_code == 200
        assert response.headers["x-glmserve-ignored"].endswith("prediction, verbosity")


async def test_fields_that_change_nothing_are_accepted(http: httpx.AsyncClient) -> None:
    body = asking(
        "hi", user="u", metadata={"a": "b"}, store=False, service_tier="auto", safety_identifier="s", x_unheard_of=1
    )
    null = {"stop": None, "n": None, "temperature": None, "tools": None, "stream": None, "stream_options": None}
    response = await http.post("/chat/completions", json={**body, **null})
    assert response.status_code == 200
    assert "x-glmserve-ignored" not in response.headers


async def test_models_are_listed_and_found_by_id(client: openai.AsyncOpenAI) -> None:
    listed = (await client.models.list()).data
    assert {"tiny-glm4", "scripted"} <= {model.id for model in listed}
    for model in listed:
        assert (model.object, model.owned_by) == ("model", "glmserve")
        assert await client.models.retrieve(model.id) == model

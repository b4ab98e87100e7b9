"""Failures over HTTP: OpenAI's error object, its four keys always, and the headers that steer retries."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, ClassVar

import grpc
import httpx
import openai
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from running import Glmserve

from glmserve.v1 import chat_pb2, error_pb2, model_pb2, openai_pb2_grpc, token_pb2
from glmserve_gateway.backend import Backend
from glmserve_gateway.envoy import Envoy
from glmserve_gateway.errors import TABLE, Wording, openai_error
from glmserve_gateway.service import OpenAIServicer


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


def error_in(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert not [name for name in response.headers if name.startswith(("grpc-", "x-glmserve-"))]
    body = response.json()
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


USER = {"role": "user", "content": "hi"}
FUNCTION = {"type": "function", "function": {"name": "f"}}
WRONG_BODIES = [
    pytest.param(b"", None, "not JSON", id="nothing"),
    pytest.param(b'{"model": "scripted",\n "messages": [}', None, "line 2 column 15", id="broken JSON"),
    pytest.param(b"[]", None, "must be a JSON object, not a list", id="a list"),
    pytest.param(b'{"temperature": NaN}', None, "not JSON", id="NaN"),
    pytest.param(b"\xff\xfe", None, "not JSON", id="not UTF-8"),
    pytest.param(b'{"a":' * 65 + b"1" + b"}" * 65, None, "nested deeper than 64", id="deep"),
    pytest.param(b'{"a":' * 5000 + b"1" + b"}" * 5000, None, "not JSON", id="very deep"),
    pytest.param({}, "messages", "messages is required", id="no messages"),
    pytest.param({"messages": []}, "messages", "messages must hold at least one message", id="empty messages"),
    pytest.param({"messages": "hi"}, "messages", 'must be a list, not a string ("hi")', id="messages as a string"),
    pytest.param({"messages": ["hi"]}, "messages[0]", "must be an object", id="message as a string"),
    pytest.param({"messages": [{"content": "a"}]}, "messages[0].role", "is required", id="no role"),
    pytest.param(
        {"messages": [USER, {"role": "robot", "content": "a"}]},
        "messages[1].role",
        'must be one of system, developer, user, assistant, tool, function, not "robot"',
        id="unknown role",
    ),
    pytest.param({"messages": [{"role": "user"}]}, "messages[0].content", "is required", id="no content"),
    pytest.param({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "one part", id="no parts"),
    pytest.param(
        {"messages": [{"role": "user", "content": [{"type": "txt"}]}]},
        "messages[0].content[0].type",
        'not "txt"',
        id="unknown part",
    ),
    pytest.param(
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
        "messages[0].content[0].text",
        "must be a string, not a number (1)",
        id="text that is none",
    ),
    pytest.param(
        {"messages": [{"role": "tool", "content": "1"}]},
        "messages[0].tool_call_id",
        "is required",
        id="tool without id",
    ),
    pytest.param(
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}]}
            ]
        },
        "messages[0].content[0].image_url.url",
        "not valid base64",
        id="bad base64",
    ),
    pytest.param({"messages": [USER], "model": 7}, "model", "must be a string, not a number (7)", id="model as number"),
    pytest.param(
        {"messages": [USER], "temperature": "hot"}, "temperature", 'must be a number, not a string ("hot")', id="words"
    ),
    pytest.param({"messages": [USER], "temperature": True}, "temperature", "must be a number", id="a boolean"),
    pytest.param({"messages": [USER], "stream": "yes"}, "stream", "must be a boolean", id="a string as boolean"),
    pytest.param({"messages": [USER], "n": -1}, "n", "n must be at least 1, not -1", id="negative n"),
    pytest.param(
        {"messages": [USER], "max_tokens": -3}, "max_tokens", "max_tokens must be at least 1, not -3", id="negative"
    ),
    pytest.param({"messages": [USER], "max_tokens": 0}, "max_tokens", "max_tokens must be at least 1", id="zero"),
    pytest.param({"messages": [USER], "max_tokens": 2**40}, "max_tokens", "at most 4294967295", id="too large"),
    pytest.param({"messages": [USER], "max_tokens": 1.5}, "max_tokens", "must be an integer", id="a fraction"),
    pytest.param({"messages": [USER], "seed": 10**30}, "seed", "at most 9223372036854775807", id="huge seed"),
    pytest.param({"messages": [USER], "temperature": 3}, "temperature", "2", id="temperature out of range"),
    pytest.param({"messages": [USER], "stop": [1]}, "stop[0]", "must be a string", id="stop with a number"),
    pytest.param({"messages": [USER], "logit_bias": {"x": 1}}, "logit_bias", "token ids", id="bias for no token"),
    pytest.param(
        {"messages": [USER], "max_tokens": 1, "max_completion_tokens": 2},
        "max_tokens",
        "must not differ",
        id="twice",
    ),
    pytest.param(
        {"messages": [USER], "stream": False, "stream_options": {"include_usage": True}},
        "stream_options",
        "allowed only with",
        id="options of no stream",
    ),
    pytest.param(
        {"messages": [USER], "tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
        "tools[0].function.parameters",
        "must be an object",
        id="parameters as a list",
    ),
    pytest.param({"messages": [USER], "tool_choice": "maybe"}, "tool_choice", "none, auto, required", id="tool choice"),
    pytest.param(
        {
            "messages": [USER],
            "tools": [FUNCTION],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [FUNCTION] * 129}},
        },
        "tool_choice.allowed_tools.tools",
        "tool_choice.allowed_tools.tools may have at most 128 names, not 129",
        id="too many allowed tools",
    ),
    pytest.param(
        {"messages": [USER], "response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        "response_format.json_schema.schema",
        "is required",
        id="no schema",
    ),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("body", "param", "words"), WRONG_BODIES)
async def test_wrong_request_is_400_and_says_where(
    http: httpx.AsyncClient, body: bytes | dict[str, Any], param: str | None, words: str, stream: bool
) -> None:
    if isinstance(body, dict):
        body = json.dumps({"model": "scripted", "stream": stream, **body}).encode()
    response = await http.post("/chat/completions", content=body, headers={"content-type": "application/json"})
    error = error_in(response)
    assert response.status_code == 400
    assert response.headers["x-should-retry"] == "false"
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, None)
    assert words in error["message"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
    ],
)
async def test_what_no_model_can_do_is_refused_by_name(
    http: httpx.AsyncClient, more: dict[str, Any], param: str
) -> None:
    response = await http.post("/chat/completions", json=asking("hi") | more)
    error = error_in(response)
    assert response.status_code == 400
    assert (error["param"], error["code"]) == (param, "unsupported_parameter")


@pytest.mark.parametrize("stream", [False, True])
async def test_unknown_model_is_404_with_its_code(http: httpx.AsyncClient, stream: bool) -> None:
    response = await http.post("/chat/completions", json=asking("hi", model="gpt-9", stream=stream))
    assert response.status_code == 404
    error = error_in(response)
    assert error["code"] == "model_not_found"
    assert "gpt-9" in error["message"]


async def test_unknown_model_is_404_when_looked_up(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("no/such model")
    assert caught.value.code == "model_not_found"
    assert "no/such model" in caught.value.message


async def test_a_missing_content_type_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post("/chat/completions", content=json.dumps(asking("hi")))
    assert response.status_code == 400
    assert "must be application/json, not missing" in response.json()["error"]["message"]


@pytest.mark.parametrize("name", ["%FF", "%C0%AF", "%ED%A0%80", "a%E6%99", "%E6%99%BA%FF", "a/b%FF"])
async def test_a_model_name_that_is_no_text_is_refused(http: httpx.AsyncClient, name: str) -> None:
    response = await http.get(f"/models/{name}")
    assert response.status_code == 400
    assert "bad UTF-8" in error_in(response)["message"]


@pytest.mark.parametrize("name", ["智谱", "é", "😀 x"])
async def test_a_model_name_of_any_script_is_looked_up(client: openai.AsyncOpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve(name)
    assert caught.value.code == "model_not_found"
    assert name in caught.value.message


async def test_other_content_type_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post(
        "/chat/completions", content=json.dumps(asking("hi")), headers={"content-type": "text/x"}
    )
    assert response.status_code == 400
    assert "application/json" in error_in(response)["message"]


async def test_long_value_in_an_error_is_cut_to_fit_into_headers(http: httpx.AsyncClient) -> None:
    response = await http.post("/chat/completions", json=asking("hi", model="智谱" * 50_000))
    assert response.status_code == 404
    error_in(response)
    assert len(response.content) <= 4096


@pytest.mark.parametrize("stream", [False, True])
async def test_failure_before_the_first_word_is_a_real_status(http: httpx.AsyncClient, stream: bool) -> None:
    response = await http.post("/chat/completions", json=asking("/fail", stream=stream))
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    error = error_in(response)
    assert (error["type"], error["code"]) == ("server_error", None)


async def test_failure_after_the_first_word_is_an_event_and_no_done(http: httpx.AsyncClient) -> None:
    response = await http.post("/chat/completions", json=asking("/fail after 2", stream=True))
    assert response.status_code == 200
    *chunks, last, end = response.text.split("\n\n")
    assert end == ""
    assert "".join(json.loads(chunk.removeprefix("data: "))["choices"][0]["delta"]["content"] for chunk in chunks) == (
        "word word"
    )
    error = json.loads(last.removeprefix("data: "))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "[DONE]" not in response.text


async def test_client_raises_on_a_failure_in_the_middle_of_a_stream(client: openai.AsyncOpenAI) -> None:
    words = []

    async def listen() -> None:
        async for chunk in await client.chat.completions.create(**asking("/fail after 2", stream=True)):
            words.append(chunk.choices[0].delta.content)  # noqa: PERF401 -- kept when the stream raises

    with pytest.raises(openai.APIError):
        await listen()
    assert "".join(words) == "word word"


async def test_client_raises_its_own_kinds_of_error(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**asking("hi", temperature=9))
    assert (caught.value.param, caught.value.type) == ("temperature", "invalid_request_error")
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(**asking("/fail", stream=True))


class Failing:
    """A backend whose every call fails with the status that the model's name encodes."""

    asked: ClassVar = 0

    async def create_chat_completion(
        self, *requests: chat_pb2.ChatCompletionRequest
    ) -> chat_pb2.CreateChatCompletionResponse:
        raise LookupError(requests[0].model)

    async def stream_chat_completion(
        self, *requests: chat_pb2.ChatCompletionRequest
    ) -> AsyncGenerator[list[chat_pb2.StreamChatCompletionResponse], None]:
        yield [chat_pb2.StreamChatCompletionResponse(started=chat_pb2.Started(id="chatcmpl-1"))]
        raise LookupError(requests[0].model)

    async def tokenize(self, request: token_pb2.TokenizeRequest, /) -> token_pb2.TokenizeResponse:
        raise LookupError(request.chat.model)

    async def detokenize(self, request: token_pb2.DetokenizeRequest, /) -> token_pb2.DetokenizeResponse:
        raise LookupError(request.model)

    def list_models(self) -> list[model_pb2.Model]:
        return []

    def get_model(self, name: str, /) -> model_pb2.Model:
        raise LookupError(name)

    def status_of(self, error: Exception, /) -> status_pb2.Status:
        Failing.asked += 1
        code, _, reason = error.args[0].partition(" ")
        status = status_pb2.Status(code=int(code), message=reason)
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="glmserve"))
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(2500)
        status.details.add().Pack(retry)
        return status


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def failing() -> AsyncIterator[str]:
    """The URL of a server that always fails."""
    backend: Backend = Failing()
    server = grpc.aio.server()
    openai_pb2_grpc.add_OpenAIServiceServicer_to_server(OpenAIServicer(backend), server)
    alive = health.aio.HealthServicer()
    await alive.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(alive, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Envoy(grpc=[f"127.0.0.1:{port}"]) as envoy:
        yield envoy.openai_url
    await server.stop(None)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("kind", "wording"), TABLE.items(), ids=str)
async def test_every_failure_of_the_contract_is_worded_as_in_the_table(
    failing: str, kind: tuple[grpc.StatusCode, error_pb2.ErrorReason.ValueType], wording: Wording, stream: bool
) -> None:
    reason = error_pb2.ErrorReason.Name(kind[1])
    body = asking("hi", model=f"{kind[0].value[0]} {reason}", stream=stream)
    async with httpx.AsyncClient(timeout=30) as client:
        response = await client.post(f"{failing}/chat/completions", json=body)
    assert response.status_code == wording.http_status
    expected = {"message": reason, "type": wording.type, "param": None, "code": wording.code}
    assert error_in(response) == expected
    steering = (response.headers.get("x-should-retry"), response.headers.get("retry-after"))
    assert steering == ((None, "3") if wording.retry else ("false", None))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", ["4 ERROR_REASON_DEADLINE_EXCEEDED", "13 ERROR_REASON_INTERNAL"])
async def test_client_leaves_a_failure_that_would_come_again(failing: str, kind: str) -> None:
    before = Failing.asked
    async with openai.AsyncOpenAI(base_url=failing, api_key="any", max_retries=2, timeout=30) as client:
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(**asking("hi", model=kind))
    assert Failing.asked - before == 1


def test_unavailable_without_a_time_to_wait_will_not_pass() -> None:
    status = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="no")
    assert openai_error(status).headers == (("x-should-retry", "false"),)

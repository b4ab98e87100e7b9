"""The face of Zhipu's SDKs: what is on the wire, and what the real packages make of it."""

import base64
import importlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from chain import write_chain
from google.protobuf import json_format
from paintings import encoded, painted
from running import MODEL, SEEING, Glmserve
from sdks import shown, with_sdk
from test_tools import PARIS, SAYS, WEATHER

from glmserve.v1 import chat_pb2, error_pb2
from glmserve_gateway.errors import InvalidRequest
from glmserve_gateway.zhipu import CODES, ZHIPU, ZhipuChunks, zhipu_error

USER = [{"role": "user", "content": "hello big world"}]


def url(server: Glmserve) -> str:
    return f"{server.edge_url}/api/paas/v4"


@pytest.fixture
async def http(server: Glmserve) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url(server), timeout=30) as client:
        yield client


def request_of(**body: Any) -> dict[str, Any]:
    """What the contract holds of a request, without its messages, in protobuf's JSON."""
    call = ZHIPU.parse(json.dumps({"messages": USER, **body}).encode())
    request = json_format.MessageToDict(call.request, preserving_proto_field_name=True)
    del request["messages"]
    return request


async def post(http: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await http.post("/chat/completions", json={"model": "scripted", "messages": USER, **body})


def test_fields_of_zhipu_reach_the_contract() -> None:
    assert request_of(user_id="u-1", thinking={"type": "disabled"}, reasoning_effort="high", tool_stream=None) == {
        "user": "u-1",
        "reasoning": {"enabled": False, "effort": "EFFORT_HIGH"},
    }
    assert request_of(do_sample=False, temperature=0.5, top_p=0.5) == {"temperature": 0.0}
    assert request_of(do_sample=True, temperature=0.5, top_p=0.5) == {"temperature": 0.5, "top_p": 0.5}
    off = {"type": "web_search", "web_search": {"enable": False}}
    assert request_of(tools=[off, {"type": "function", "function": {"name": "f"}}]) == {
        "tools": [{"function": {"name": "f"}}]
    }


async def test_a_request_id_is_echoed_if_it_is_sane(http: httpx.AsyncClient) -> None:
    assert (await post(http, request_id="mine-1")).json()["request_id"] == "mine-1"
    for request_id in (None, "two\nlines", "x" * 1000):
        answer = (await post(http, request_id=request_id)).json()
        assert answer["request_id"] == answer["id"]
    streamed = (await post(http, request_id="mine-1", stream=True)).text
    assert streamed.count('"request_id":"mine-1"') == streamed.count("data: {")


async def test_usage_comes_in_the_last_chunk_with_its_choice(http: httpx.AsyncClient) -> None:
    *lines, done, end = (await post(http, stream=True)).text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    *others, last = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert all("usage" not in chunk for chunk in others)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["total_tokens"] == 6


async def test_what_cannot_be_checked_is_ignored_by_name(http: httpx.AsyncClient) -> None:
    response = await post(http, sensitive_word_check={"type": "ALL", "status": "ENABLE"}, meta={"user_info": "a"})
    assert response.status_code == 200
    assert response.headers["x-glmserve-ignored"] == "sensitive_word_check"


@pytest.mark.parametrize(
    ("more", "status", "code", "words"),
    [
        ({"temperature": 1.5}, 400, "1214", "temperature must be from 0 to 1"),
        ({"top_p": 2}, 400, "1214", "top_p must be from 0 to 1"),
        ({"tools": [{"type": "web_search", "web_search": {"enable": True}}]}, 400, "1214", "tools[0].type"),
        ({"tools": [{"type": "retrieval", "retrieval": {}}]}, 400, "1214", "tools[0].type must not be retrieval"),
        ({"extra": {"target": {}}}, 400, "1214", "extra is not supported"),
        ({"messages": None}, 400, "1214", "messages is required"),
        ({"model": "glm-9"}, 400, "1211", "glm-9"),
        ({"messages": [{"role": "user", "content": "/fail"}]}, 503, "1230", ""),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_a_number_and_a_message(
    http: httpx.AsyncClient, more: dict[str, Any], status: int, code: str, words: str, stream: bool
) -> None:
    response = await post(http, stream=stream, **more)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["code"] == code
    assert words in error["message"]


async def test_form_and_origin_count_as_for_openai(http: httpx.AsyncClient) -> None:
    refused = await http.post("/chat/completions", content="{}", headers={"content-type": "text/plain"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "1210")
    preflight = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    allowed = await http.options("/chat/completions", headers=preflight)
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert (await http.get("/chat/completions")).status_code == 405
    assert (await http.get("/models")).status_code == 404


def test_every_reason_has_its_number() -> None:
    at_fault = {error_pb2.ERROR_REASON_INVALID_ARGUMENT, error_pb2.ERROR_REASON_UNSUPPORTED}
    assert set(CODES) == set(error_pb2.ErrorReason.values()) - {error_pb2.ERROR_REASON_UNSPECIFIED} - at_fault
    assert json.loads(zhipu_error(InvalidRequest("x" * 9999, "y" * 9999).status).body)["error"]["code"] == "1214"


@pytest.mark.parametrize("tool_stream", [False, True])
def test_a_call_comes_whole_unless_its_pieces_are_asked_for(tool_stream: bool) -> None:
    chunks = ZhipuChunks(chat_pb2.Started(id="chatcmpl-1"), tool_stream=tool_stream, more={})
    pieces = [
        chat_pb2.ToolCallDelta(index=0, id="call_0", name="f", arguments_json="{"),
        chat_pb2.ToolCallDelta(index=0, arguments_json="}"),
        chat_pb2.ToolCallDelta(index=1, id="call_1", name="g", arguments_json="{}"),
    ]
    events = [chat_pb2.StreamChatCompletionResponse(tool_call=piece) for piece in pieces]
    finished = chat_pb2.Finished(finish_reason=chat_pb2.FINISH_REASON_TOOL_CALLS)
    events.append(chat_pb2.StreamChatCompletionResponse(finished=finished))
    events.append(chat_pb2.StreamChatCompletionResponse(usage=chat_pb2.Usage()))
    lines = chunks.render_all(events).split(b"\n\n")[:-2]
    made = [json.loads(line.removeprefix(b"data: "))["choices"][0]["delta"].get("tool_calls") for line in lines]
    arguments = [calls[0]["function"]["arguments"] for calls in made if calls]
    assert arguments == (["{", "}", "{}"] if tool_stream else ["{}", "{}"])
    assert made[-1] is None


def test_the_arguments_of_a_long_call_come_whole() -> None:
    chunks = ZhipuChunks(chat_pb2.Started(id="chatcmpl-1"), tool_stream=False, more={})
    pieces = [chat_pb2.ToolCallDelta(index=0, id="call_0", name="f", arguments_json='"')]
    pieces += [chat_pb2.ToolCallDelta(index=0, arguments_json="你好，世界")] * 30_000
    events = [chat_pb2.StreamChatCompletionResponse(tool_call=piece) for piece in pieces]
    events.append(chat_pb2.StreamChatCompletionResponse(usage=chat_pb2.Usage()))
    assert "你好，世界" * 30_000 in chunks.render_all(events).decode()


# --- The real packages -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glmserve]:
    """A server with a model that talks, one that sees, one that calls a function, and one that obeys."""
    caller: Path = write_chain(tmp_path_factory.mktemp("chains") / "call.bin", SAYS["call"])
    names = [argument for model in (MODEL, SEEING, str(caller), "scripted") for argument in ("--model", model)]
    with Glmserve("up", "--workers", "1", *names) as running:
        yield running


@pytest.fixture(params=["zai", "zai: ZhipuAiClient", "zhipuai", "a key as a token"])
def client(request: pytest.FixtureRequest, models: Glmserve) -> Iterator[Any]:
    """Every client of both packages, with nothing but its base URL set."""
    zai = pytest.importorskip("zai", reason="left out: zai-sdk is not installed")
    zhipuai = pytest.importorskip("zhipuai", reason="left out: zhipuai is not installed")
    kinds = {"zai": zai.ZaiClient, "zai: ZhipuAiClient": zai.ZhipuAiClient}
    kind = kinds.get(request.param, zhipuai.ZhipuAI)
    more = {"disable_token_cache": False} if request.param == "a key as a token" else {}
    with kind(base_url=url(models), api_key="id.secret", **more) as client:
        yield client


def asked(question: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": question}], **more}


@with_sdk
def test_clients_read_a_whole_answer(client: Any) -> None:
    question = asked("What is the capital of France?", temperature=0, request_id="mine-1", user_id="ann")
    answer = client.chat.completions.create(**question)
    assert answer.choices[0].message.content == "The capital of France is Paris."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.request_id == "mine-1"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@with_sdk
def test_clients_read_a_stream(client: Any) -> None:
    stream = client.chat.completions.create(**asked("What is the capital of France?", do_sample=False, stream=True))
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "The capital of France is Paris."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens > 0


@with_sdk
def test_clients_read_calls(client: Any) -> None:
    question: dict[str, Any] = asked(
        "What is the weather in Paris?", tools=[WEATHER], tool_choice="auto", temperature=0
    )
    question["model"] = "call"
    choice = client.chat.completions.create(**question).choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert (call.function.name, call.function.arguments) == PARIS
    chunks = list(client.chat.completions.create(**question, stream=True))
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert [(call.function.name, call.function.arguments) for call in calls] == [PARIS]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@with_sdk
def test_clients_show_pictures(client: Any) -> None:
    picture = encoded(painted("ellipse", "red", (224, 224)), "PNG")
    image = {"url": "data:image/png;base64," + base64.b64encode(picture).decode()}
    content = [{"type": "image_url", "image_url": image}, {"type": "text", "text": "What is in the picture?"}]
    messages = [{"role": "user", "content": content}]
    answer = client.chat.completions.create(model=SEEING, messages=messages, temperature=0)
    assert "red" in answer.choices[0].message.content
    assert ";base64," not in image["url"]  # the package has made it bare


@with_sdk
def test_errors_are_of_the_packages_own_kinds(client: Any) -> None:
    client.max_retries = 0
    create = client.chat.completions.create
    package = importlib.import_module(f"{type(client).__module__.partition('.')[0]}.core")
    with pytest.raises(package.APIRequestFailedError, match='"1211"'):
        create(model="none", messages=USER)
    with pytest.raises(package.APIRequestFailedError, match="only Zhipu runs that tool"):
        create(**asked("hi", tools=[{"type": "web_search", "web_search": {"enable": True}}]))
    with pytest.raises(package.APIRequestFailedError, match='"1261"'):
        create(**asked("word " * 5000))
    failing = {**asked("/fail"), "model": "scripted"}
    with pytest.raises(package.APIServerFlowExceedError, match='"1230"'):
        create(**failing)
    stream = create(**{**asked("/fail after 2", stream=True), "model": "scripted"})
    with pytest.raises(package.APIResponseError) as caught:
        list(stream)
    assert caught.value.json_data["code"] == "1230"


@with_sdk
def test_model_stops_when_the_client_leaves(client: Any, models: Glmserve) -> None:
    stream = client.chat.completions.create(**{**asked("/slow", stream=True), "model": "scripted"})
    next(stream)
    with httpx.Client(base_url=models.admin_url) as admin:
        assert active(admin) > 0
        stream.response.close()
        while active(admin) > 0:
            pass


@with_sdk
def test_example_prints_the_answer(models: Glmserve) -> None:
    pytest.importorskip("zai", reason="left out: zai-sdk is not installed")
    assert shown("zai", models) == ["The capital of France is Paris.", "mine-1"]


def active(admin: httpx.Client) -> int:
    stats = admin.get("/stats", params={"filter": r"^cluster\.server\.upstream_rq_active$"}).text
    return int(stats.rpartition(":")[2])


def test_functions_are_called_in_the_old_form_in_a_stream_too() -> None:
    request = {"functions": [{"name": "f"}], "stream": True, "messages": [{"role": "user", "content": "a"}]}
    call = ZHIPU.parse(json.dumps(request).encode())
    chunks = ZHIPU.chunks(chat_pb2.Started(id="chatcmpl-1"), call)
    finished = chat_pb2.Finished(finish_reason=chat_pb2.FINISH_REASON_TOOL_CALLS)
    events = [
        *(chat_pb2.StreamChatCompletionResponse(tool_call=piece) for piece in PIECES),
        chat_pb2.StreamChatCompletionResponse(finished=finished),
        chat_pb2.StreamChatCompletionResponse(usage=chat_pb2.Usage()),
    ]
    told = chunks.render_all(events).decode()
    assert '"function_call":{"name":"f"' in told
    assert '"finish_reason":"function_call"' in told
    assert "tool_calls" not in told


PIECES = [
    chat_pb2.ToolCallDelta(index=0, id="call_0", name="f", arguments_json='{"a":'),
    chat_pb2.ToolCallDelta(index=0, arguments_json=" 1}"),
    chat_pb2.ToolCallDelta(index=1, id="call_1", name="g", arguments_json="{}"),
]

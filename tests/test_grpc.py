"""The typed contract, through the stubs that users generate."""

from collections.abc import Iterator
from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from running import MODEL, Glmserve

from glmserve.v1 import error_pb2, message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest, JsonSchemaFormat, ResponseFormat, StreamChatCompletionResponse
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message
from glmserve.v1.model_pb2 import GetModelRequest, ListModelsRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve.v1.token_pb2 import CountTokensRequest
from glmserve.v1.token_pb2_grpc import TokenServiceStub
from glmserve.v1.tool_pb2 import FunctionTool, Tool


# pytest-grpc's fixtures, pointed at the running server.
@pytest.fixture(scope="module")
def grpc_addr(server: Glmserve) -> str:
    return server.grpc_address


@pytest.fixture(scope="module")
def grpc_server() -> None:
    """The server runs already."""


@pytest.fixture(scope="module")
def grpc_create_channel(grpc_addr: str) -> object:
    return lambda *_: grpc.insecure_channel(grpc_addr)


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[ChatServiceStub]:
    return ChatServiceStub


@pytest.fixture(params=["server", "edge"])
def channel(request: pytest.FixtureRequest, server: Glmserve) -> Iterator[grpc.Channel]:
    """gRPC straight to the server, and through Envoy."""
    address = server.grpc_address if request.param == "server" else server.edge_url.removeprefix("http://")
    with grpc.insecure_channel(address) as channel:
        yield channel


def question(text: str, model: str = MODEL) -> ChatCompletionRequest:
    """One user message, answered greedily."""
    message = Message(role=message_pb2.ROLE_USER, content=[ContentPart(text=text)])
    return ChatCompletionRequest(model=model, messages=[message], temperature=0)


def failed(caught: pytest.ExceptionInfo[grpc.RpcError]) -> grpc.Call:
    """The failed call, which the error is as well."""
    return cast("grpc.Call", caught.value)


def test_the_stub_fixture_reaches_the_server(grpc_stub: ChatServiceStub) -> None:
    response = grpc_stub.CreateChatCompletion(question("What is the capital of France?"))
    assert "Paris" in response.choices[0].message.content[0].text
    assert response.choices[0].message.role == message_pb2.ROLE_ASSISTANT
    assert response.id.startswith("chatcmpl-")


def test_a_stream_has_the_order_of_the_contract(channel: grpc.Channel) -> None:
    events = list(ChatServiceStub(channel).StreamChatCompletion(question("What is the capital of France?")))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "started"
    assert set(kinds[1:-2]) == {"text"}
    assert kinds[-2:] == ["finished", "usage"]
    started = events[0].started
    assert started.id.startswith("chatcmpl-")
    assert started.model == MODEL
    assert started.prompt_tokens == events[-1].usage.prompt_tokens > 0
    assert events[-2].finished.WhichOneof("stopped_by") == "stop_token"


def test_ids_are_unique(channel: grpc.Channel) -> None:
    stub = ChatServiceStub(channel)
    assert len({stub.CreateChatCompletion(question("hi", "scripted")).id for _ in range(5)}) == 5


def test_prompt_tokens_are_those_that_count_tokens_counts(channel: grpc.Channel) -> None:
    chat = question("How many tokens is this? 这是多少？ 🙂")
    counted = TokenServiceStub(channel).CountTokens(CountTokensRequest(chat=chat, include_token_ids=True))
    assert counted.prompt_tokens == len(counted.token_ids)
    assert counted.context_length == 2048
    assert ChatServiceStub(channel).CreateChatCompletion(chat).usage.prompt_tokens == counted.prompt_tokens
    without = TokenServiceStub(channel).CountTokens(CountTokensRequest(chat=chat))
    assert (without.prompt_tokens, list(without.token_ids)) == (counted.prompt_tokens, [])


def test_models_say_what_they_can_do(channel: grpc.Channel) -> None:
    stub = ModelServiceStub(channel)
    tiny, scripted = stub.ListModels(ListModelsRequest()).models
    assert (tiny.id, tiny.engine, tiny.context_length) == (MODEL, "chatglm", 2048)
    assert tiny.capabilities.top_k
    assert not tiny.capabilities.seed
    assert scripted.engine == "scripted"
    assert stub.GetModel(GetModelRequest(model=MODEL)).model == tiny


def test_an_unknown_model_is_not_found(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ModelServiceStub(channel).GetModel(GetModelRequest(model="gpt-9"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_an_error_carries_its_reason_and_the_field(channel: grpc.Channel) -> None:
    request = question("Hello!")
    request.messages[0].content[0].ClearField("text")
    with pytest.raises(grpc.RpcError) as caught:
        ChatServiceStub(channel).CreateChatCompletion(request)
    status = rpc_status.from_call(failed(caught))
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    reason = error_pb2.ErrorReason.Name(error_pb2.ERROR_REASON_INVALID_ARGUMENT)
    assert (info.domain, info.reason) == ("glmserve", reason)
    assert bad.field_violations[0].field == "messages[0].content[0]"


HALF = '{"type": "object", "description": "\\ud800"}'


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_numbers_that_json_has_not_are_refused_in_a_schema(channel: grpc.Channel, number: str) -> None:
    request = question("Hello!")
    request.tools.append(Tool(function=FunctionTool(name="f", parameters_json=f'{{"default": {number}}}')))
    with pytest.raises(grpc.RpcError, match="parameters_json is not JSON") as caught:
        ChatServiceStub(channel).CreateChatCompletion(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (
            {"tools": [Tool(function=FunctionTool(name="f", parameters_json=HALF))]},
            "tools[0].function.parameters_json",
        ),
        (
            {"tools": [Tool(function=FunctionTool(name="f", parameters_json='{"\\uDC00": 1}'))]},
            "tools[0].function.parameters_json",
        ),
        (
            {"response_format": ResponseFormat(json_schema=JsonSchemaFormat(name="s", schema_json=HALF))},
            "response_format.json_schema.schema_json",
        ),
    ],
)
def test_half_a_character_in_a_schema_is_refused(channel: grpc.Channel, fields: dict[str, Any], field: str) -> None:
    request = question("Hello!")
    request.MergeFrom(ChatCompletionRequest(**fields))
    with pytest.raises(grpc.RpcError, match=r"has half a character, \\u(d800|dc00)") as caught:
        ChatServiceStub(channel).CreateChatCompletion(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in str(failed(caught).details())


def test_a_character_in_two_halves_in_a_schema_is_whole(channel: grpc.Channel) -> None:
    request = question("Hello!")
    schema = '{"type": "object", "description": "\\ud83d\\ude00"}'
    request.tools.append(Tool(function=FunctionTool(name="f", parameters_json=schema)))
    assert ChatServiceStub(channel).CreateChatCompletion(request).choices


def test_without_a_model_the_choice_must_be_clear(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError, match="model must name one of: tiny-glm4, scripted"):
        ChatServiceStub(channel).CreateChatCompletion(question("Hello!", model=""))


def test_a_deadline_ends_a_call(channel: grpc.Channel) -> None:
    call = ChatServiceStub(channel).StreamChatCompletion(question("/slow", "scripted"), timeout=0.3)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_an_error_in_the_middle_comes_after_the_words_before_it(channel: grpc.Channel) -> None:
    texts: list[str] = []
    call: Iterator[StreamChatCompletionResponse]
    call = ChatServiceStub(channel).StreamChatCompletion(question("/fail after 2", "scripted"))
    with pytest.raises(grpc.RpcError, match="failed after 2 words") as caught:
        texts.extend(event.text.text for event in call if event.HasField("text"))
    assert "".join(texts) == "word word"
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in rpc_status.from_call(failed(caught)).details)


def test_the_request_id_is_taken_over_or_made(channel: grpc.Channel) -> None:
    stub = ChatServiceStub(channel)
    _, call = stub.CreateChatCompletion.with_call(question("hi", "scripted"), metadata=(("x-request-id", "my-id"),))
    assert dict(call.trailing_metadata())["x-request-id"] == "my-id"
    _, call = stub.CreateChatCompletion.with_call(question("hi", "scripted"))
    assert dict(call.trailing_metadata())["x-request-id"] not in ("", "my-id")


def test_the_log_has_a_line_per_call_without_its_text(server: Glmserve, grpc_stub: ChatServiceStub) -> None:
    request = question("What is the capital of France, xylophone?")
    _, call = grpc_stub.CreateChatCompletion.with_call(request)
    request_id = str(dict(call.trailing_metadata())["x-request-id"])
    grpc_stub.CreateChatCompletion(question("hi", "scripted"))  # the line is written before the next call is answered
    (line,) = [line for line in server.log.splitlines() if request_id in line]
    assert "ChatService/CreateChatCompletion OK" in line
    assert f"model={MODEL}" in line
    assert "completion_tokens=" in line
    assert "xylophone" not in server.log


def test_health_is_serving(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "glmserve.v1.ChatService", "glmserve.v1.OpenAIService"):
        status = stub.Check(health_pb2.HealthCheckRequest(service=service)).status  # type: ignore[attr-defined]
        assert status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    services = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    names = ("Chat", "Model", "Token", "OpenAI")
    assert {f"glmserve.v1.{name}Service" for name in names} | {"grpc.health.v1.Health"} <= services


async def test_asynchronous_stubs_work_the_same(server: Glmserve) -> None:
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = ChatServiceStub(channel).StreamChatCompletion(question("What is the capital of France?"))
        text = "".join([event.text.text async for event in call])
    assert "Paris" in text


@pytest.mark.parametrize("method", ["ChatService/CreateChatCompletion", "ModelService/ListModels"])
def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel, method: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        cast("Any", channel.unary_unary(f"/glmserve.v1.{method}"))(b"\xff", timeout=30)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    error = cast("grpc.Call", refused.value)
    assert "the request is no message of this method" in error.details()
    assert "x-request-id" in dict(error.trailing_metadata())


@pytest.mark.parametrize("text", [" " * 200_000 + "end", "/count " + "9" * 5000, "/fail after " + "9" * 5000])
def test_the_scripted_model_says_any_text_back(channel: grpc.Channel, text: str) -> None:
    reply = ChatServiceStub(channel).CreateChatCompletion(question(text, "scripted"), timeout=30)
    assert reply.choices[0].message.content[0].text == text

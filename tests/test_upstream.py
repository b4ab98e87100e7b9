"""What is sent to an upstream, and what becomes of its answer. The suites of chats and tools run over one as well."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc
import httpx
import openai
import pytest
from faces import Face
from google.protobuf.json_format import ParseDict
from paintings import encoded as drawn
from paintings import painted
from running import Glmserve
from upstreams import DONE, HEAD, HELLO, Upstream, answer, chunk, event, failure, usage

from glmserve.v1.chat_pb2 import ChatCompletionRequest, StreamChatCompletionResponse
from glmserve.v1.content_pb2 import Image
from glmserve.v1.model_pb2 import GetModelRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve.v1.token_pb2 import CountTokensRequest
from glmserve.v1.token_pb2_grpc import TokenServiceStub
from glmserve_gateway.completions import COMPLETIONS
from glmserve_gateway.parse import parse_chat_call
from glmserve_server.configuration.flags import read_flags
from glmserve_server.configuration.load import load
from glmserve_server.engines.upstream import zhipu
from glmserve_server.engines.upstream.addresses import Addresses
from glmserve_server.engines.upstream.base import base_url, root_url
from glmserve_server.engines.upstream.engine import UpstreamEngine
from glmserve_server.engines.upstream.options import Preset, UpstreamOptions
from glmserve_server.engines.upstream.request import chat_body, completion_body, encoded
from glmserve_server.errors import (
    ContextLengthExceeded,
    InvalidArgument,
    ModelNotFound,
    ModelUnavailable,
    QueueFull,
    Unsupported,
    WorkerDied,
)
from glmserve_server.fates import settle
from glmserve_server.fold import Fold

Way = Callable[[Glmserve], AbstractContextManager[Face]]

NAME = "tiny-glm4v"
HELLO_REQUEST: dict[str, Any] = {"messages": [{"role": "ROLE_USER", "content": [{"text": "Hello!"}]}]}
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello!"}]}
SCHEMA = (
    '{"type":"object","properties":{"z":{"type":"integer","maximum":12345678901234567890123},"a":{"type":"string"}}}'
)
PICTURE = drawn(painted("ellipse", "red"), "PNG")
FULL: list[dict[str, Any]] = [
    HELLO_REQUEST,
    {
        "messages": [
            {"role": "ROLE_SYSTEM", "content": [{"text": "Be brief."}]},
            {"role": "ROLE_USER", "content": [{"text": "Grüße 你好 👋 \u2028"}], "name": "ada"},
            {
                "role": "ROLE_ASSISTANT",
                "reasoning_content": "Hm.",
                "tool_calls": [{"id": "a", "name": "f", "arguments_json": '{"x": 1.0}'}],
            },
            {"role": "ROLE_TOOL", "content": [{"text": "sunny"}], "tool_call_id": "a"},
            {"role": "ROLE_ASSISTANT", "content": [{"text": "It is sunny."}]},
        ],
        "tools": [
            {"function": {"name": "f", "description": "d", "parameters_json": SCHEMA, "strict": True}},
            {"function": {"name": "g"}},
            {"builtin": "BUILTIN_TOOL_COGVIEW"},
        ],
        "tool_choice": {"allowed_tools": {"mode": "MODE_REQUIRED", "function_names": ["f", "g"]}},
        "parallel_tool_calls": False,
    },
    {
        **HELLO_REQUEST,
        "max_completion_tokens": 7,
        "stop": ["a", "b"],
        "n": 3,
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 0,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": 0,
        "frequency_penalty": -1,
        "seed": -(1 << 63),
        "logit_bias": {"7": -100, "8": 0.5},
        "ignore_eos": True,
        "logprobs": True,
        "top_logprobs": 20,
        "reasoning": {"enabled": False, "effort": "EFFORT_HIGH"},
        "prompt_cache_key": "k",
        "user": "u",
        "response_format": {"json_schema": {"name": "n", "description": "d", "schema_json": SCHEMA, "strict": False}},
    },
    {
        **HELLO_REQUEST,
        "tools": [{"function": {"name": "g"}}],
        "tool_choice": {"function_name": "g"},
        "response_format": {"json_object": {}},
    },
    {**HELLO_REQUEST, "tools": [{"function": {"name": "g"}}], "tool_choice": {"mode": "MODE_NONE"}},
]


def made(fields: dict[str, Any]) -> ChatCompletionRequest:
    """A request of the contract."""
    return ParseDict(fields, ChatCompletionRequest())


def with_picture() -> ChatCompletionRequest:
    request = made(HELLO_REQUEST)
    request.messages[0].content.add().image.data = PICTURE
    return request


@pytest.mark.parametrize("fields", FULL)
def test_what_is_sent_says_the_same_in_openai_s_words(fields: dict[str, Any]) -> None:
    request = made(fields)
    sent = parse_chat_call(encoded(chat_body(request, "")))
    assert sent.request == request
    assert sent.stream
    assert sent.include_usage


RAW: list[dict[str, Any]] = [
    {"prompt": {"text": "Once upon\n"}},
    {"prompt": {"token_ids": {"ids": [1, 2, 3]}}, "max_completion_tokens": 3, "temperature": 0, "top_k": 4},
    {
        "prompt": {"text": "a", "add_special_tokens": False},
        "max_completion_tokens": 7,
        "stop": ["a", "b"],
        "n": 3,
        "seed": 5,
        "logit_bias": {"7": -100},
        "logprobs": True,
        "top_logprobs": 0,
        "user": "u",
    },
]


@pytest.mark.parametrize("fields", RAW)
def test_a_raw_prompt_is_sent_in_openai_s_older_words(fields: dict[str, Any]) -> None:
    request = made(fields)
    sent = COMPLETIONS.parse(encoded(completion_body(request, "")))
    assert sent.requests == (request,)
    assert sent.stream
    assert sent.include_usage


def piece(text: str, *, finish: str | None = None, **more: Any) -> bytes:
    """An event of `/completions`."""
    choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None, **more}
    return event({"id": "1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]})


OLD_LOGPROBS: dict[str, list[Any]] = {
    "tokens": ["H", "é"],
    "token_logprobs": [-0.5, None],
    "top_logprobs": [{"H": -0.5, "J": -2.5}, None],
    "text_offset": [0, 1],
}


async def test_what_follows_a_raw_prompt_arrives() -> None:
    script = [HEAD, piece("Hé", logprobs=OLD_LOGPROBS), piece("!", finish="stop", stop_reason="END"), usage(5, 9, 4)]
    with Upstream(b"".join([*script, DONE])) as upstream:
        async with engine(upstream) as running:
            raw = made({"prompt": {"text": "x"}, "logprobs": True, "top_logprobs": 2, "stop": ["END"]})
            reply = folded([event async for event in running.generate(raw)])
        assert upstream.requests[-1][0].startswith(b"POST /v1/completions ")
        assert upstream.body["prompt"] == "x"
        assert upstream.body["max_tokens"] is None
    (choice,) = reply.choices
    assert (choice.message.content[0].text, choice.stop_string) == ("Hé!", "END")
    assert [(one.token, one.bytes, one.logprob) for one in choice.logprobs] == [
        ("H", b"H", -0.5),
        ("é", b"\xc3\xa9", 0),
    ]
    assert [(one.token, one.logprob) for one in choice.logprobs[0].top_logprobs] == [("H", -0.5), ("J", -2.5)]
    assert (reply.usage.prompt_tokens, reply.usage.cached_tokens) == (5, 4)


def test_log_probabilities_have_openai_s_older_form() -> None:
    pieces = [piece("H", logprobs={name: values[:1] for name, values in OLD_LOGPROBS.items()})]
    pieces += [piece("é", logprobs={name: values[1:] for name, values in OLD_LOGPROBS.items()})]
    script = b"".join([HEAD, *pieces, piece("", finish="length"), DONE])
    expected = {
        "text_offset": [0, 1],
        "token_logprobs": [-0.5, 0.0],
        "tokens": ["H", "é"],
        "top_logprobs": [{"H": -0.5, "J": -2.5}, {"é": 0.0}],
    }
    with Upstream(script) as upstream, Glmserve("up", "--upstream", f"m={upstream.url}") as running:
        body = {"model": "m", "prompt": "x", "logprobs": 2}
        choice = httpx.post(f"{running.openai_url}/completions", json=body).json()["choices"][0]
        assert choice == {"index": 0, "text": "Hé", "finish_reason": "length", "logprobs": expected}
        assert upstream.body["logprobs"] == 2
        assert upstream.body["max_tokens"] == 16
        with openai.OpenAI(base_url=running.openai_url, api_key="any", max_retries=0) as client:
            chunks = list(client.completions.create(**body, stream=True))  # type: ignore[call-overload]
        told = [choice.logprobs for chunk in chunks for choice in chunk.choices if choice.logprobs]
        for name, values in expected.items():
            assert [value for one in told for value in getattr(one, name)] == values


@pytest.mark.parametrize(
    ("script", "error", "field"),
    [
        (failure("404 Not Found", message="Not Found"), Unsupported, "prompt"),
        (answer("404 Not Found", b"<html>", kind="text/html"), Unsupported, "prompt"),
        (failure("404 Not Found", message="no such model", code="model_not_found"), ModelNotFound, None),
        (failure("400 Bad Request", message="maximum context length is 5"), ContextLengthExceeded, "prompt"),
        (failure("400 Bad Request", message="prompt[3] is odd", param="prompt[3]"), InvalidArgument, None),
        (answer("413 Too Large"), InvalidArgument, "prompt"),
    ],
)
async def test_refusals_of_a_raw_prompt_name_it(script: bytes, error: type[Exception], field: str | None) -> None:
    with Upstream(script) as upstream:
        async with engine(upstream) as running:
            with pytest.raises(error) as caught:
                await anext(running.generate(made({"prompt": {"token_ids": {"ids": [1, 2, 3, 4]}}})))
    if field or error is InvalidArgument:
        assert caught.value.field == (field or "prompt.token_ids.ids[3]")  # type: ignore[attr-defined]


async def test_zhipu_has_no_raw_prompts() -> None:
    with Upstream(HELLO) as upstream:
        async with engine(upstream, preset=Preset.ZHIPU) as running:
            assert not running.capabilities.prompts
            with pytest.raises(Unsupported, match="prompt: this model cannot give completions of a raw prompt"):
                settle(made({"prompt": {"text": "x"}}), running.capabilities, refuse=False)


def test_a_picture_is_sent_as_a_data_url() -> None:
    request = with_picture()
    assert parse_chat_call(encoded(chat_body(request, ""))).request == request
    remote = made(HELLO_REQUEST)
    remote.messages[0].content.add().image.url = "https://example.com/a.png"
    remote.messages[0].content[1].image.detail = Image.DETAIL_HIGH
    assert parse_chat_call(encoded(chat_body(remote, ""))).request == remote


@contextlib.asynccontextmanager
async def engine(upstream: Upstream, **options: Any) -> AsyncIterator[UpstreamEngine]:
    running = UpstreamEngine(UpstreamOptions(**{"name": "here", "urls": [upstream.url], "model": "there"} | options))
    await running.start()
    try:
        yield running
    finally:
        await running.aclose()


async def answered(upstream: Upstream, fields: dict[str, Any], **options: Any) -> list[StreamChatCompletionResponse]:
    """The events of an answer."""
    async with engine(upstream, **options) as running:
        return [event async for event in running.generate(made({**HELLO_REQUEST, **fields}))]


def folded(events: list[StreamChatCompletionResponse]) -> Any:
    fold = Fold()
    for one in events:
        fold.add(one)
    return fold.response()


async def test_everything_in_an_answer_arrives() -> None:
    token = {
        "token": "H",
        "logprob": -0.5,
        "bytes": None,
        "top_logprobs": [{"token": "é", "logprob": -2, "bytes": [195]}],
    }
    calls = [
        [{"index": 4, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}],
        [{"index": 4, "function": {"arguments": '{"x"'}}],
        [{"index": 4, "id": "a", "function": {"name": "f", "arguments": ": 1}"}}],
        [{"function": {"name": "g", "arguments": "{}"}}],
    ]
    script = [
        HEAD,
        chunk({"role": "assistant", "content": None, "reasoning_content": "Hm"}),
        chunk({"reasoning": "m."}),
        chunk({"content": ""}, logprobs={"content": [token]}),
        chunk({"content": "Hé"}, logprobs={"content": [token]}),
        chunk({"content": "second"}, index=1),
        *(chunk({"tool_calls": call}) for call in calls),
        chunk(finish="tool_calls"),
        chunk(index=1, finish="stop", stop_reason="END"),
        usage(5, 9, 4),
        DONE,
    ]
    with Upstream(b"".join(script)) as upstream:
        events = await answered(upstream, {"logprobs": True, "n": 2, "stop": ["END"]})
    kinds = [event.WhichOneof("event") for event in events]
    assert (kinds[0], kinds.count("started"), kinds[-1]) == ("started", 1, "usage")
    reply = folded(events)
    first, second = reply.choices
    assert first.message.reasoning_content == "Hmm."
    assert first.message.content[0].text == "Hé"
    call, other = first.message.tool_calls
    assert (call.id, call.name, call.arguments_json) == ("a", "f", '{"x": 1}')
    assert other.name == "g"
    assert other.id.startswith("call_")
    assert [(one.token, one.bytes, one.logprob) for one in first.logprobs] == [("H", b"H", -0.5)] * 2
    assert first.logprobs[0].top_logprobs[0].bytes == b"\xc3"
    assert first.finish_reason == 3
    assert (second.message.content[0].text, second.finish_reason, second.stop_string) == ("second", 1, "END")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.cached_tokens) == (5, 9, 4)


def call(name: str, arguments: str, **more: Any) -> dict[str, Any]:
    """A piece of a call that has a name."""
    return {**more, "function": {"name": name, "arguments": arguments}}


def rest(arguments: str, **more: Any) -> dict[str, Any]:
    """A piece of a call that has none."""
    return {**more, "function": {"arguments": arguments}}


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        (  # one number for all
            [call("f", '{"x":1}', index=0, id="a"), call("g", '{"y":2}', index=0, id="b")],
            [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
        ),
        (
            [
                *(call("f", '{"x"', index=0, id="a"), rest(":1}", index=0)),
                *(call("f", "{", index=0, id="b"), rest("}", index=0, id="b")),
            ],
            [("a", "f", '{"x":1}'), ("b", "f", "{}")],
        ),
        (  # a new id with every piece
            [call("f", '{"x"', index=0, id="a"), rest(":1", index=0, id="b"), rest("}", index=0, id="c")],
            [("a", "f", '{"x":1}')],
        ),
        (  # no numbers
            [call("f", '{"x"', id="a"), rest(":1}"), call("g", "", id="b"), rest("{"), rest("}")],
            [("a", "f", '{"x":1}'), ("b", "g", "{}")],
        ),
        (  # a number, and then none
            [call("f", "{}", index=1, id="a"), call("g", "{", id="b"), rest("}")],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        (  # null
            [call("f", "{", index=0, id="a"), {"index": 0, "function": None}, rest("}", index=0)],
            [("a", "f", "{}")],
        ),
    ],
)
async def test_calls_are_told_apart_however_they_are_numbered(
    pieces: list[dict[str, Any]], calls: list[tuple[str, str, str]]
) -> None:
    script = [HEAD, *(chunk({"tool_calls": [piece]}) for piece in pieces), chunk(finish="tool_calls"), DONE]
    with Upstream(b"".join(script)) as upstream:
        made_calls = folded(await answered(upstream, {})).choices[0].message.tool_calls
    assert [(one.id, one.name, one.arguments_json) for one in made_calls] == calls


@pytest.mark.parametrize("last", [{"choices": None}, {}])
async def test_null_is_nothing(last: dict[str, Any]) -> None:
    script = [
        HEAD,
        event({"choices": [{"index": 0, "delta": None}]}),
        chunk({"content": "Hi"}),
        event({"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}),
        event({**last, "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        DONE,
    ]
    with Upstream(b"".join(script)) as upstream:
        reply = folded(await answered(upstream, {}))
    assert reply.choices[0].message.content[0].text == "Hi"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 2)


async def test_a_look_that_fails_is_not_the_last() -> None:
    looks = iter([False])
    faults: asyncio.Queue[str | None] = asyncio.Queue()

    async def look(_: str) -> bool:
        if not next(looks, True):
            raise RuntimeError("what nobody has thought of")
        return True

    addresses = Addresses(["http://127.0.0.1/v1"], look, faults.put_nowait)
    await addresses.start()
    assert "can be reached" in (await faults.get() or "")
    assert await faults.get() is None
    await addresses.aclose()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_events_have_any_line_end_and_come_in_any_pieces(end: bytes, size: int) -> None:
    said = "Grüße, 你好 👋 \u2028 "
    plain = f'data: {{"choices": [{{"delta": {{"content": "{said}"}}}}]}}\n\n'.encode() + chunk(finish="stop") + DONE
    stream = (b": comment\n\nevent: x\nid: 7\nretry: 5\n" + plain).replace(b"\n", end)

    def script(connection: socket.socket) -> None:
        connection.sendall(HEAD)
        for place in range(0, len(stream), size):
            connection.sendall(stream[place : place + size])

    with Upstream(script) as upstream:
        assert folded(await answered(upstream, {})).choices[0].message.content[0].text == said


async def test_a_stream_may_begin_with_a_mark_of_byte_order() -> None:
    with Upstream(HEAD + b"\xef\xbb\xbf" + chunk({"content": "Hi"}) + chunk(finish="stop") + DONE) as upstream:
        assert folded(await answered(upstream, {})).choices[0].message.content[0].text == "Hi"


async def test_log_probabilities_are_those_of_the_text() -> None:
    token = {"token": "H", "logprob": -0.5}
    script = [
        HEAD,
        *[chunk({"reasoning_content": "Hm."}, logprobs={"content": [token]})] * 2,
        chunk({"content": ""}, logprobs={"content": [token]}),  # the first half of a character
        chunk({"content": "é"}, logprobs={"content": [{**token, "logprob": float("-inf")}]}),
        chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}, logprobs={"content": [token]}),
        chunk(finish="tool_calls", logprobs={"content": [token]}),
        DONE,
    ]
    with Upstream(b"".join(script)) as upstream:
        choice = folded(await answered(upstream, {"logprobs": True})).choices[0]
    assert [one.logprob for one in choice.logprobs] == [-0.5, float("-inf")]


async def test_cookies_are_not_kept() -> None:
    with Upstream(HELLO.replace(b"connection", b"set-cookie: a=b; Path=/\r\nconnection")) as upstream:
        async with engine(upstream) as running:
            for _ in range(2):
                assert [event async for event in running.generate(made(HELLO_REQUEST))]
        assert not [head for head, _ in upstream.requests if b"cookie" in head.lower()]


async def test_another_glmserve_says_what_its_model_can() -> None:
    can = {"images": False, "tools": True, "seed": False, "logprobs": "no", "max_choices": 8, "telepathy": True}
    said = {"id": "far", "glmserve": {"aliases": ["there"], "context_length": 2048, "capabilities": can}}
    for models, images, choices, context_length in (({"data": [said]}, False, 8, 2048), ({"data": [{}]}, True, 128, 0)):
        with Upstream(HELLO, json.dumps(models).encode()) as upstream:
            async with engine(upstream) as running:
                known = running.capabilities
                assert (known.images, known.seed, known.max_choices) == (images, images, choices)
                assert known.tools
                assert known.logprobs
                assert running.context_length == context_length


def test_models_of_zhipu_without_a_v_see_no_pictures() -> None:
    blind = ("glm-4.6", "GLM-4-Flash-250414", "glm-4-32b-0414-128k", "glm-5")
    seeing = ("glm-4v", "glm-4.5v", "GLM-4.1V-Thinking-Flash", "glm-4v-plus-0111", "another")
    assert [name for name in (*blind, *seeing) if zhipu.capabilities(name).images] == list(seeing)


async def test_an_answer_may_end_without_done_and_without_usage() -> None:
    with Upstream(HEAD + chunk({"content": "Hi"}) + chunk(finish="length")) as upstream:
        assert folded(await answered(upstream, {})).choices[0].finish_reason == 2


async def test_key_headers_and_extra_fields_are_sent_and_proxies_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with Upstream(HELLO) as upstream:
        more = {"key": "secret", "headers": {"X-Team": "blue"}, "extra_body": {"temperature": 0.5, "tier": "low"}}
        await answered(upstream, {"temperature": 1}, **more)
        head = upstream.requests[-1][0].lower()
        assert head.startswith(b"post /v1/chat/completions http/1.1\r\n")
        assert b"\r\nauthorization: bearer secret\r\n" in head
        assert b"\r\nx-team: blue\r\n" in head
        body = upstream.body
    assert (body["model"], body["temperature"], body["tier"], body["stream"]) == ("there", 0.5, "low", True)


def test_options_do_not_show_the_key() -> None:
    options = UpstreamOptions(name="m", urls=("zhipu",), key="secret", headers={"a": "hidden"})
    assert "secret" not in repr(options)
    assert "hidden" not in repr(options)
    assert (options.preset, options.model) == (Preset.ZHIPU, "m")


def test_a_key_comes_from_the_environment(tmp_path: Any) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")
    environment = {"GLMSERVE_UPSTREAM_KEY_GLM_4_6": "from-environment", "GLMSERVE_UPSTREAM_KEY_OTHER": "not this"}
    names = ["GLM-4.6=zai#glm-4.6", "other=http://a:1,http://b:1/v1"]
    flags = read_flags({}, upstreams=names, key_files=[f"other={file}"])
    one, other = load(flags, {**environment, "GLMSERVE_CONFIG": ""}).settings.models
    assert isinstance(one, UpstreamOptions)
    assert isinstance(other, UpstreamOptions)
    assert (one.key, one.model, one.urls) == ("from-environment", "glm-4.6", ("https://api.z.ai/api/paas/v4",))
    assert (other.key, other.model, other.urls) == ("from-file", "other", ("http://a:1/v1", "http://b:1/v1"))


@pytest.mark.parametrize(
    ("url", "base", "root"),
    [
        ("http://host:8000", "http://host:8000/v1", "http://host:8000"),
        ("http://host:8000/", "http://host:8000/v1", "http://host:8000"),
        ("http://host/v1/", "http://host/v1", "http://host"),
        ("https://host/v1/chat/completions", "https://host/v1", "https://host"),
        ("http://[::1]:80/prefix/v1", "http://[::1]:80/prefix/v1", "http://[::1]:80/prefix"),
        ("https://host/api/paas/v4/chat/completions/", "https://host/api/paas/v4", "https://host/api/paas"),
    ],
)
def test_a_url_is_taken_however_it_ends(url: str, base: str, root: str) -> None:
    assert (base_url(url), root_url(base_url(url))) == (base, root)


async def test_zhipu_gets_what_it_knows() -> None:
    fields = {
        "temperature": 0,
        "top_p": 1,
        "max_completion_tokens": 9,
        "seed": 1,
        "presence_penalty": 1,
        "top_k": 4,
        "reasoning": {"effort": "EFFORT_NONE"},
        "user": "somebody",
        "prompt_cache_key": "k",
        "stop": ["END"],
    }
    with Upstream(HELLO) as upstream:
        async with engine(upstream, preset=Preset.ZHIPU) as running:
            request = with_picture()
            request.MergeFrom(made(fields))
            events = [event async for event in running.generate(request)]
            assert not running.capabilities.seed
            assert running.capabilities.max_choices == 1
        body = upstream.body
    assert events[0].started.ignored == []
    content = body.pop("messages")[0]["content"]
    assert content[1]["image_url"]["url"].startswith("iVBOR")
    expected = {
        "model": "there",
        "stream": True,
        "temperature": 0.01,
        "do_sample": False,
        "top_p": 0.99,
        "max_tokens": 9,
        "thinking": {"type": "disabled"},
        "user_id": "somebody",
        "stop": ["END"],
    }
    assert body == expected


async def test_zhipu_says_what_it_does_not_follow() -> None:
    with Upstream(HELLO) as upstream:
        preset = {"preset": Preset.ZHIPU}
        tools = {"tools": [{"function": {"name": "g"}}]}
        events = await answered(upstream, {**tools, "temperature": 1.5, "parallel_tool_calls": False}, **preset)
        assert events[0].started.ignored == ["temperature"]  # what its capabilities lack is named before
        assert "tools" in upstream.body
        await answered(upstream, {**tools, "tool_choice": {"mode": "MODE_NONE"}}, **preset)
        assert not {"tools", "tool_choice"} & set(upstream.body)
        with pytest.raises(Unsupported, match="tool_choice"):
            await answered(upstream, {**tools, "tool_choice": {"function_name": "g"}}, **preset)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (failure("400 Bad Request", code="1214", message="messages 参数非法"), InvalidArgument),
        (failure("400 Bad Request", code="1211", message="模型不存在"), ModelNotFound),
        (failure("401 Unauthorized", code="1002", message="Authorization Token非法"), ModelUnavailable),
        (failure("429 Too Many Requests", code="1302", message="并发数过高"), QueueFull),
        (failure("429 Too Many Requests", code="1113", message="您的账户已欠费"), ModelUnavailable),
        (HEAD + event({"error": {"code": "1302", "message": "并发数过高"}}), QueueFull),
        (HEAD + chunk({"content": "Hi"}) + chunk(finish="network_error") + DONE, WorkerDied),
    ],
)
async def test_zhipu_s_codes_have_their_meaning(script: bytes, error: type[Exception]) -> None:
    with Upstream(script) as upstream, pytest.raises(error):
        await answered(upstream, {}, preset=Preset.ZHIPU)


TWO_CALLS = HEAD + b"".join(
    [
        chunk({"role": "assistant", "content": None}),
        chunk({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "a", "arguments": '{"x":'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        chunk({"tool_calls": [{"index": 1, "id": "2", "function": {"name": "b", "arguments": '{"y":'}}]}),
        chunk({"tool_calls": [{"index": 1, "function": {"arguments": "2}"}}]}),
        chunk(finish="tool_calls"),
        usage(3, 2),
        DONE,
    ]
)


def test_an_old_function_call_is_the_first_of_an_upstream_that_makes_two() -> None:
    body = {**ASKED, "functions": [{"name": "a"}, {"name": "b"}]}
    first = {"name": "a", "arguments": '{"x":1}'}
    with Upstream(TWO_CALLS) as upstream, Glmserve("up", "--upstream", f"m={upstream.url}") as running:
        whole = httpx.post(f"{running.openai_url}/chat/completions", json=body).json()["choices"][0]
        assert (whole["message"]["function_call"], whole["finish_reason"]) == (first, "function_call")
        with openai.OpenAI(base_url=running.openai_url, api_key="any", max_retries=0) as client:
            choices = [chunk.choices[0] for chunk in client.chat.completions.create(**body, stream=True)]
        calls = [choice.delta.function_call for choice in choices if choice.delta.function_call]
        assert "".join(call.name or "" for call in calls) == first["name"]
        assert "".join(call.arguments or "" for call in calls) == first["arguments"]
        assert [choice.finish_reason for choice in choices] == [None, None, None, "function_call"]
        tools = [{"type": "function", "function": {"name": name}} for name in "ab"]
        both = httpx.post(f"{running.openai_url}/chat/completions", json={**ASKED, "tools": tools}).json()
        assert len(both["choices"][0]["message"]["tool_calls"]) == 2


async def test_zhipu_s_filter_is_a_filter() -> None:
    with Upstream(HEAD + chunk({"content": "Hi"}) + chunk(finish="sensitive") + DONE) as upstream:
        assert folded(await answered(upstream, {}, preset=Preset.ZHIPU)).choices[0].finish_reason == 4


def test_tokens_are_counted_where_the_upstream_counts_them() -> None:
    listed = json.dumps({"data": [{"id": "x"}, {"id": "model", "max_model_len": 4096}]}).encode()
    counted = answer("200 OK", json.dumps({"count": 3, "max_model_len": 4096, "tokens": [1, 2, 3]}).encode())
    request = CountTokensRequest(chat=made({**HELLO_REQUEST, "model": "model"}), include_token_ids=True)
    with (
        Upstream(counted, listed) as upstream,
        Glmserve("serve", "--upstream", f"model={upstream.url}") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        assert ModelServiceStub(channel).GetModel(GetModelRequest(model="model")).model.context_length == 4096
        count = TokenServiceStub(channel).CountTokens(request)
        assert (count.prompt_tokens, list(count.token_ids), count.context_length) == (3, [1, 2, 3], 4096)
        assert upstream.requests[-1][0].startswith(b"POST /tokenize ")
        assert upstream.body["messages"] == [{"role": "user", "content": "Hello!"}]
        for script in (answer("404 Not Found"), answer("200 OK", b'{"tokens": []}')):
            upstream.script = script
            with pytest.raises(grpc.RpcError, match="has no /tokenize") as refused:
                TokenServiceStub(channel).CountTokens(request)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED

"""What becomes of each field of a request, as docs/parameters.md says it: by engine, over HTTP and gRPC."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from openai.types import Model
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from paintings import encoded, painted
from running import MODEL, Glmserve
from upstreams import DONE, HEAD, Upstream, chunk, usage

from glmserve.v1 import tool_pb2
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.model_pb2 import GetModelRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve_gateway.fields import FIELDS
from glmserve_gateway.parse import parse_chat_call

ROOT = Path(__file__).parents[1]
GENERATED = ("docs/parameters.md", "gateway/glmserve_gateway/envoy/openapi.json")

USER = {"role": "user", "content": "Hello!"}
PICTURE = "data:image/png;base64," + base64.b64encode(encoded(painted("ellipse", "red"), "PNG")).decode()
FUNCTION: dict[str, Any] = {"name": "f", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": FUNCTION}]
SCHEMA = {"name": "s", "schema": {"type": "object"}}

ASKS: dict[str, dict[str, Any]] = {
    "messages": {},
    "messages[].content[].image_url": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}]
    },
    "tools": {"tools": TOOLS},
    "tools[].function.strict": {
        "tools": [{"type": "function", "function": {**FUNCTION, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    },
    "functions": {"functions": [FUNCTION]},
    "functions[].strict": {"functions": [{**FUNCTION, "strict": True}], "function_call": {"name": "f"}},
    "tool_choice": {"tools": TOOLS, "tool_choice": "required"},
    "function_call": {"functions": [FUNCTION], "function_call": {"name": "f"}},
    "parallel_tool_calls": {"parallel_tool_calls": False},
    "response_format": {"response_format": {"type": "text"}},
    "response_format.json_object": {"response_format": {"type": "json_object"}},
    "response_format.json_schema": {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    "max_completion_tokens": {"max_completion_tokens": 3},
    "max_tokens": {"max_completion_tokens": None, "max_tokens": 3},
    "stop": {"stop": "x"},
    "n": {"n": 2},
    "temperature": {"temperature": 0.7},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 5},
    "min_p": {"min_p": 0.1},
    "repetition_penalty": {"repetition_penalty": 1.2},
    "presence_penalty": {"presence_penalty": 1.2},
    "frequency_penalty": {"frequency_penalty": -1},
    "logit_bias": {"logit_bias": {"5": 10}},
    "seed": {"seed": 7},
    "ignore_eos": {"ignore_eos": True},
    "logprobs": {"logprobs": True},
    "top_logprobs": {"logprobs": True, "top_logprobs": 2},
    "reasoning_effort": {"reasoning_effort": "high"},
    "chat_template_kwargs": {"chat_template_kwargs": {"enable_thinking": True}},
    "thinking": {"thinking": {"type": "enabled"}},
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "user": {"user": "u"},
    "stream": {"stream": True},
    "stream_options": {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": True}},
    "metadata": {"metadata": {"a": "b"}},
    "modalities": {"modalities": ["text"]},
    "prompt_cache_options": {"prompt_cache_options": {"mode": "explicit", "ttl": "30m"}},
    "prompt_cache_retention": {"prompt_cache_retention": "24h"},
    "safety_identifier": {"safety_identifier": "s"},
    "prediction": {"prediction": {"type": "content", "content": "Hello!"}},
    "service_tier": {"service_tier": "priority"},
    "store": {"store": True},
    "verbosity": {"verbosity": "low"},
    "audio": {"audio": {"voice": "alloy", "format": "wav"}},
    "moderation": {"moderation": {"model": "omni-moderation-latest"}},
    "web_search_options": {"web_search_options": {}},
}
"""What asks for something by each row of the table but `model`, which every request gives."""

IDLE = {
    "n": 1,
    "parallel_tool_calls": True,
    "response_format": {"type": "text"},
    "temperature": 0,
    "top_p": 1,
    "top_k": -1,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0.0,
    "logit_bias": {},
    "ignore_eos": False,
    "logprobs": False,
    "top_logprobs": 0,
    "reasoning_effort": "none",
    "chat_template_kwargs": {"other": 1},
    "tools": [],
    "tool_choice": "auto",
    "service_tier": "default",
    "store": False,
    "verbosity": "medium",
}
"""All the values that ask for nothing."""

UNSEEN = ("messages", "parallel_tool_calls")
"""What an upstream hears all the same, or only beside tools."""


@dataclass
class Column:
    """An engine of the table, and a model of it that runs."""

    http: httpx.Client
    grpc: ChatServiceStub
    model: str
    cells: dict[str, set[str]]
    parameters: dict[str, list[str]]
    upstream: Upstream | None = None

    def body(self, **more: Any) -> dict[str, Any]:
        return {"model": self.model, "messages": [USER], "max_completion_tokens": 4, **more}

    def fate(self, path: str) -> str:
        """What the model says of itself, in the table's words."""
        told = next((outcome for outcome, paths in self.parameters.items() if path in paths), None)
        if path == "response_format":  # its forms are told apart
            told = "honoured"
        if self.upstream and isinstance(TARGETS.get(path, ""), str) and told in (None, "honoured"):
            return "passed on"
        return told or "no effect"


TARGETS = {field.name: field.target for field in FIELDS}


def table() -> dict[str, dict[str, set[str]]]:
    """The fates in docs/parameters.md, by engine and row."""
    lines = [line.strip("| ").split(" | ") for line in (ROOT / GENERATED[0]).read_text().splitlines() if "|" in line]
    head, _, *rows = lines
    return {
        engine: {row[0].strip("`"): set(row[head.index(engine)].split(" / ")) for row in rows} for engine in head[2:-1]
    }


def answers(count: int) -> bytes:
    """An upstream's answer with so many choices."""
    choices = (chunk({"content": "Hi"}, index=i) + chunk(index=i, finish="stop") for i in range(count))
    return HEAD + b"".join(choices) + usage(3, 2) + DONE


@pytest.fixture(scope="module")
def relaying() -> Iterator[tuple[Glmserve, Upstream]]:
    with Upstream() as upstream, Glmserve("up", "--upstream", f"there={upstream.url}") as running:
        yield running, upstream


@pytest.fixture(
    scope="module", params=["chatglm", pytest.param("llama", marks=pytest.mark.llama), "upstream", "scripted"]
)
def column(request: pytest.FixtureRequest, server: Glmserve) -> Iterator[Column]:
    """Each engine of the table that can be had here."""
    running, upstream = (server, None)
    if request.param == "upstream":
        running, upstream = request.getfixturevalue("relaying")
    elif request.param == "llama":
        running = request.getfixturevalue("batched")
    model = {"upstream": "there", "scripted": "scripted"}.get(request.param, MODEL)
    with (
        httpx.Client(base_url=running.openai_url, timeout=60) as http,
        grpc.insecure_channel(running.grpc_address) as channel,
    ):
        told = http.get(f"/models/{model}").json()["glmserve"]
        assert told["engine"] == request.param
        yield Column(http, ChatServiceStub(channel), model, table()[request.param], told["parameters"], upstream)


@pytest.mark.parametrize("path", ASKS)
def test_a_field_has_the_fate_that_the_table_states_over_http(column: Column, path: str) -> None:
    ask = column.body(**ASKS[path])
    if column.upstream:
        column.upstream.script = answers(ask.get("n", 1))
    response = column.http.post("/chat/completions", json=ask)
    named = response.headers.get("x-glmserve-ignored", "").split(", ")
    fate = column.fate(path)
    assert column.cells[path] & {fate, *limits(fate)}
    if fate == "refused":
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "unsupported_parameter")
        assert head(error["param"]) in ask
        assert error["message"].startswith(error["param"])
    else:
        assert response.status_code == 200, response.text
        assert (head(path) in named) == (fate == "ignored")
    if column.upstream and fate != "refused":
        heard = column.upstream.body
        column.http.post("/chat/completions", json=column.body())
        told = heard != column.upstream.body
        assert told == (fate == "passed on" and path not in UNSEEN)


@pytest.mark.parametrize("path", [path for path in ASKS if isinstance(TARGETS.get(path, ""), str)])
def test_a_field_has_the_fate_that_the_table_states_over_grpc(column: Column, path: str) -> None:
    call = parse_chat_call(json.dumps(column.body(**ASKS[path])).encode())
    if column.upstream:
        column.upstream.script = answers(call.request.n or 1)
    fate = column.fate(path)
    if fate == "refused":
        with pytest.raises(grpc.RpcError) as refused:
            column.grpc.CreateChatCompletion(call.request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert head(violated(refused.value)) in [field.name for field, _ in call.request.ListFields()]
    else:
        target = TARGETS.get(path) or head(path)
        named = list(column.grpc.CreateChatCompletion(call.request).ignored)
        assert (head(str(target)) in named) == (fate == "ignored")


def test_values_that_ask_for_nothing_are_neither_named_nor_refused(column: Column) -> None:
    if column.upstream:
        column.upstream.script = answers(1)
    response = column.http.post("/chat/completions", json=column.body(**IDLE))
    assert response.status_code == 200, response.text
    assert "x-glmserve-ignored" not in response.headers


def test_no_more_functions_may_be_allowed_than_may_be_declared(column: Column) -> None:
    call = parse_chat_call(json.dumps(column.body(tools=TOOLS, tool_choice="required")).encode())
    allowed = call.request.tool_choice.allowed_tools
    allowed.mode = tool_pb2.ToolChoice.MODE_REQUIRED
    allowed.function_names[:] = ["f"] * 30_000
    with pytest.raises(grpc.RpcError, match="may have at most 128 names, not 30000") as refused:
        column.grpc.CreateChatCompletion(call.request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violated(refused.value) == "tool_choice.allowed_tools.function_names"


def limits(fate: str) -> set[str]:
    """How the table says a fate of `n`."""
    return {"1; more refused"} if fate == "refused" else {"up to 8", "up to 128"}


def head(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def violated(error: Any) -> str:
    """The field that an error over gRPC names."""
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in rpc_status.from_call(error).details)
    return str(bad.field_violations[0].field)


def test_every_row_of_the_table_is_asked_for() -> None:
    for rows in table().values():
        assert list(rows) == ["model", *ASKS]


def test_every_parameter_of_openais_sdk_has_a_fate() -> None:
    assert set(CompletionCreateParamsBase.__annotations__) <= set(TARGETS)


def test_what_is_made_from_the_table_of_fields_is_up_to_date(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "generate.py", tmp_path], check=True)
    for name in GENERATED:
        assert (tmp_path / name).read_text() == (ROOT / name).read_text(), f"{name} is out of date: run `make docs`"


def test_a_model_tells_the_same_over_both_faces(server: Glmserve) -> None:
    for line in httpx.get(f"{server.openai_url}/models").json()["data"]:
        Model.model_validate(line, strict=True)
        assert httpx.get(f"{server.openai_url}/models/{line['id']}").json() == line
        told = line["glmserve"]
        with grpc.insecure_channel(server.grpc_address) as channel:
            model = ModelServiceStub(channel).GetModel(GetModelRequest(model=line["id"])).model
        assert (told["engine"], told["context_length"]) == (model.engine, model.context_length)
        assert told["capabilities"] == {
            field.name: getattr(model.capabilities, field.name) for field in model.capabilities.DESCRIPTOR.fields
        }
        for outcome, names in told["parameters"].items():
            contract = set(getattr(model.parameters, outcome))
            assert {"seed", "logprobs", "stop"} & set(names) == {"seed", "logprobs", "stop"} & contract

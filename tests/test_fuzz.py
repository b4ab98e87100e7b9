"""Bad requests by the thousand: each is answered as it must be, and the server is as well as before."""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from mutations import damaged, encoded, http_request, misshapen
from openai.types import Completion, CompletionChoice
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel
from running import MODEL, SEEING, Glmserve
from test_parameters import ASKS, FUNCTION, PICTURE, TOOLS

from glmserve_server.bundled import BUNDLED

FAMILIES = {path.stem: path for path in sorted(Path(__file__).parent.glob("models/*.bin"))} | {SEEING: BUNDLED[SEEING]}
CHATS = ("/v1/chat/completions", "/api/v2/chat/completions", "/api/paas/v4/chat/completions")
COMPLETIONS, TOKENIZE, DETOKENIZE = TEXTS = ("/v1/completions", "/tokenize", "/detokenize")
PATHS = (*CHATS, *TEXTS)
CONVERSATION = [
    {"role": "system", "content": "You are Bob."},
    {"role": "developer", "content": [{"type": "text", "text": "Be short."}], "name": "Ann"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
    },
    {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "1"}]},
    {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "function", "name": "f", "content": "2"},
    {"role": "user", "content": "Hello!"},
]
ALLOWED = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}
SEEDS: list[dict[str, Any]] = [
    *ASKS.values(),
    {"messages": CONVERSATION},
    {"messages": CONVERSATION, "tools": [*TOOLS, {"type": "cogview"}]},
    {"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "allowed_tools": ALLOWED}},
    {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {"functions": [FUNCTION], "function_call": "auto", "messages": CONVERSATION, "stream": True},
    {"messages": "Hello!", "max_new_tokens": 1, "incremental": False, "conv_uid": "c", "stream": True},
    {"do_sample": False, "request_id": "mine", "tool_stream": True, "thinking": {"type": "disabled"}, "stream": True},
]
ROUNDS: list[dict[str, Any]] = [
    {"role": "user", "content": "[Round 0]\n\n问：<|user|> <n>[gMASK]sop\u2581\0"},
    {"role": "assistant", "content": "get_weather\n ```python\ntool_call()\n```"},
    {"role": "user", "content": [{"type": "text", "text": "  <|tab|>你好,\U0010ffff"}, {"type": "text", "text": "\n"}]},
]
TALKS: list[dict[str, Any]] = [
    {"messages": ROUNDS},
    {"messages": ROUNDS, "temperature": 2, "top_p": 0, "top_k": 1, "ignore_eos": True, "n": 2, "stream": True},
    {"messages": ROUNDS, "stop": ["\n", "，"], "repetition_penalty": 0.01},
    {"messages": ROUNDS[:2] * 40 + ROUNDS[2:]},
    {
        "messages": [
            {"role": "user", "content": [*ROUNDS[2]["content"], {"type": "image_url", "image_url": {"url": PICTURE}}]}
        ]
    },
    {"messages": [*ROUNDS, *CONVERSATION[3:]], "tools": TOOLS, "tool_choice": "required"},
]
"""Conversations that most families can express, in words that their dialects write themselves."""

PROMPTS: tuple[Any, ...] = ("Hello!", ["a", "b"], [72, 105], [[72], [105, 33]], [""])
PROMPTED: list[dict[str, Any]] = [
    *({"prompt": prompt} for prompt in PROMPTS),
    {"prompt": ["a", [72]], "echo": True},
    {"prompt": PROMPTS[1], "n": 2, "best_of": 2, "echo": True, "stream": True, "add_special_tokens": False},
    {"prompt": PROMPTS[3], "echo": True, "stream": True, "stream_options": {"include_usage": True}, "logprobs": 1},
    *({"prompt": "Hello!", **ask} for ask in ASKS.values() if "messages" not in ask),
]
SHOWN: list[dict[str, Any]] = [
    {"prompt": "Hello!", "add_special_tokens": False, "return_token_strs": True},
    {"messages": CONVERSATION, "return_token_strs": True, "add_generation_prompt": True},
    {"messages": CONVERSATION, "tools": TOOLS, "continue_final_message": False},
]
SEEDS_OF: dict[str, list[dict[str, Any]]] = {
    COMPLETIONS: PROMPTED,
    TOKENIZE: SHOWN,
    DETOKENIZE: [{"tokens": [72, 105]}, {"tokens": []}],
}


class PieceChoice(CompletionChoice):
    """A choice that goes on, for which the SDK has no type of its own."""

    finish_reason: Literal["stop", "length", "content_filter"] | None  # type: ignore[assignment]


class CompletionPiece(Completion):
    """An event of a stream."""

    choices: list[PieceChoice]  # type: ignore[assignment]


class Tokens(BaseModel, extra="forbid"):
    """vLLM's answer to /tokenize."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Text(BaseModel, extra="forbid"):
    """vLLM's answer to /detokenize."""

    prompt: str


KINDS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    **dict.fromkeys(CHATS, (ChatCompletion, ChatCompletionChunk)),
    COMPLETIONS: (Completion, CompletionPiece),
    TOKENIZE: (Tokens, Tokens),
    DETOKENIZE: (Text, Text),
}
"""What a path answers with, and the chunks of its stream."""


@pytest.fixture(scope="module")
def unharmed(server: Glmserve) -> Iterator[Glmserve]:
    """The shared server, which has the same processes and answers as before when the tests are over."""
    before = sorted(process.pid for process in server.family())
    yield server
    assert sorted(process.pid for process in server.family()) == before
    for model in (MODEL, "scripted"):
        body = {"model": model, "messages": [{"role": "user", "content": "What is the capital of France?"}]}
        answer = httpx.post(f"{server.openai_url}/chat/completions", json={**body, "temperature": 0}, timeout=60)
        assert "France" in answer.json()["choices"][0]["message"]["content"]
    assert "Traceback" not in server.log


@pytest.fixture(scope="module")
def families() -> Iterator[Glmserve]:
    """A server with the small models of the other families, which has the same workers and answers as before when the
    tests are over."""
    files = [flag for name in FAMILIES for flag in ("--model", str(FAMILIES[name]))]
    with Glmserve("up", "--workers", "1", "--threads", "1", *files) as running:
        before = [greedy(running, name) for name in FAMILIES]
        workers = {process.pid for process in running.workers()}
        yield running
        assert {process.pid for process in running.workers()} == workers
        assert [greedy(running, name) for name in FAMILIES] == before
        assert "Traceback" not in running.log


def greedy(server: Glmserve, model: str) -> str:
    """What a model says when nothing is left to chance."""
    body = {"model": model, "messages": ROUNDS, "max_completion_tokens": 8, "ignore_eos": True, "temperature": 0}
    answer = httpx.post(f"{server.openai_url}/chat/completions", json=body, timeout=60)
    return str(answer.json()["choices"][0]["message"]["content"])


def check(path: str, response: httpx.Response) -> None:
    """An answer in the SDK's types, or an error in the form of its API; nothing is the server's fault."""
    whole, chunk = KINDS[path]
    status, kind = response.status_code, response.headers.get("content-type", "")
    assert 200 <= status < 300 or 400 <= status < 500 or status == 501, response.text
    if status >= 400:
        assert kind == "application/json"
        check_error(path, response.json())
    elif kind == "application/json":
        whole.model_validate_json(response.content, strict=True)
    else:
        *events, done = [line.removeprefix("data: ") for line in response.text.split("\n\n")[:-1]]
        assert done == "[DONE]"
        for event in events:
            chunk.model_validate_json(event, strict=True)


def check_error(path: str, body: Any) -> None:
    """The form of an error, as the SDKs read it."""
    assert list(body) == ["error"]
    error = body["error"]
    if path.startswith("/api/paas") and "type" not in error:
        assert set(error) == {"code", "message"}
        assert error["code"].isdigit()
        return
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert isinstance(error["param"], str | None)
    assert isinstance(error["code"], str | None)


async def post_all(server: Glmserve, bodies: Iterator[tuple[str, bytes]], *, callers: int = 8) -> Counter[int]:
    """Posts bodies, some at a time, and checks each answer."""
    seen: Counter[int] = Counter()

    async def caller(client: httpx.AsyncClient) -> None:
        for path, body in bodies:
            response = await client.post(path, content=body, headers={"content-type": "application/json"})
            try:
                check(path, response)
            except Exception as fault:
                fault.add_note(f"{path} {body[:2000]!r} -> {response.status_code} {response.text[:2000]}")
                raise
            seen[response.status_code] += 1

    async with httpx.AsyncClient(base_url=server.edge_url, timeout=60) as client, asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(caller(client))
    return seen


def seeds(
    dice: random.Random,
    *,
    models: Sequence[str] = (MODEL, "scripted", "scripted", "scripted"),
    paths: Sequence[str] = PATHS,
    talks: Sequence[dict[str, Any]] = SEEDS,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests that are well or nearly so, without end."""
    while True:
        model, path = dice.choice(models), dice.choice(paths)
        said = {"messages": [{"role": "user", "content": "Hello!"}]} if path in CHATS else {}
        yield path, {"model": model, **said, **dice.choice(SEEDS_OF.get(path, talks))}


def limited(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The body with a limit, so that no mutation makes a model talk for long."""
    limits = {"max_completion_tokens": 2, "max_tokens": None, "max_new_tokens": None}
    if path == COMPLETIONS:
        limits |= {"max_completion_tokens": None, "max_tokens": 2}
    return {**body, **limits}


async def test_misshapen_requests_are_answered_or_refused(unharmed: Glmserve) -> None:
    dice = random.Random(1)
    shaped = ((path, encoded(limited(path, misshapen(body, dice)), dice)) for path, body in seeds(dice))
    seen = await post_all(unharmed, islice(shaped, 2500))
    assert seen[200] > 100
    assert seen[400] > 1000


@pytest.mark.parametrize("model", FAMILIES)
async def test_misshapen_conversations_harm_no_family(families: Glmserve, model: str) -> None:
    dice = random.Random(4)
    workers = {process.pid for process in families.workers()}
    asked = seeds(dice, models=[model], paths=CHATS, talks=[*SEEDS, *TALKS, *TALKS])
    mixed = ((path, dice.choice([body, misshapen(body, dice)])) for path, body in asked)
    seen = await post_all(families, ((path, encoded(limited(path, body), dice)) for path, body in islice(mixed, 120)))
    assert seen[200] > 20
    assert seen[400] > 40
    assert {process.pid for process in families.workers()} == workers


async def test_damaged_bytes_are_refused(unharmed: Glmserve) -> None:
    dice = random.Random(2)
    broken = ((path, damaged(encoded(limited(path, body), dice), dice)) for path, body in seeds(dice))
    seen = await post_all(unharmed, islice(broken, 1500))
    assert seen[400] > 1000


async def test_damaged_http_is_refused_or_waited_for(unharmed: Glmserve) -> None:
    dice = random.Random(3)
    body = b'{"model":"scripted","messages":[{"role":"user","content":"Hello!"}]}'
    requests = iter([http_request(body, dice) for _ in range(500)])
    seen: Counter[str] = Counter()

    async def caller() -> None:
        for request in requests:
            answer = await exchanged(unharmed.edge_url, request)
            try:
                seen[check_http(answer)] += 1
            except Exception as fault:
                fault.add_note(f"{request[:2000]!r} -> {answer[:2000]!r}")
                raise

    async with asyncio.TaskGroup() as tasks:
        for _ in range(32):
            tasks.create_task(caller())
    assert seen["200"] > 20
    assert seen["400"] > 50


async def exchanged(url: str, request: bytes) -> bytes:
    """What the edge says to some bytes, until it closes the connection or waits for more of them."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = b""
    with suppress(TimeoutError, ConnectionError):
        writer.write(request)
        while piece := await asyncio.wait_for(reader.read(1 << 16), 1):
            answer += piece
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return answer


def check_http(answer: bytes) -> str:
    """The status of the first answer, which is of the caller's making; what it says, if it says so, is an error."""
    while answer.startswith((b"HTTP/1.1 100 ", b"HTTP/1.0 100 ")):
        answer = answer.partition(b"\r\n\r\n")[2]
    if not (found := re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)):
        assert not answer
        return "nothing"
    status = found[1].decode()
    assert status[0] in "24" or status == "501"
    head, _, rest = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head)
    if status[0] != "2" and length and len(rest) >= int(length[1]) > 0:
        check_error("/v1", json.loads(rest[: int(length[1])]))
    return status

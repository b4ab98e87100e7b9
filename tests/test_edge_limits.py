"""Requests that are too large, too deep or hardly HTTP: a clear 4xx each, and the connection and the server go on."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from faces import Face, Refused
from running import Glmserve

from glmserve_gateway.body import MAX_VALUES
from glmserve_gateway.envoy import Envoy

MIB = 2**20
LIMIT = MIB
"""The limit of `small`, whose answers are those of the default, sooner."""
TALK: dict[str, Any] = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small(server: Glmserve) -> AsyncIterator[Envoy]:
    """An edge whose requests may have 1 MiB."""
    async with Envoy(grpc=[server.grpc_address], max_body_mib=1) as envoy:
        yield envoy


class Line:
    """A connection that bytes are written to as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def opened(cls, address: str) -> "Line":
        host, _, port = address.removeprefix("http://").rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """The next answer: its status, headers, and body from JSON."""
        async with asyncio.timeout(30):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            if "chunked" in headers.get("transfer-encoding", ""):
                body = await self._chunks()
            else:
                body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split()[1]), headers, json.loads(body) if body else None

    async def head(self) -> int:
        """The status of an answer that has no body."""
        async with asyncio.timeout(30):
            return int((await self._reader.readuntil(b"\r\n\r\n")).split()[1])

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readline(), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return body

    async def ended(self) -> bool:
        async with asyncio.timeout(30):
            return await self._reader.read(1) == b""

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def line(server: Glmserve) -> AsyncIterator[Line]:
    line = await Line.opened(server.edge_url)
    yield line
    line.close()


def post(*headers: str, path: str = "/v1/chat/completions", version: str = "1.1") -> bytes:
    kind = () if any(header.startswith("content-type") for header in headers) else ("content-type: application/json",)
    return "\r\n".join([f"POST {path} HTTP/{version}", "host: edge", *kind, *headers, "", ""]).encode()


def chunked(pieces: Iterable[bytes]) -> Iterable[bytes]:
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def error_of(answer: tuple[int, dict[str, str], Any], status: int) -> dict[str, Any]:
    assert answer[0] == status
    assert answer[1]["content-type"] == "application/json"
    assert answer[1]["x-should-retry"] == "false"
    error: dict[str, Any] = answer[2]["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    return error


# --- The size of a body ----------------------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("form", ["content-length", "chunked"])
async def test_oversize_body_is_413_once_it_has_been_sent_and_the_connection_goes_on(small: Envoy, form: str) -> None:
    line = await Line.opened(small.address)
    pieces = [b" " * 65536] * 64
    if form == "chunked":
        await line.send(post("transfer-encoding: chunked"), *chunked(pieces))
    else:
        await line.send(post(f"content-length: {sum(map(len, pieces))}"), *pieces)
    error = error_of(await line.answer(), 413)
    assert error["message"] == "The request body is larger than 1 MiB"
    assert error["code"] == "request_too_large"
    body = json.dumps(TALK).encode()
    await line.send(post(f"content-length: {len(body)}"), body)
    status, _, answer = await line.answer()
    assert (status, answer["choices"][0]["message"]["content"]) == (200, "hi")
    line.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_body_without_an_end_is_413_and_the_end_of_the_connection(small: Envoy) -> None:
    line = await Line.opened(small.address)
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"

    async def send() -> None:
        await line.send(post("transfer-encoding: chunked"))
        while True:
            await line.send(piece)

    sending = asyncio.create_task(send())
    assert error_of(await line.answer(), 413)["code"] == "request_too_large"
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError, AssertionError)):
        assert not await line.ended()
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(sending, 30)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("form", ["content-length", "chunked"])
async def test_body_of_the_largest_size_is_answered(small: Envoy, form: str) -> None:
    body = json.dumps(TALK).encode()
    body += b" " * (LIMIT - len(body))
    line = await Line.opened(small.address)
    if form == "chunked":
        await line.send(post("transfer-encoding: chunked"), *chunked([body[:500_000], body[500_000:]]))
    else:
        await line.send(post(f"content-length: {len(body)}"), body)
    assert (await line.answer())[0] == 200
    line.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_whole_request_before_white_space_without_end_is_not_answered(small: Envoy) -> None:
    line = await Line.opened(small.address)
    await line.send(post("transfer-encoding: chunked"), *chunked([json.dumps(TALK).encode(), *[b" " * 65536] * 20]))
    error_of(await line.answer(), 413)
    line.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_client_raises_on_an_oversize_request(small: Envoy) -> None:
    async with openai.AsyncOpenAI(base_url=small.openai_url, api_key="any", timeout=30) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(
                model="scripted", messages=[{"role": "user", "content": "a" * 3 * LIMIT}]
            )
    assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")


async def test_body_that_only_the_server_refuses_is_413_too(server: Glmserve) -> None:
    async with (
        Envoy(grpc=[server.grpc_address], max_body_mib=64) as envoy,
        openai.AsyncOpenAI(base_url=envoy.openai_url, api_key="any", timeout=30) as client,
    ):
        with pytest.raises(openai.APIStatusError, match="larger than max") as caught:
            await client.chat.completions.create(
                model="scripted", messages=[{"role": "user", "content": "a" * 45 * MIB}]
            )
    assert caught.value.status_code == 413
    assert caught.value.response.headers["x-should-retry"] == "false"


# --- What is in it ---------------------------------------------------------------------------------------------------

HOSTILE = [
    pytest.param(b'{"a":[' + b"[]," * 9_000_000 + b"[]]}", f"at most {MAX_VALUES} values", id="lists"),
    pytest.param(b'{"a":[' + b'"",' * 300_000 + b'""]}', f"at most {MAX_VALUES} values", id="strings"),
    pytest.param(b'{"a":' + b'""' * 2_000_000 + b"," * 300_000, f"at most {MAX_VALUES} values", id="quotes"),
    pytest.param(b"[" * 9_000_000, f"at most {MAX_VALUES} values", id="brackets"),
    pytest.param(b'{"a":' + b"9" * 5000 + b"}", "not JSON", id="a number of many digits"),
    pytest.param(b'{"a":"\\ud800"}', "not JSON", id="half a character"),
    pytest.param(b'\xef\xbb\xbf{"a":1}', "byte order mark", id="byte order mark"),
    pytest.param(b'{"a":"\xc3("}', "not JSON", id="no UTF-8"),
    pytest.param(b'{"a":"\0"}', "not JSON", id="NUL"),
]


@pytest.mark.parametrize(("body", "words"), HOSTILE)
async def test_hostile_json_is_400(line: Line, body: bytes, words: str) -> None:
    await line.send(post(f"content-length: {len(body)}"), body)
    assert words in error_of(await line.answer(), 400)["message"]


async def test_text_full_of_commas_and_quotes_is_text(line: Line) -> None:
    text = '\\",[{' * (MAX_VALUES // 2)
    body = json.dumps({"model": "scripted", "stop": ["\\"], "messages": [{"role": "user", "content": text}]}).encode()
    await line.send(post(f"content-length: {len(body)}"), body)
    status, _, answer = await line.answer()
    assert (status, answer["choices"][0]["finish_reason"]) == (200, "stop")


def talk_of(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def calls(*ids: str, name: str = "f") -> list[dict[str, Any]]:
    made = [{"id": id_, "type": "function", "function": {"name": name, "arguments": "{}"}} for id_ in ids]
    return [{"role": "assistant", "content": "a", "tool_calls": made}]


def function(**more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **more}}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth - 1):
        schema = {"items": schema}
    return schema


TEXT = {"type": "text", "text": "a"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
TOO_MUCH: list[Any] = [
    pytest.param([("user", "a")] * 4097, {}, "messages must hold 1 to 4096 messages, not 4097", id="messages"),
    pytest.param(talk_of(*[TEXT] * 16385), {}, "messages may have at most 16384 parts of content in all, not 16385",
                 id="parts"),
    pytest.param(talk_of(*[IMAGE] * 65), {}, "messages may have at most 64 images in all, not 65", id="images"),
    pytest.param(calls(*["a"] * 4097), {}, "messages may have at most 4096 tool calls in all, not 4097", id="calls"),
    pytest.param(calls("a" * 257), {}, "messages[0].tool_calls[0].id may have at most 256 characters, not 257",
                 id="id of a call"),
    pytest.param([{"role": "tool", "content": "a", "tool_call_id": "a" * 257}], {},
                 "messages[0].tool_call_id may have at most 256 characters, not 257", id="id of a result"),
    pytest.param(None, {"tools": [function(name=f"f{i}") for i in range(129)]},
                 "tools may have at most 128 tools, not 129", id="tools"),
    pytest.param(None, {"tools": [function(name=f"f{i}", description="a" * 60_000) for i in range(20)]},
                 "tools may have at most 1048576 bytes in all, not 12", id="size of the tools"),
    pytest.param(None, {"tools": [function(name="f" * 65)]}, "must have 1 to 64 characters", id="name of a tool"),
    pytest.param(None, {"tools": [function(parameters={"description": "a" * 65536})]},
                 "may have at most 65536 bytes, not 655", id="size of a schema"),
    pytest.param(None, {"stop": ["a"] * 5}, "stop may have at most 4 strings, not 5", id="stop strings"),
    pytest.param(None, {"stop": ["a" * 1025]}, "a stop string must have 1 to 1024 characters, not 1025", id="a stop"),
    pytest.param(None, {"user": "a" * 1025}, "user may have at most 1024 characters, not 1025", id="user"),
    pytest.param(None, {"logit_bias": dict.fromkeys(range(1025), 1)},
                 "logit_bias may have at most 1024 entries, not 1025", id="biases"),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "more", "words"), TOO_MUCH)
def test_more_than_the_bound_is_refused_by_name_and_number(
    face: Face, messages: Any, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused) as caught:
        face.ask(messages or [("user", "hi")], model="scripted", **more)
    assert caught.value.status == 400
    assert words in str(caught.value)
    assert caught.value.param


def test_deep_schema_is_refused(way: Callable[..., Any], server: Glmserve) -> None:
    with way(server) as face, pytest.raises(Refused, match=r"64 levels") as caught:
        face.ask([("user", "hi")], model="scripted", tools=[function(parameters=nested(65))])
    assert caught.value.status == 400


async def test_other_faces_have_the_same_bounds(server: Glmserve) -> None:
    async with httpx.AsyncClient(base_url=server.edge_url, timeout=30) as client:
        for path in ("/api/v2", "/api/paas/v4"):
            body = {**TALK, "messages": TALK["messages"] * 4097}
            response = await client.post(f"{path}/chat/completions", json=body)
            assert response.status_code == 400
            assert "messages must hold 1 to 4096 messages, not 4097" in response.text


# --- Hardly HTTP -----------------------------------------------------------------------------------------------------

BODY = b'{"messages": []}'
LENGTH = f"content-length: {len(BODY)}"
BAD_HTTP: list[Any] = [
    pytest.param([post(LENGTH, "content-length: 3"), BODY], 400, id="two lengths"),
    pytest.param([post("content-length: x"), BODY], 400, id="length that is no number"),
    pytest.param([post("content-length: -1"), BODY], 400, id="negative length"),
    pytest.param([post(LENGTH, "transfer-encoding: chunked"), BODY], 400, id="length and chunks"),
    pytest.param([post("transfer-encoding: chunked"), b"x\r\n"], 400, id="chunk without a size"),
    pytest.param([post("transfer-encoding: gzip"), BODY], 501, id="unknown transfer encoding"),
    pytest.param([post("content-encoding: gzip", LENGTH), BODY], 415, id="compressed"),
    pytest.param([post("content-type: application/grpc", LENGTH), BODY], 415, id="gRPC on a path of JSON"),
    pytest.param([post("content-type: application/grpc+proto", LENGTH), BODY], 415, id="gRPC with a message type"),
    pytest.param([post("content-type: application/grpc-web+proto", LENGTH), BODY], 415, id="gRPC-Web there"),
    pytest.param([post("content-type: application/json", "content-type: a/b", LENGTH), BODY], 400, id="two types"),
    pytest.param([post("content-type: text/plain", LENGTH), BODY], 400, id="text"),
    pytest.param([post("x: a\0b", LENGTH), BODY], 400, id="NUL in a header"),
    pytest.param([post(LENGTH, path="/v1/chat\0/completions"), BODY], 400, id="NUL in the path"),
    pytest.param([post("x: " + "a" * 70_000, LENGTH), BODY], 431, id="long header"),
    pytest.param([post(*["x: a"] * 200, LENGTH), BODY], 431, id="many headers"),
    pytest.param([b"POST /v1/chat/completions HTTP/1.1\r\n\r\n"], 400, id="no host"),
    pytest.param([b"POST /v1/chat/completions HTTP/9\r\n\r\n"], 400, id="unknown version"),
    pytest.param([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], 400, id="TLS"),
    pytest.param([post(LENGTH, version="1.0"), BODY], 400, id="HTTP/1.0"),
    pytest.param([post("upgrade: websocket", "connection: upgrade", LENGTH), BODY], 403, id="upgrade"),
]  # fmt: skip


@pytest.mark.parametrize(("pieces", "status"), BAD_HTTP)
async def test_what_is_hardly_http_is_refused_in_openais_shape(line: Line, pieces: list[bytes], status: int) -> None:
    await line.send(*pieces)
    error_of(await line.answer(), status)


async def test_an_offer_to_speak_tls_is_passed_over(line: Line) -> None:
    body = json.dumps(TALK).encode()
    await line.send(post("upgrade: TLS/1.2", "connection: upgrade", f"content-length: {len(body)}"), body)
    status, _, answer = await line.answer()
    assert (status, answer["object"]) == (200, "chat.completion")


async def test_grpc_type_on_the_list_of_models_is_refused(server: Glmserve) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        response = await client.get(f"{server.openai_url}/models", headers={"content-type": "application/grpc"})
    assert response.status_code == 415
    assert "application/json" in response.json()["error"]["message"]


async def test_pipelined_requests_are_answered_in_their_order(line: Line) -> None:
    bodies = [json.dumps({**TALK, "messages": [{"role": "user", "content": text}]}).encode() for text in "abc"]
    await line.send(b"".join(post(f"content-length: {len(body)}") + body for body in bodies))
    answers = [await line.answer() for _ in bodies]
    assert [answer["choices"][0]["message"]["content"] for _, _, answer in answers] == ["a", "b", "c"]


@pytest.mark.parametrize(("path", "status"), [("/v1/models", 405), ("/v1/none", 404)])
async def test_head_has_no_body_and_the_connection_goes_on(line: Line, path: str, status: int) -> None:
    await line.send(f"HEAD {path} HTTP/1.1\r\nhost: edge\r\n\r\n".encode())
    assert await line.head() == status
    await line.send(b"GET /v1/models HTTP/1.1\r\nhost: edge\r\n\r\n")
    assert (await line.answer())[0] == 200


async def test_client_that_waits_for_100_may_go_on(line: Line) -> None:
    await line.send(post(LENGTH, "expect: 100-continue"))
    assert (await line.answer())[0] == 100
    await line.send(BODY)
    error_of(await line.answer(), 400)

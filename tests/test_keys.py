"""The keys that callers must bring: without one there is no service over either face, and nothing shows them."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import pytest
from client_ways import WAYS, opened, url_of
from google.protobuf import descriptor_pool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from running import COMMAND, Glmserve
from watching import until

from glmserve.v1 import chat_pb2, model_pb2, openai_pb2, token_pb2
from glmserve_client import Unauthenticated

KEYS = ("first-key-4f1d", "second-key-97ab")
RETIRED = "retired-key-00c2"
FILE = f"# of the team\n{KEYS[0]}\n\n  {KEYS[1]}\r\n#{RETIRED}\n"
CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}
PATHS = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "scripted", "prompt": "Hello"},
    "/v1/models": None,
    "/v1/models/scripted": None,
    "/tokenize": {"model": "scripted", "prompt": "Hello"},
    "/detokenize": {"model": "scripted", "tokens": [1]},
    "/api/v2/chat/completions": CHAT,
    "/api/paas/v4/chat/completions": CHAT,
}
METHODS = [
    method
    for module in (chat_pb2, model_pb2, openai_pb2, token_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two keys, and one that is a comment now."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def keyed(key_file: Path) -> Iterator[Glmserve]:
    """A server that asks for a key."""
    with Glmserve("up", "--model", "scripted", "--api-key-file", str(key_file)) as running:
        yield running
        assert not any(key in running.log for key in (*KEYS, RETIRED, "wrong"))


def asked(server: Glmserve, path: str, authorization: str | None, **headers: str) -> httpx.Response:
    """The answer of an HTTP path."""
    body = PATHS.get(path)
    if authorization is not None:
        headers["authorization"] = authorization
    return httpx.request("POST" if body else "GET", server.edge_url + path, json=body, headers=headers, timeout=30)


def client_of(server: Glmserve, way: str, key: str) -> AbstractContextManager[Any]:
    """A client of one of the `WAYS`."""
    wire, _, style = way.partition("-")
    return opened(style, url_of(server, wire), api_key=key)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("way", WAYS)
def test_each_key_opens_the_server(keyed: Glmserve, way: str, key: str) -> None:
    with client_of(keyed, way, key) as client:
        assert client.chat("Hello", model="scripted").text
        assert [model.id for model in client.models()] == ["scripted"]


@pytest.mark.parametrize("key", ["", RETIRED, KEYS[0][:-1], f"{KEYS[0]}x", KEYS[0].upper(), "#"])
@pytest.mark.parametrize("way", WAYS)
def test_no_other_key_does(keyed: Glmserve, way: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLMSERVE_API_KEY", raising=False)
    with client_of(keyed, way, key) as client, pytest.raises(Unauthenticated) as refused:
        client.chat("Hello", model="scripted")
    assert str(refused.value).startswith("The API key is not" if key else "This server wants an API key")


@pytest.mark.parametrize("stream", [False, True])
def test_openais_sdk_raises_its_own_error(keyed: Glmserve, stream: bool) -> None:
    with (
        openai.OpenAI(base_url=keyed.openai_url, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        client.chat.completions.create(**CHAT, stream=stream)  # type: ignore[call-overload]
    assert (refused.value.code, refused.value.type) == ("invalid_api_key", "authentication_error")


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer", f"Basic {KEYS[0]}", KEYS[0]])
@pytest.mark.parametrize("path", PATHS)
def test_every_path_of_the_api_wants_a_key(keyed: Glmserve, path: str, authorization: str | None) -> None:
    answer = asked(keyed, path, authorization, **{"x-request-id": "mine-1"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"] == "mine-1"
    error = answer.json()["error"]
    if path.startswith("/api/paas"):
        assert error["code"] == "1002"
    else:
        assert (error["type"], error["param"], error["code"]) == ("authentication_error", None, "invalid_api_key")
    assert "API key" in error["message"]
    assert "wrong" not in error["message"]


@pytest.mark.parametrize("path", PATHS)
def test_with_a_key_each_path_answers(keyed: Glmserve, path: str) -> None:
    answer = asked(keyed, path, f"bearer  {KEYS[1]}")  # schemes have no case
    assert answer.status_code in (200, 400)  # the scripted engine has no tokens
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("way", ["server", "edge"])
@pytest.mark.parametrize("message", [b"", b"\xff"], ids=["empty", "none at all"])
def test_every_method_of_the_contract_wants_a_key(keyed: Glmserve, way: str, message: bytes, method: object) -> None:
    address = keyed.grpc_address if way == "server" else keyed.edge_url.removeprefix("http://")
    name = f"/{method.containing_service.full_name}/{method.name}"  # type: ignore[attr-defined]
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_stream(name)
        with pytest.raises(grpc.RpcError) as refused:
            list(call(message, timeout=30, metadata=[("authorization", "Bearer wrong")]))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "ERROR_REASON_INVALID_API_KEY"


def test_a_key_is_one_caller_however_it_is_written(server: Glmserve, key_file: Path) -> None:
    narrow = ("--upstream", f"narrow={server.openai_url}#scripted", "--upstream-concurrency", "1", "--queue-limit", "2")
    body = {**CHAT, "model": "narrow"}

    def status(authorization: str) -> int:
        headers = {"authorization": authorization}
        return httpx.post(f"{shared.openai_url}/chat/completions", json=body, headers=headers, timeout=60).status_code

    with (
        Glmserve("up", *narrow, "--metrics-port", "0", "--api-key-file", str(key_file)) as shared,
        openai.OpenAI(base_url=shared.openai_url, api_key=KEYS[0]) as greedy,
        ThreadPoolExecutor() as threads,
    ):
        slow: Any = {**body, "messages": [{"role": "user", "content": "/slow"}]}
        with greedy.chat.completions.create(**slow, stream=True) as running:
            next(iter(running))
            first = threads.submit(status, f"bearer {KEYS[0]}")
            until(shared, ("glmserve_answers_waiting", "narrow"), 1)
            second = threads.submit(status, f"BEARER   {KEYS[0]}")
            until(shared, ("glmserve_answers_waiting", "narrow"), 2)
            other = threads.submit(status, f"Bearer {KEYS[1]}")
            assert second.result() == 429
        assert (first.result(), other.result()) == (200, 200)


def test_what_tells_nothing_of_models_is_open(keyed: Glmserve) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert asked(keyed, path, None).status_code == 200
    preflight = {"origin": "http://localhost", "access-control-request-method": "POST"}
    assert httpx.options(f"{keyed.openai_url}/chat/completions", headers=preflight).status_code == 200
    with grpc.insecure_channel(keyed.grpc_address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        health = stub.Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "glmserve.v1.ChatService" in database.get_services()
        service = descriptor_pool.DescriptorPool(database).FindServiceByName("glmserve.v1.ChatService")
        assert len(service.methods) == 2


def test_the_command_to_try_brings_the_key(keyed: Glmserve) -> None:
    command, *words = shlex.split(keyed.log.partition("  try     ")[2].splitlines()[0])
    url, option, header, json_option, body = words
    assert (command, option, json_option) == ("curl", "-H", "--json")
    name, _, value = header.replace("$GLMSERVE_API_KEY", KEYS[0]).partition(": ")
    answer = httpx.post(url, headers={name: value}, json=json.loads(body), timeout=30)
    assert answer.json()["object"] == "chat.completion"


def test_a_server_can_bring_the_key_of_another(keyed: Glmserve, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEYS[0])
    upstreams = [flag for name in ("open", "shut") for flag in ("--upstream", f"{name}={keyed.openai_url}#scripted")]
    with Glmserve("up", *upstreams, "--upstream-key-file", f"open={key}") as relay:
        assert asked_of(relay, "open").status_code == 200
        shut = asked_of(relay, "shut")
        assert shut.status_code == 503
        assert "www-authenticate" not in shut.headers


def asked_of(server: Glmserve, model: str) -> httpx.Response:
    """The answer of one model."""
    return httpx.post(f"{server.openai_url}/chat/completions", json={**CHAT, "model": model}, timeout=30)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "No such file or directory"),
        ("", "there is no key in it, so nobody could call"),
        ("# one\n\n", "there is no key in it, so nobody could call"),
        ("good\nnot good\n", "the key in line 2 must be printable ASCII without spaces"),
        ("schlüssel", "the key in line 1 must be printable ASCII without spaces"),
        ("k" * 20_000, "longer than 16 KiB, which is too long for keys"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "config"])
def test_a_file_without_sound_keys_starts_nothing(
    command: str, content: str | None, fault: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    done = subprocess.run(
        [COMMAND, command, "--model", "scripted", "--api-key-file", str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={"GLMSERVE_CONFIG": "", "COLUMNS": "500"},
    )
    assert done.returncode == 2
    assert f"--api-key-file '{file}': {fault}" in done.stderr
    assert "good" not in done.stderr


def test_an_empty_variable_opens_nothing() -> None:
    done = subprocess.run(
        [COMMAND, "config", "--model", "scripted"],
        capture_output=True,
        text=True,
        check=False,
        env={"GLMSERVE_CONFIG": "", "GLMSERVE_API_KEY_FILE": "", "COLUMNS": "500"},
    )
    assert done.returncode == 2
    assert "GLMSERVE_API_KEY_FILE is empty: name a file of keys, or remove the variable" in done.stderr


def test_the_command_to_try_goes_to_this_machine(key_file: Path) -> None:
    flags = ("--host", "0.0.0.0", "--model", "scripted", "--api-key-file", str(key_file))  # noqa: S104
    with Glmserve("serve", *flags) as anywhere:
        command = shlex.split(anywhere.log.partition("  try     ")[2].splitlines()[0])
        done = subprocess.run(
            [COMMAND, *command[1:]], capture_output=True, text=True, check=False, env={"GLMSERVE_API_KEY": KEYS[0]}
        )
    assert (command[0], done.returncode) == ("glmserve", 0), done.stderr
    assert done.stdout.startswith("What is the capital of France?")


def test_the_configuration_shows_the_file_and_not_the_keys(key_file: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "glmserve.toml"
    configuration.write_text(f"api_key_file = {json.dumps(str(key_file))}\nmodels = [{{ name = 'scripted' }}]\n")
    done = subprocess.run(
        [COMMAND, "config", "--config", str(configuration)], capture_output=True, text=True, check=True
    )
    assert f'api_key_file = "{key_file}"' in done.stdout
    assert not any(key in done.stdout + done.stderr for key in KEYS)

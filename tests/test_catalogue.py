"""Several models in one server: their names, limits and defaults, and one that cannot be loaded beside others."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from faces import Face, GrpcFace, Refused
from grpc_health.v1 import health_pb2, health_pb2_grpc
from running import COMMAND, WIDE, Glmserve, health_of
from upstreams import HELLO, Upstream

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message
from glmserve.v1.model_pb2 import GetModelRequest, ListModelsRequest, Model
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve_server.bundled import BUNDLED

Way = Callable[[Glmserve], AbstractContextManager[Face]]

QUESTION = [("user", "What is the capital of France?")]
FILE = """
[edge]
allow_origins = ["https://chat.example.com"]

[[models]]
name = "tiny-glm4"
aliases = ["small", "gpt-4o-mini"]
workers = 1
context_length = 512

[[models]]
name = "drawn"
file = "tiny-glm4"
workers = 1
temperature = 2

[[models]]
name = "brief"
engine = "scripted"
max_completion_tokens = 3
time_limit = 1

[[models]]
name = "far"
aliases = ["further"]
urls = ["{url}"]
model = "there"
temperature = 0.25
top_p = 0.5
top_k = 7
repetition_penalty = 1.25
max_completion_tokens = 11
headers = {{ X-Team = "blue" }}
extra_body = {{ tier = "low" }}

[[models]]
name = "broken"
aliases = ["damaged"]
file = "broken.bin"

[[models]]
name = "impossible"
engine = "scripted"
top_k = 3
"""

QUEUES = """
queue_limit = 3
upstream_concurrency = 1

[[models]]
name = "short"
urls = ["{url}"]
queue_limit = 1

[[models]]
name = "long"
urls = ["{url}"]
queue_limit = 2

[[models]]
name = "usual"
urls = ["{url}"]
"""


@dataclass
class Served:
    server: Glmserve
    upstream: Upstream


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that is configured by a file, with models of every kind, two of which cannot be served."""
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "broken.bin").write_bytes(b"no model")
    file = folder / "glmserve.toml"
    with Upstream() as upstream:
        file.write_text(FILE.format(url=upstream.url))
        with Glmserve("up", "--config", str(file)) as server:
            yield Served(server, upstream)


@pytest.fixture
def channel(served: Served) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.server.grpc_address) as channel:
        yield channel


def listed(channel: grpc.Channel) -> dict[str, Model]:
    return {model.id: model for model in ModelServiceStub(channel).ListModels(ListModelsRequest()).models}


def test_every_model_answers_under_its_names(served: Served, way: Way) -> None:
    with way(served.server) as face:
        for name in ("tiny-glm4", "small", "gpt-4o-mini"):
            assert "Paris" in face.ask(QUESTION, model=name).text
        assert face.ask(QUESTION, model="further").text == "Hi"
        assert face.ask([("user", "a b")], model="brief").text == "a b"


def test_an_answer_names_the_model_that_gave_it(served: Served, channel: grpc.Channel) -> None:
    message = Message(role=message_pb2.ROLE_USER, content=[ContentPart(text="Hello!")])
    request = ChatCompletionRequest(model="small", messages=[message])
    assert ChatServiceStub(channel).CreateChatCompletion(request).model == "tiny-glm4"
    body = {"model": "small", "messages": [{"role": "user", "content": "Hello!"}]}
    answer = httpx.post(f"{served.server.openai_url}/chat/completions", json=body, timeout=60)
    assert answer.json()["model"] == "tiny-glm4"


def test_models_are_listed_in_order_with_their_other_names(served: Served, channel: grpc.Channel) -> None:
    models = listed(channel)
    assert list(models) == ["tiny-glm4", "drawn", "brief", "far", "broken", "impossible"]
    assert [model["id"] for model in httpx.get(f"{served.server.openai_url}/models").json()["data"]] == list(models)
    assert list(models["tiny-glm4"].aliases) == ["small", "gpt-4o-mini"]
    assert ModelServiceStub(channel).GetModel(GetModelRequest(model="further")).model.id == "far"
    assert httpx.get(f"{served.server.openai_url}/models/small").json()["id"] == "tiny-glm4"


def test_pages_of_an_allowed_origin_are_let_in(served: Served) -> None:
    def allowed(origin: str) -> str | None:
        headers = {"origin": origin, "access-control-request-method": "POST"}
        answer = httpx.options(f"{served.server.openai_url}/chat/completions", headers=headers)
        return dict(answer.headers).get("access-control-allow-origin")

    assert allowed("https://chat.example.com") == "https://chat.example.com"
    assert allowed("https://evil.example.com") is None


def test_each_model_has_limits_of_its_own(served: Served, channel: grpc.Channel, way: Way) -> None:
    models = listed(channel)
    assert (models["tiny-glm4"].context_length, models["drawn"].context_length) == (512, 2048)
    with way(served.server) as face:
        with pytest.raises(Refused, match="longer than 1 seconds") as refused:
            face.ask([("user", "/slow")], model="brief", max_completion_tokens=100_000)
        assert refused.value.status == 504


def test_each_model_has_a_queue_of_its_own(tmp_path: Path) -> None:
    go = threading.Event()

    def held(connection: socket.socket) -> None:
        go.wait()
        connection.sendall(HELLO)

    with Upstream(held) as upstream:
        file = tmp_path / "glmserve.toml"
        file.write_text(QUEUES.format(url=upstream.url))
        with (
            Glmserve("serve", "--config", str(file)) as server,
            grpc.insecure_channel(server.grpc_address) as channel,
            ThreadPoolExecutor() as threads,
        ):
            face = GrpcFace(channel)
            for model, limit in (("short", 1), ("long", 2), ("usual", 3)):
                go.clear()
                asked = [threads.submit(face.ask, QUESTION, model=model) for _ in range(limit + 2)]
                refused, waiting = wait(asked, return_when=FIRST_COMPLETED)
                go.set()
                with pytest.raises(Refused, match=f"{limit} requests wait for this model already") as fault:
                    refused.pop().result()
                assert fault.value.status == 429
                assert [call.result().text for call in waiting] == ["Hi"] * (limit + 1)


def test_a_default_holds_for_requests_that_say_nothing(served: Served, way: Way) -> None:
    with way(served.server) as face:
        short = face.ask([("user", "a b c d e")], model="brief")
        assert (short.text, short.finish) == ("a b c", "length")
        assert face.ask([("user", "a b c d e")], model="brief", max_completion_tokens=4).text == "a b c d"
        turns = [("user", "Count from one to ten.")]
        assert len({face.ask(turns, model="drawn", max_completion_tokens=30).text for _ in range(5)}) > 1
        assert (
            len({face.ask(turns, model="drawn", temperature=0, max_completion_tokens=30).text for _ in range(3)}) == 1
        )


def test_an_upstream_gets_the_defaults_the_headers_and_the_extra_fields(served: Served, way: Way) -> None:
    with way(served.server) as face:
        face.ask(QUESTION, model="far")
        head, _ = served.upstream.requests[-1]
        assert b"\r\nx-team: blue\r\n" in head
        body = served.upstream.body
        assert (body["model"], body["tier"]) == ("there", "low")
        assert (body["temperature"], body["top_p"], body["top_k"]) == (0.25, 0.5, 7)
        assert (body["repetition_penalty"], body["max_completion_tokens"]) == (1.25, 11)
        face.ask(QUESTION, model="far", temperature=1, max_completion_tokens=5)
        assert (served.upstream.body["temperature"], served.upstream.body["max_completion_tokens"]) == (1, 5)


def test_a_model_that_cannot_be_loaded_is_unavailable_with_its_reason(served: Served, way: Way) -> None:
    with way(served.server) as face:
        for name in ("broken", "damaged"):
            with pytest.raises(Refused, match=r"The model 'broken' is not loaded: .*broken.bin: ") as refused:
                face.ask(QUESTION, model=name)
            assert refused.value.status == 503
        with pytest.raises(Refused, match="top_k has a default, but this model cannot honour it"):
            face.ask(QUESTION, model="impossible")


def test_the_reason_is_on_the_terminal_and_in_the_list(served: Served, channel: grpc.Channel) -> None:
    log = served.server.log
    assert "glmserve: configured by " in log
    assert "glmserve: brief is loaded after 0." in log
    assert "1 worker of 1 thread on " in next(line for line in log.splitlines() if "tiny-glm4 is loaded after" in line)
    (line,) = [line for line in log.splitlines() if "broken is not loaded" in line]
    fault = listed(channel)["broken"].fault
    assert line == f"glmserve: broken is not loaded: {fault}"
    command = [str(COMMAND), "models", "--grpc", served.server.grpc_address]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=WIDE).stdout
    assert "broken.bin" in printed


def test_health_is_said_of_each_model(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)

    def status(service: str) -> str:
        checked = stub.Check(health_pb2.HealthCheckRequest(service=service))  # type: ignore[attr-defined]
        return health_pb2.HealthCheckResponse.ServingStatus.Name(checked.status)

    assert {status(name) for name in ("", "glmserve.v1.ChatService", "tiny-glm4", "far", "brief")} == {"SERVING"}
    assert {status(name) for name in ("broken", "impossible")} == {"NOT_SERVING"}


def test_a_server_without_any_model_does_not_start(tmp_path: Path) -> None:
    models = ["--model", str(tmp_path / "a.bin"), "--model", str(tmp_path / "b.bin")]
    command = [str(COMMAND), "serve", "--grpc-port", "0", *models]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    first, one, other, last = sorted(done.stderr.splitlines(), key=lambda line: ("loading" not in line, line))
    assert first == "glmserve: loading a, b"
    assert f"a is not loaded: {tmp_path}/a.bin: neither a model file nor" in one
    assert f"b is not loaded: {tmp_path}/b.bin: neither a model file nor" in other
    assert last == "glmserve: none of the 2 models can be loaded; the reasons are above"


def test_a_model_whose_file_comes_later_is_served_then(tmp_path: Path) -> None:
    file = tmp_path / "late.bin"
    with (
        Glmserve("serve", "--model", "scripted", "--model", str(file), "--workers", "1") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        statuses = health_of(channel, "late")
        assert next(statuses) == "NOT_SERVING"
        file.symlink_to(BUNDLED["tiny-glm4"])
        assert next(statuses) == "SERVING"
        assert not listed(channel)["late"].fault
        assert "late is served again" in server.log

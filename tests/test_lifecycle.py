"""Starting, announcing, draining and ending: the `glmserve` command as an operator meets it."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import psutil
import pytest
from faces import Refused, opened
from grpc_health.v1 import health_pb2, health_pb2_grpc
from running import BATCHED, COMMAND, MODEL, SMOLLM2, Glmserve, llama_server, smollm2_server

from glmserve.v1.model_pb2 import GetModelRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve_server.bundled import BUNDLED

QUESTION = [("user", "What is the capital of France?")]
ENDLESS: dict[str, Any] = {"model": MODEL, "temperature": 0, "ignore_eos": True}
LLAMA_ANSWER = pytest.param("batched", 1500, marks=pytest.mark.llama)
SMOLLM2_ANSWER = pytest.param("smollm2", 40, marks=pytest.mark.llama)


def failed(*arguments: str, status: int = 1) -> str:
    """What a command that cannot start says, in its last line, when it ends with that status."""
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, done
    *_, line = done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    return line


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all processes end (a deadline apart, which is the test's own)."""
    psutil.wait_procs(processes)
    return True


def llama_of(kind: str, *flags: str) -> Glmserve:
    """A server with one slot that runs a model with llama.cpp."""
    if kind == "smollm2":
        return smollm2_server(*flags, slots=1)
    return llama_server("--model", MODEL, *flags, slots=1)


@pytest.mark.parametrize("command", ["up", "serve"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_process_cleanly(command: str, number: signal.Signals) -> None:
    with Glmserve(command, "--model", MODEL, "--workers", "2") as server:
        family = server.family()
        assert len(family) == (4 if command == "up" else 3)
        server.signal(number)
        assert server.wait() == 0
        assert gone(family)
        assert not server.ready_file.exists()
        assert "Traceback" not in server.log


def test_ctrl_c_on_the_terminal_reaches_all_and_ends_cleanly() -> None:
    with Glmserve("up", "--model", MODEL) as server:
        family = server.family()
        os.killpg(server.pid, signal.SIGINT)
        assert server.wait() == 0
        assert gone(family)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("engine", ["chatglm", pytest.param("llama", marks=pytest.mark.llama)])
def test_a_signal_that_reaches_all_lets_a_running_answer_finish(engine: str, number: signal.Signals) -> None:
    flags = ("--model", MODEL)
    running = Glmserve("serve", *flags) if engine == "chatglm" else llama_server(*flags, slots=1, command="serve")
    with running as server, opened("grpc", server) as way:
        family = server.family()
        stream = way.stream(QUESTION, **ENDLESS, max_completion_tokens=1500)
        next(stream)
        os.killpg(server.pid, number)
        *_, last = stream
        assert (last.finish, last.completion_tokens) == ("length", 1500)
        assert server.wait() == 0
        assert gone(family)


def test_nothing_outlives_a_server_that_is_killed() -> None:
    with Glmserve("up", "--model", MODEL, "--workers", "2") as server:
        family = server.family()
        server.signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        assert gone(family)


@pytest.mark.parametrize("face", ["grpc", "http"])
def test_a_running_answer_is_finished_before_the_server_ends(face: str) -> None:
    with Glmserve("up", "--model", "scripted") as server, opened(face, server) as way:
        stream: Iterator[object] = way.stream([("user", "/count 3000")], model="scripted")
        next(stream)
        server.signal(signal.SIGTERM)
        *_, last = stream
        assert vars(last)["text"].split() == [str(number) for number in range(1, 3001)]
        assert server.wait() == 0


@pytest.mark.parametrize("face", ["grpc", "http"])
@pytest.mark.parametrize(("kind", "most"), [LLAMA_ANSWER, SMOLLM2_ANSWER])
def test_a_running_answer_of_a_model_is_finished_before_the_server_ends(face: str, kind: str, most: int) -> None:
    with llama_of(kind) as server, opened(face, server) as way:
        family = server.family()
        stream = way.stream(QUESTION, **ENDLESS, max_completion_tokens=most)
        next(stream)
        server.signal(signal.SIGTERM)
        *_, last = stream
        assert (last.finish, last.completion_tokens) == ("length", most)
        assert server.wait() == 0
        assert gone(family)


@pytest.mark.parametrize("face", ["grpc", "http"])
@pytest.mark.parametrize("kind", [BATCHED, SMOLLM2])
def test_an_answer_of_a_model_that_the_grace_is_too_short_for_ends_with_an_error(face: str, kind: str) -> None:
    with llama_of(kind, "--grace", "0.5") as server, opened(face, server) as way:
        family = server.family()
        stream = way.stream(QUESTION, **ENDLESS)
        next(stream)
        (worker,) = server.workers()
        worker.suspend()  # so that the answer is not done before
        server.signal(signal.SIGTERM)
        with pytest.raises(Refused, match="shutting down"):
            list(stream)
        assert server.wait() == 0
        assert gone(family)


@pytest.mark.parametrize("face", ["grpc", "http"])
def test_an_answer_that_the_grace_is_too_short_for_ends_with_an_error(face: str) -> None:
    with Glmserve("up", "--model", "scripted", "--grace", "0.5") as server, opened(face, server) as way:
        stream = way.stream([("user", "/slow")], model="scripted")
        next(stream)
        server.signal(signal.SIGTERM)
        with pytest.raises(Refused, match="shutting down"):
            list(stream)
        assert server.wait() == 0


def test_a_watch_of_the_health_does_not_hold_the_server_up() -> None:
    with (
        Glmserve("serve", "--model", "scripted", "--grace", "3600") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        request = health_pb2.HealthCheckRequest()
        watch = health_pb2_grpc.HealthStub(channel).Watch(request)  # type: ignore[attr-defined]
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert server.wait() == 0  # in the test's time, not in an hour


def test_it_listens_on_addresses_of_ip_version_6() -> None:
    with Glmserve("up", "--model", "scripted", "--host", "::1") as server, opened("http", server) as way:
        assert server.openai_url.startswith("http://[::1]:")
        assert way.ask([("user", "hello world")], model="scripted").text == "hello world"


def test_a_ready_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "ready.json"
    line = failed("serve", "--grpc-port", "0", "--model", "scripted", "--ready-file", str(path))
    assert "No such file" in line


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / f"{MODEL}.bin"
    file.write_bytes(BUNDLED[MODEL].read_bytes())
    line = failed("serve", "--grpc-port", "0", "--model", MODEL, "--model", str(file), status=2)
    assert line == "glmserve: two models have one name: 'tiny-glm4' is a name twice"


def test_a_second_signal_does_not_wait() -> None:
    with Glmserve("serve", "--model", "scripted") as server, opened("grpc", server) as way:
        stream = way.stream([("user", "/slow")], model="scripted")
        next(stream)
        server.signal(signal.SIGINT)
        while "once more to stop at once" not in server.log:
            next(stream)
        server.signal(signal.SIGINT)
        assert server.wait() == 0


def test_the_ready_file_has_the_addresses(server: Glmserve) -> None:
    addresses = json.loads(server.ready_file.read_text())
    assert addresses == {"openai": server.openai_url, "grpc": server.grpc_address, "admin": server.admin_url}
    assert httpx.get(f"{server.admin_url}/ready").text.strip() == "LIVE"


def test_the_line_to_try_works_as_it_is_printed(server: Glmserve) -> None:
    (line,) = [line for line in server.log.splitlines() if line.startswith("  try ")]
    done = subprocess.run(line.removeprefix("  try "), shell=True, capture_output=True, check=True)  # noqa: S602
    assert "Paris" in json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_the_edge_can_run_alone(server: Glmserve, tmp_path: Path) -> None:
    with edge_before([server], tmp_path / "ready.json") as url:
        assert {model["id"] for model in httpx.get(f"{url}/models").json()["data"]} == {MODEL, "scripted"}


def test_a_rolling_restart_behind_the_edge_loses_no_request(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(Glmserve("serve", "--model", "scripted", "--drain-delay", "3")) for _ in range(2)
        )
        url = stack.enter_context(edge_before([first, second], tmp_path / "ready.json"))
        client = stack.enter_context(openai.OpenAI(base_url=url, api_key="none", max_retries=0))
        first.signal(signal.SIGTERM)
        while psutil.pid_exists(first.pid) and psutil.Process(first.pid).status() != psutil.STATUS_ZOMBIE:
            messages: Any = [{"role": "user", "content": "/count 20"}]
            completion = client.chat.completions.create(model="scripted", messages=messages)
            assert completion.usage is not None
            assert completion.usage.completion_tokens == 20
        assert first.wait() == 0
        served = {server.pid: server.log.count("CreateChatCompletion OK") for server in (first, second)}
        assert min(served.values()) > 0  # both had their part


@contextmanager
def edge_before(servers: list[Glmserve], ready_file: Path) -> Iterator[str]:
    """An edge in front of servers; gives its base URL."""
    arguments = [word for server in servers for word in ("--grpc", server.grpc_address)]
    with subprocess.Popen(
        [COMMAND, "edge", *arguments, "--port", "0", "--ready-file", str(ready_file)], stdout=subprocess.PIPE, text=True
    ) as edge:
        assert edge.stdout is not None
        assert edge.stdout.readline().startswith("OpenAI")
        try:
            yield json.loads(ready_file.read_text())["openai"]
        finally:
            edge.send_signal(signal.SIGINT)
            assert edge.wait() == 0


@pytest.mark.parametrize("option", ["--grpc-port", "--port"])
def test_a_taken_port_is_one_clear_line(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"--grpc-port": "0", "--port": "0", option: port}
        line = failed("up", "--model", "scripted", *(word for pair in ports.items() for word in pair))
    assert "cannot listen on 127.0.0.1:" in line
    assert port in line


def test_a_model_that_is_not_there_is_one_clear_line() -> None:
    line = failed("serve", "--grpc-port", "0", "--model", "glm-9000")
    assert line == f"glmserve: glm-9000: neither a model file nor one of: {', '.join(sorted(BUNDLED))}, scripted"


def test_a_damaged_model_file_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "cut.bin"
    file.write_bytes(BUNDLED[MODEL].read_bytes()[:-1000])
    line = failed("serve", "--grpc-port", "0", "--model", str(file))
    assert line.startswith(f"glmserve: {file}: the file is cut: tensor ")


@pytest.mark.parametrize(
    ("option", "value"), [("--port", "70000"), ("--workers", "0"), ("--unsupported", "maybe"), ("--time-limit", "0")]
)
def test_an_impossible_setting_is_refused_by_name(option: str, value: str) -> None:
    done = subprocess.run([COMMAND, "up", option, value], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert option in done.stderr
    assert value in done.stderr


def test_preferences_can_be_refused() -> None:
    with (
        Glmserve("serve", "--model", "scripted", "--unsupported", "refuse") as server,
        opened("grpc", server) as way,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        with pytest.raises(Exception, match="seed is not supported by this model"):
            way.ask(QUESTION, model="scripted", seed=1)
        told = ModelServiceStub(channel).GetModel(GetModelRequest(model="scripted")).model.parameters
        assert "seed" in told.refused
        assert not told.ignored


@pytest.mark.parametrize(
    ("path", "given", "param"),
    [
        ("/v1/chat/completions", {"messages": [], "seed": 1}, "seed"),
        ("/v1/chat/completions", {"messages": [], "store": True}, "store"),
        ("/v1/completions", {"prompt": "a", "reasoning_effort": "high"}, "reasoning_effort"),
        ("/api/paas/v4/chat/completions", {"messages": [], "sensitive_word_check": {"type": "ALL"}}, ""),
    ],
)
def test_preferences_can_be_refused_at_the_edge(refusing: Glmserve, path: str, given: Any, param: str) -> None:
    if "messages" in given:
        given = {**given, "messages": [{"role": "user", "content": "a"}]}
    answer = httpx.post(refusing.edge_url + path, json={"model": "scripted", **given}, timeout=30)
    assert answer.status_code == 400
    assert "is not supported" in answer.json()["error"]["message"]
    assert answer.json()["error"].get("param", "") == param


def test_what_is_refused_is_not_said_to_be_ignored(refusing: Glmserve) -> None:
    model = httpx.get(f"{refusing.openai_url}/models/scripted", timeout=30).json()
    assert model["glmserve"]["parameters"]["ignored"] == []
    assert {"seed", "store"} <= set(model["glmserve"]["parameters"]["refused"])
    assert httpx.get(f"{refusing.openai_url}/models", timeout=30).json()["data"] == [model]


@pytest.fixture(scope="module")
def refusing() -> Iterator[Glmserve]:
    """A server that ignores nothing."""
    with Glmserve("up", "--model", "scripted", "--unsupported", "refuse") as running:
        yield running


def test_an_answer_may_not_take_longer_than_the_limit() -> None:
    with (
        Glmserve("serve", "--model", "scripted", "--time-limit", "1") as server,
        opened("grpc", server) as way,
        pytest.raises(Exception, match="longer than 1 seconds"),
    ):
        way.ask([("user", "/slow")], model="scripted")


def test_ask_streams_an_answer_to_the_terminal(server: Glmserve) -> None:
    arguments = ["ask", "--grpc", server.grpc_address, "--model", MODEL]
    done = subprocess.run(
        [COMMAND, *arguments, "What is the capital of France?"], capture_output=True, text=True, check=True
    )
    assert "Paris" in done.stdout
    piped = subprocess.run(
        [COMMAND, *arguments, "-"], input="What is your name?", capture_output=True, text=True, check=True
    )
    assert piped.stdout.strip()


def test_ask_says_what_is_wrong(server: Glmserve) -> None:
    unknown = failed("ask", "--grpc", server.grpc_address, "--model", "gpt-9", "Hello!")
    assert unknown == "glmserve: The model 'gpt-9' does not exist; this server has: tiny-glm4, scripted"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
    assert failed("ask", "--grpc", address, "Hello!") == (
        f"glmserve: no server answers at {address}: Connection refused; start one with: glmserve up"
    )


def test_help_names_every_command() -> None:
    done = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=True)
    for command in ("up", "serve", "edge", "ask"):
        assert f" {command} " in done.stdout

"""What operators watch: every call is counted once, by model and outcome, over either face."""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from faces import Refused, opened
from running import COMMAND, MODEL, Glmserve
from watching import Samples, samples, until, url_of

ANSWER = {
    "grpc": "glmserve.v1.ChatService/CreateChatCompletion",
    "http": "glmserve.v1.OpenAIService/CreateChatCompletion",
}
STREAM = {"grpc": "glmserve.v1.ChatService/StreamChatCompletion", "http": ANSWER["http"]}


@pytest.fixture(scope="module")
def watched(server: Glmserve) -> Iterator[Glmserve]:
    """A server with metrics: the embedded model, the scripted one, one that cannot be loaded, and one elsewhere, one
    request at a time."""
    models = [flag for model in (MODEL, "scripted", "/nowhere.bin") for flag in ("--model", model)]
    elsewhere = ("--upstream", f"narrow={server.openai_url}#scripted", "--upstream-concurrency", "1")
    with Glmserve("up", *models, *elsewhere, "--metrics-port", "0") as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def wire(request: pytest.FixtureRequest) -> str:
    """The way to the server."""
    return str(request.param)


def risen(server: Glmserve, before: Samples) -> Samples:
    """By how much the counters of calls, answers and tokens have risen; those that have not are left out."""
    now = samples(server)
    counts = {key: now[key] - before.get(key, 0) for key in now if key[0].endswith(("_total", "_count"))}
    return {key: rise for key, rise in counts.items() if rise and key[0].startswith("glmserve_")}


def calls(code: str, method: str, model: str) -> Samples:
    """The rises that one call makes."""
    return {
        ("glmserve_calls_total", code, method, model): 1,
        ("glmserve_call_duration_seconds_count", method, model): 1,
    }


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", [MODEL, "scripted"])
def test_an_answer_counts_with_its_tokens(watched: Glmserve, wire: str, model: str, streamed: bool) -> None:
    before = samples(watched)
    turns = [("user", "What is the capital of France?")]
    with opened(wire, watched) as face:
        reply = [*face.stream(turns, model=model)][-1] if streamed else face.ask(turns, model=model)
    assert reply.completion_tokens > 1
    expected = calls("OK", (STREAM if streamed else ANSWER)[wire], model)
    expected["glmserve_time_to_first_token_seconds_count", model] = 1
    expected["glmserve_tokens_total", "prompt", model] = reply.prompt_tokens
    expected["glmserve_tokens_total", "completion", model] = reply.completion_tokens
    if reply.cached_tokens:
        expected["glmserve_tokens_total", "cached", model] = reply.cached_tokens
    assert risen(watched, before) == expected


def test_a_model_that_is_not_there_makes_no_label(watched: Glmserve, wire: str) -> None:
    before = samples(watched)
    with opened(wire, watched) as face, pytest.raises(Refused):
        face.ask([("user", "Hello")], model="made-up")
    assert risen(watched, before) == calls("NOT_FOUND", ANSWER[wire], "")
    assert "made-up" not in httpx.get(url_of(watched), timeout=30).text


@pytest.mark.parametrize(("command", "code"), [("/fail", "UNAVAILABLE"), ("/break", "INTERNAL")])
def test_an_answer_that_breaks_has_the_code_of_its_error(watched: Glmserve, wire: str, command: str, code: str) -> None:
    before = samples(watched)
    with opened(wire, watched) as face, pytest.raises(Refused):
        [*face.stream([("user", f"{command} after 2")], model="scripted")]
    broken = ("glmserve_calls_total", code, STREAM[wire], "scripted")  # over HTTP, the event comes before the end
    until(watched, broken, before.get(broken, 0) + 1)
    assert f"{STREAM[wire]} {code} " in watched.log
    assert risen(watched, before) == {
        **calls(code, STREAM[wire], "scripted"),
        ("glmserve_time_to_first_token_seconds_count", "scripted"): 1,
    }


def test_an_answer_that_is_left_is_cancelled(watched: Glmserve, wire: str) -> None:
    before = samples(watched)
    cancelled = ("glmserve_calls_total", "CANCELLED", STREAM[wire], "scripted")
    with opened(wire, watched) as face:
        answer = face.stream([("user", "/slow")], model="scripted")
        next(answer)
        answer.close()
    until(watched, cancelled, before.get(cancelled, 0) + 1)
    until(watched, ("glmserve_answers", "scripted"), 0)


def test_who_waits_is_seen(watched: Glmserve, wire: str) -> None:
    def ask() -> None:
        with opened(wire, watched) as other:
            other.ask([("user", "Hello")], model="narrow")

    with opened(wire, watched) as face:
        answer = face.stream([("user", "/slow")], model="narrow")
        next(answer)
        second = threading.Thread(target=ask)
        second.start()
        until(watched, ("glmserve_answers_waiting", "narrow"), 1)
        assert samples(watched)["glmserve_answers", "narrow"] == 2
        answer.close()
        second.join()
    until(watched, ("glmserve_answers", "narrow"), 0)
    assert samples(watched)["glmserve_answers_waiting", "narrow"] == 0


def test_models_are_up_or_not(watched: Glmserve) -> None:
    up = {key[1]: value for key, value in samples(watched).items() if key[0] == "glmserve_model_up"}
    assert up == {MODEL: 1, "scripted": 1, "narrow": 1, "nowhere": 0}


def test_a_model_that_is_asked_for_is_named(watched: Glmserve) -> None:
    before = samples(watched)
    assert httpx.get(f"{watched.openai_url}/models/scripted", timeout=30).status_code == 200
    assert risen(watched, before) == calls("OK", "glmserve.v1.OpenAIService/RetrieveModel", "scripted")


@pytest.mark.parametrize("name", ["glmserve_model_up", "glmserve_answers", "glmserve_answers_waiting"])
def test_one_number_can_be_asked_for(watched: Glmserve, name: str) -> None:
    answer = httpx.get(url_of(watched), params={"name[]": name}, timeout=30)
    assert f'{name}{{model="scripted"}}' in answer.text


def test_whoever_asks_nothing_is_hung_up_on(watched: Glmserve) -> None:
    url = httpx.URL(url_of(watched))
    with socket.create_connection((url.host, url.port or 0), timeout=60) as silent:
        silent.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert silent.recv(1) == b""


def test_calls_without_a_key_are_counted(tmp_path: Path, wire: str) -> None:
    keys = tmp_path / "keys"
    keys.write_text("only-this-one")
    with Glmserve("up", "--model", "scripted", "--metrics-port", "0", "--api-key-file", str(keys)) as server:
        with opened(wire, server) as face, pytest.raises(Refused):
            face.ask([("user", "Hello")], model="scripted")
        assert risen(server, {}) == calls("UNAUTHENTICATED", ANSWER[wire], "")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [COMMAND, "serve", "--grpc-port", "0", "--model", "scripted", "--metrics-port", str(port)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port} for metrics: Address already in use" in done.stderr


def test_there_are_none_unless_they_are_wanted(server: Glmserve) -> None:
    assert set(json.loads(server.ready_file.read_text())) == {"openai", "grpc", "admin"}

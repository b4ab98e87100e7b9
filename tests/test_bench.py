"""`glmserve bench` and `glmserve bench-model`: every request is accounted for, and made models are models."""

import json
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import FILES
from running import COMMAND, MODEL, Glmserve
from test_client_faults import ScriptedChat
from upstreams import DONE, HEAD, Upstream, chunk

from glmserve.v1 import chat_pb2_grpc
from glmserve_server.dialects.families import dialect_of
from glmserve_server.engines.chatglm import modelfile
from glmserve_server.engines.chatglm.architecture import Family

Bench = Callable[..., tuple[int, dict[str, Any]]]


def run(command: str, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command, to its end; `env` is added to the environment."""
    environment = {**os.environ, **(env or {})}
    return subprocess.run([COMMAND, command, *arguments], capture_output=True, text=True, check=False, env=environment)


def measured(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the report of a measurement."""
    ended = run("bench", "--json", "-", *arguments)
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


@pytest.fixture(params=["grpc", "http"])
def bench(request: pytest.FixtureRequest, server: Glmserve) -> Bench:
    """Measures `server` both ways, one after the other."""
    target = ["--grpc", server.grpc_address] if request.param == "grpc" else ["--url", server.openai_url]
    return lambda *arguments: measured(*target, *arguments)


def is_accounted_for(level: dict[str, Any]) -> bool:
    """Whether every request that was sent has ended in one of the four ways."""
    counts = level["requests"]
    ends = sum(counts[end] for end in ("answered", "cancelled", "failed", "unfinished"))
    return bool(counts["sent"] == ends and sum(error["count"] for error in level["errors"]) == counts["failed"])


def test_every_request_is_answered_and_measured(bench: Bench) -> None:
    status, report = bench("--model", MODEL, "--concurrency", "1,3", "--requests", "5", "--answer-tokens", "100")
    assert (status, report["format"], report["model"]) == (0, 1, MODEL)
    assert [level["concurrency"] for level in report["levels"]] == [1, 3]
    for level in report["levels"]:
        assert is_accounted_for(level)
        assert (level["requests"]["planned"], level["requests"]["answered"]) == (5, 5)
        assert level["tokens"] == 5 * 100  # the model goes on past the end of its answers
        assert level["completion_tokens"]["min"] == level["completion_tokens"]["max"] == 100
        assert 0 < level["first_token_ms"]["p50"] <= level["first_token_ms"]["p99"] <= level["answer_ms"]["max"]
        assert level["next_token_ms"]["count"] > 0
        assert level["tokens_per_second"] > level["requests_per_second"] > 0


def test_prompts_have_about_the_wished_length(bench: Bench) -> None:
    _, report = bench("--model", MODEL, "--concurrency", "1", "--prompt-tokens", "200", "--answer-tokens", "1")
    assert report["levels"][0]["prompt_tokens"]["mean"] == pytest.approx(200, rel=0.1)


def test_the_first_listed_model_is_measured_if_none_is_named(bench: Bench) -> None:
    _, report = bench("--concurrency", "1", "--requests", "1", "--answer-tokens", "1")
    assert report["model"] == MODEL


def test_a_conversation_grows_from_turn_to_turn(bench: Bench) -> None:
    options = ["--turns", "3", "--requests", "2", "--prompt-tokens", "20", "--answer-tokens", "5"]
    _, report = bench("--model", MODEL, "--concurrency", "2", *options)
    level = report["levels"][0]
    assert is_accounted_for(level)
    assert level["requests"]["answered"] == 6
    turns = level["turns"]
    assert [turn["turn"] for turn in turns] == [1, 2, 3]
    assert all(turn["first_token_ms"]["count"] == 2 for turn in turns)
    lengths = [turn["prompt_tokens"]["mean"] for turn in turns]
    assert lengths == sorted(set(lengths))


def test_a_share_of_the_requests_is_left(bench: Bench) -> None:
    options = ["--prompt", "/slow", "--answer-tokens", "20", "--cancel", "0.25"]
    status, report = bench("--model", "scripted", "--concurrency", "4", "--requests", "12", *options)
    assert status == 0
    assert is_accounted_for(report["levels"][0])
    assert report["levels"][0]["requests"] == {
        "planned": 12,
        "sent": 12,
        "answered": 9,
        "cancelled": 3,
        "failed": 0,
        "unfinished": 0,
    }
    assert report["settings"]["ignored"] == ["ignore_eos"]


def test_failures_are_counted_by_kind_with_their_message(bench: Bench) -> None:
    for prompt in ("/fail", "/fail after 3"):
        status, report = bench("--model", "scripted", "--concurrency", "2", "--requests", "4", "--prompt", prompt)
        level = report["levels"][0]
        assert status == 1
        assert is_accounted_for(level)
        assert level["requests"]["failed"] == 4
        (error,) = level["errors"]
        assert error["count"] == 4
        assert error["kind"]
        assert error["message"].startswith("The script failed")


def test_a_refusal_is_counted_and_does_not_end_the_measurement(bench: Bench) -> None:
    status, report = bench("--model", "gpt-9", "--concurrency", "1,2", "--requests", "2")
    assert status == 1
    for level in report["levels"]:
        assert is_accounted_for(level)
        assert [error["count"] for error in level["errors"]] == [2]
        assert "'gpt-9' does not exist" in level["errors"][0]["message"]


def test_what_runs_when_the_time_is_up_is_left_and_counted(bench: Bench) -> None:
    options = ["--prompt", "/slow", "--answer-tokens", "4000", "--max-time", "1"]
    status, report = bench("--model", "scripted", "--concurrency", "3", "--requests", "9", *options)
    level = report["levels"][0]
    assert status == 1
    assert is_accounted_for(level)
    assert (level["requests"]["sent"], level["requests"]["unfinished"]) == (3, 3)
    assert level["tokens"] > 0


@pytest.mark.parametrize("target", [("--grpc", "127.0.0.1:1"), ("--url", "http://127.0.0.1:1/v1")])
def test_a_server_that_is_not_there_is_a_failure_of_every_request(target: tuple[str, str]) -> None:
    status, report = measured(*target, "--concurrency", "1", "--requests", "2")
    assert status == 1
    assert is_accounted_for(report["levels"][0])
    assert report["levels"][0]["requests"]["failed"] == 2


@pytest.mark.parametrize("wire", ["grpc", "http"])
def test_proxies_of_the_environment_are_not_used(wire: str, server: Glmserve) -> None:
    target = ["--grpc", server.grpc_address] if wire == "grpc" else ["--url", server.openai_url]
    options = ["--concurrency", "1", "--requests", "1", "--answer-tokens", "1", "--json", "-"]
    with Upstream() as proxy:
        env = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY", "grpc_proxy"), f"http://{proxy.netloc}")
        env |= {"no_proxy": "", "NO_PROXY": ""}
        ended = run("bench", *target, *options, "--api-key", "secret", env=env)
        assert (ended.returncode, proxy.requests) == (0, [])


def test_any_address_may_be_measured(server: Glmserve) -> None:
    options = ["--concurrency", "1", "--requests", "1", "--answer-tokens", "1"]
    status, report = measured("--url", f"grpc://{server.grpc_address}", *options)
    assert (status, report["levels"][0]["requests"]["answered"]) == (0, 1)


def test_a_server_behind_tls_may_be_measured(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(FILES["ca.pem"])
    credentials = grpc.ssl_server_credentials([(FILES["server.key"].encode(), FILES["server.pem"].encode())])
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        chat_pb2_grpc.add_ChatServiceServicer_to_server(ScriptedChat([]), server)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        env = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "ca.pem"), "GLMSERVE_API_KEY": "secret"}
        ended = run("bench", "--url", f"grpcs://localhost:{port}", "--concurrency", "1", "--requests", "1", env=env)
        server.stop(None).wait()
    assert ended.returncode == 0, ended.stdout


def test_an_event_without_data_is_no_piece_of_the_answer() -> None:
    script = HEAD + b"retry: 3000\n\n" + chunk({"content": "Hi"}) + b"event: ping\n\n" + chunk(finish="stop") + DONE
    with Upstream(script) as upstream:
        status, report = measured("--url", upstream.url, "--concurrency", "1", "--requests", "1")
    assert (status, report["levels"][0]["errors"]) == (0, [])


def test_the_table_is_read_at_80_characters_and_the_plot_is_svg(server: Glmserve, tmp_path: Path) -> None:
    plot = tmp_path / "figures.svg"
    options = ["--concurrency", "1,2,3,4,5,6,7", "--requests", "2", "--answer-tokens", "4", "--plot", str(plot)]
    ended = run("bench", "--grpc", server.grpc_address, *options)
    lines = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("First token, ms p50") for line in lines)
    assert ET.fromstring(plot.read_text()).tag.endswith("svg")  # noqa: S314 (our own file)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--grpc HOST:PORT or --url"),
        (["--grpc", "a:1", "--url", "http://a/v1"], "name one server"),
        (["--grpc", "a:1", "--concurrency", "1,x"], "like 1,4,8"),
        (["--grpc", "a:1", "--concurrency", "0"], "from 1 to 1000"),
        (["--grpc", "a:1", "--plot", "a.png"], "draws SVG"),
        (["--grpc", "10.0.0.5:1", "--api-key", "secret"], "the key would travel to 10.0.0.5 in the clear"),
        (["--url", "http://10.0.0.5/v1", "--api-key", "secret"], "the key would travel to 10.0.0.5 in the clear"),
        (["--url", "https://a/v1", "--api-key", "not one"], "a header cannot carry"),
        (["--url", "nowhere"], "an address is like"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], said: str) -> None:
    ended = run("bench", *arguments)
    assert ended.returncode == 2
    assert said in " ".join(ended.stderr.replace("│", " ").split())


@pytest.mark.parametrize("kind", ["f16", "q4_0", "q8_0"])
def test_a_made_model_is_valid_and_answers(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "made.bin"
    options = ["--parameters", "300K", "--type", kind, "--context-length", "256"]
    made = run("bench-model", str(file), *options)
    assert made.returncode == 0, made.stderr
    model = modelfile.read(file)
    assert (model.family, model.config.max_length) == (Family.GLM4, 256)
    assert {tensor.dtype for tensor in model.tensors} == {"f32", kind}
    assert dialect_of(model).longest_token >= 2
    with Glmserve("serve", "--model", str(file), "--workers", "1", "--threads", "1") as running:
        status, report = measured("--grpc", running.grpc_address, "--concurrency", "1", "--requests", "2")
    assert status == 0
    assert report["levels"][0]["tokens"] == 2 * 64
    assert report["levels"][0]["first_token_ms"]["count"] == 2
    assert report["levels"][0]["prompt_tokens"]["mean"] == pytest.approx(64, rel=0.2)


def test_a_seed_makes_the_same_file_and_another_another(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one", "same", "other")]
    for file, seed in zip(files, "114", strict=True):
        assert run("bench-model", str(file), "--parameters", "200K", "--seed", seed).returncode == 0
    one, same, other = (file.read_bytes() for file in files)
    assert one == same != other
    assert len(one) == len(other)
    assert sorted(tmp_path.iterdir()) == sorted(files)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--parameters", "many"], 2, "like 300M"),
        (["--parameters", "30B"], 2, "between 100K and 20B"),
        (["--type", "q5_1"], 2, "one of f16, q4_0, q8_0"),
    ],
)
def test_a_model_that_cannot_be_made_is_told(tmp_path: Path, arguments: list[str], status: int, said: str) -> None:
    ended = run("bench-model", str(tmp_path / "made.bin"), *arguments)
    assert ended.returncode == status
    assert said in " ".join(ended.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())

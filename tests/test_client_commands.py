"""`glmserve ask`, `models` and `tokens` as a terminal and a script meet them."""

import json
import os
import pty
import re
import socket
import subprocess
from typing import Any

import pytest
from running import COMMAND, MODEL, Glmserve


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, **options)


@pytest.fixture(params=["grpc", "url"])
def where(request: pytest.FixtureRequest, server: Glmserve) -> list[str]:
    """The flags that name `server`, over each wire."""
    return ["--grpc", server.grpc_address] if request.param == "grpc" else ["--url", server.openai_url]


def test_a_question_is_answered(where: list[str]) -> None:
    done = run("ask", "What is the capital of France?", "--model", MODEL, "--temperature", "0", *where)
    assert (done.returncode, done.stdout, done.stderr) == (0, "The capital of France is Paris.\n", "")


def test_a_question_may_come_from_standard_input_and_the_answer_be_json(where: list[str]) -> None:
    done = run("ask", "-", "--model", MODEL, "--system", "You are Bob.", "--json", *where, input="What is your name?")
    reply = json.loads(done.stdout)
    assert "Bob" in reply["text"]
    assert (reply["model"], reply["finish_reason"], reply["tool_calls"]) == (MODEL, "stop", [])
    assert reply["usage"]["completion_tokens"] > 0


def test_models_are_listed(where: list[str]) -> None:
    lines = run("models", *where).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [MODEL, "scripted"]
    assert [model["id"] for model in json.loads(run("models", "--json", *where).stdout)] == [MODEL, "scripted"]


def test_tokens_are_counted(server: Glmserve) -> None:
    flags = ["--model", MODEL, "--grpc", server.grpc_address]
    assert re.fullmatch(r"\d+ of 2048\n", run("tokens", "Hello!", *flags).stdout)
    count = json.loads(run("tokens", "-", "--json", *flags, input="Hello!").stdout)
    assert count["prompt_tokens"] == len(count["token_ids"])
    refused = run("tokens", "Hello!", "--url", server.openai_url)
    assert (refused.returncode, "gRPC alone" in refused.stderr) == (1, True)


def test_what_fails_is_one_line_and_a_status(where: list[str]) -> None:
    done = run("ask", "Hello!", "--model", "gpt-9", *where)
    assert done.returncode == 1
    assert re.fullmatch(r"glmserve: .*'gpt-9' does not exist.*\n", done.stderr)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = run("ask", "Hello!", "--grpc", f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert done.stderr.endswith("; start one with: glmserve up\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "flags", [["--url", "nowhere"], ["--url", "http://h/v1", "--grpc", "h:1"], ["--max-tokens", "0"]]
)
def test_wrong_usage_has_a_status_of_its_own(flags: list[str]) -> None:
    assert run("ask", "Hello!", *flags).returncode == 2


def test_a_terminal_is_not_told_what_to_do(server: Glmserve) -> None:
    """The scripted model says what it is told, and a terminal would obey an escape sequence in it."""
    ours, theirs = pty.openpty()
    arguments = [str(COMMAND), "ask", "red \x1b[31malert\x07", "--model", "scripted", "--grpc", server.grpc_address]
    subprocess.run(arguments, stdout=theirs, check=True)
    assert os.read(ours, 1000) == b"red [31malert\r\n"
    os.close(theirs)
    os.close(ours)

"""What docs/client.md and docs/command-line.md show is run as it stands, against a running server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from running import COMMAND, Glmserve

import glmserve_client
from glmserve_client.chat import slash
from glmserve_client.chat.transcript import load
from glmserve_client.terminal.failure import Status

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "client.md").read_text()
COMMANDS = (DOCS / "command-line.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_print_what_they_say(block: str, server: Glmserve) -> None:
    code = block.replace("127.0.0.1:50051", server.grpc_address).replace("http://127.0.0.1:8080/v1", server.openai_url)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for said in re.findall(r"\)  # (.+)", block):
        assert said in done.stdout.splitlines()


def test_what_is_named_exists() -> None:
    errors = [kind.__name__ for kind in vars(glmserve_client).values() if _is_error(kind)]
    table = TEXT.partition("| error |")[2].partition("\n\n")[0]
    assert {name for name in errors if f"`{name}`" not in table} == {"GlmserveError", "RequestFailed"}
    options = TEXT.partition("| option |")[2]
    assert {name for name in glmserve_client.Options.__annotations__ if f"`{name}`" not in options} == set()


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, glmserve_client.GlmserveError)


def test_the_command_prints_what_is_shown(server: Glmserve) -> None:
    (block,) = re.findall(r"```console\n\$ (.*?)```", COMMANDS, re.DOTALL)
    command, shown = block.split("\n", 1)
    command = command.replace("glmserve ask", f"{COMMAND} ask").replace("http://127.0.0.1:8080/v1", server.openai_url)
    assert subprocess.check_output(command, shell=True, text=True) == shown  # noqa: S602


def test_every_command_option_and_status_is_told() -> None:
    told = set(re.findall(r"--?[a-z][a-z-]*", COMMANDS))
    for name in ("chat", "ask", "models", "tokens"):
        help_ = subprocess.check_output([COMMAND, name, "--help"], text=True, env={**os.environ, "COLUMNS": "200"})
        assert set(re.findall(r"(?<= )--[a-z][a-z-]+", help_)) - told == set(), name
    assert {command for command in slash.COMMANDS if f"`{command}" not in COMMANDS} == set()
    assert {status for status in Status if f"\n| {status.value} |" not in COMMANDS} == set()


def test_the_file_that_is_shown_can_be_loaded(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", COMMANDS, re.DOTALL)
    (tmp_path / "talk.json").write_text(shown)
    transcript, model = load(tmp_path / "talk.json")
    assert (transcript.system, model, len(transcript.messages)) == ("You are Bob.", "tiny-glm4", 2)

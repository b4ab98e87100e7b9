"""What the README shows is run as it stands, against a running server."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import COMMAND, Glmserve

JQ = "import json, sys; print(json.load(sys.stdin)['choices'][0]['message']['content'])"
"""What the README's jq does."""

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "clients" / "examples" / "README.md"
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
CONSOLE = [text for language, text in BLOCKS if language == "console" and not text.startswith("$ make")]


@pytest.fixture(scope="module")
def embedded() -> Iterator[Glmserve]:
    """The server that `make up` starts, with the embedded model alone."""
    with Glmserve("up") as running:
        yield running


def local(text: str, server: Glmserve) -> str:
    """The text with the addresses of this server."""
    text = text.replace("127.0.0.1:50051", server.grpc_address).replace("http://127.0.0.1:8080/v1", server.openai_url)
    return text.replace(".venv/bin/glmserve ask", f"{COMMAND} ask --grpc {server.grpc_address}")


@pytest.mark.parametrize("text", PYTHON)
def test_python_answers(text: str, embedded: Glmserve) -> None:
    done = subprocess.run([sys.executable, "-c", local(text, embedded)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Bob|Tokyo|get_weather", done.stdout)


@pytest.mark.parametrize("text", CONSOLE)
def test_commands_print_what_is_shown(text: str, embedded: Glmserve) -> None:
    command, shown = text.removeprefix("$ ").split("\n", 1)
    command = local(command, embedded).replace("| jq -r '.choices[0].message.content'", f"| {sys.executable} -c {JQ!r}")
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert done.stdout.strip() == shown.strip()


def test_paths_that_are_linked_exist() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md"), EXAMPLES):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_one_screen_shows_how_to_begin() -> None:
    first_screen = README.splitlines()[:14]
    assert any("make up" in line for line in first_screen)
    assert any("Paris" in line for line in first_screen)

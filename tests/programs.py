"""The example programs, and what runs them."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T", bound=Callable[..., object])

EXAMPLES = Path(__file__).parents[1] / "clients" / "examples"
NODE = EXAMPLES / "node"
NODE_JS = shutil.which("node")


def with_node(test: T) -> T:
    """Marks a test that needs Node.js and the packages of its examples."""
    missing = NODE_JS is None or not (NODE / "node_modules").is_dir()
    reason = "left out: no Node.js with the packages of clients/examples/node (make node)"
    marked: T = pytest.mark.node(pytest.mark.skipif(missing, reason=reason)(test))
    return marked


def node(*arguments: str | Path, **environment: str) -> list[str]:
    """What a program for Node.js prints."""
    assert NODE_JS
    return lines_of(NODE_JS, *arguments, **environment)


def lines_of(*command: str | Path, **environment: str) -> list[str]:
    """What a program prints. It must end well and complain of nothing."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=100, env={**os.environ, **environment}
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout.splitlines()

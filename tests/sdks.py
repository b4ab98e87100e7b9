"""What tests share that need other people's packages, which are installed only for them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from running import Glmserve

T = TypeVar("T", bound=Callable[..., object])

FACES = (Path(__file__).parents[1] / "docs" / "faces.md").read_text()


def with_sdk(test: T) -> T:
    """Marks a test that needs the packages that `make sdk` installs. Their own warnings are not ours."""
    marked: T = pytest.mark.sdk(pytest.mark.filterwarnings("ignore")(test))
    return marked


def shown(package: str, server: Glmserve) -> list[str]:
    """What the example for a package in docs/faces.md prints, when it is run as it stands."""
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", FACES, re.DOTALL) if f"from {package} " in block)
    code = code.replace("http://127.0.0.1:8080", server.edge_url)
    # DB-GPT prints a line of its own where CI is set.
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()

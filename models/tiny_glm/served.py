"""A model file as it is served: chatglm-cpp, greedy, with GLM-4 prompts built on token ids.

Knows nothing about torch; it needs only chatglm-cpp.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .conversation import Turn

FILE = Path(__file__).resolve().parents[2] / "server/glmserve_server/embedded/tiny-glm4.bin"
# The order of GLM-4's special tokens after the last rank; <|endoftext|> is the first.
SYSTEM, USER, ASSISTANT, OBSERVATION = 6, 7, 8, 9


def use_one_thread() -> bool:
    """Make chatglm-cpp use one thread, which is faster for a network this small; call before it is imported.

    Returns False where no C++ compiler is at hand; then it uses as many threads as it likes.
    """
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        return False
    library = Path(tempfile.mkdtemp()) / "one_thread.so"
    code = 'extern "C" unsigned _ZNSt6thread20hardware_concurrencyEv() { return 1; }'
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-x", "c++", "-", "-o", str(library)], input=code.encode(), check=True
    )
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return True


class ServedModel:
    """One loaded model file; greedy answers only."""

    def __init__(self, path: Path, *, max_length: int = 2048) -> None:
        from chatglm_cpp import Pipeline
        from chatglm_cpp._C import GenerationConfig

        if not path.is_file():
            raise FileNotFoundError(f"no model file at {path}")
        self.pipeline = Pipeline(str(path), max_length=max_length)
        self.config = self.pipeline.model.config
        self.greedy = GenerationConfig(max_length=max_length, do_sample=False)
        self.base = self.config.eos_token_id
        self.stops = {self.base, self.base + USER, self.base + OBSERVATION}

    def encode(self, text: str) -> list[int]:
        """Return the ids of ordinary text."""
        return self.pipeline.tokenizer.encode(text, 1 << 20)[2:]

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Return ``[gMASK]<sop>``, ``<|role|>{metadata}\\n{text}`` of each turn, and ``<|assistant|>``."""
        roles = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT, "observation": OBSERVATION}
        ids = list(self.pipeline.tokenizer.encode("", 8)[:2])
        for turn in turns:
            ids += [self.base + roles[turn.role], *self.encode(f"{turn.metadata}\n"), *self.encode(turn.text)]
        return [*ids, self.base + ASSISTANT]

    def generate(self, prompt: Sequence[int], *, limit: int = 200) -> list[int]:
        """Return up to ``limit`` greedy ids, without the one that ends the answer."""
        ids, past = list(prompt), 0
        while len(ids) - len(prompt) < limit:
            token = self.pipeline.model.generate_next_token(ids, None, self.greedy, past, len(ids))
            if token in self.stops:
                break
            past = len(ids)
            ids.append(token)
        return ids[len(prompt) :]

    def reply(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return the greedy answer to the conversation so far: one turn, or a turn for each call."""
        parts: list[list[int]] = [[]]
        for token in self.generate(self.prompt(turns)):
            if token == self.base + ASSISTANT:
                parts.append([])
            else:
                parts[-1].append(token)
        texts = [self._text(part).partition("\n") for part in parts]
        return [Turn("assistant", text.strip(), metadata) for metadata, _, text in texts]

    def _text(self, ids: list[int]) -> str:
        try:
            return self.pipeline.tokenizer.decode(ids)
        except (UnicodeDecodeError, RuntimeError):
            return "\n\ufffd"

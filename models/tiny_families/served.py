"""A model file as it is served: chatglm-cpp, greedy, from token ids; it needs neither torch nor the network."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .vocabularies import PREFIX_TOKENS, ROLE_TOKENS


class Served:
    """One loaded model file."""

    def __init__(self, path: Path, max_length: int = 512) -> None:
        from chatglm_cpp import Pipeline
        from chatglm_cpp._C import GenerationConfig

        if not path.is_file():
            raise FileNotFoundError(f"no model file at {path}")
        self.pipeline = Pipeline(str(path), max_length=max_length)
        self.greedy = GenerationConfig(max_length=max_length, do_sample=False)
        self.max_length = max_length

    def generate(
        self, prompt: Sequence[int], stops: Collection[int], *, picture: np.ndarray | None = None, limit: int = 120
    ) -> list[int]:
        """Return up to ``limit`` greedy ids, without the one that ends the answer; the picture is bytes (side, side, 3)."""
        from chatglm_cpp._C import Image

        image = None if picture is None else Image(np.ascontiguousarray(picture))
        model, ids, past = self.pipeline.model, list(prompt), 0
        room = self.max_length - model.count_tokens(ids, image)
        for _ in range(min(limit, room)):
            token = model.generate_next_token(ids, image, self.greedy, past, len(prompt))
            if token in stops:
                break
            past = model.count_tokens(ids, image)
            ids.append(token)
        return ids[len(prompt) :]

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of an answer."""
        try:
            return self.pipeline.tokenizer.decode(list(ids)).strip()
        except (UnicodeDecodeError, RuntimeError):
            return "\ufffd"


@dataclass(frozen=True)
class ServedPieces:
    """The library's own sentencepiece tokenizer of a file."""

    model: Served
    prefixed: bool

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without the two special tokens that the library puts before or after them."""
        ids = list(self.model.pipeline.tokenizer.encode(text, 1 << 20)) if text else [0, 0]
        return ids[2:] if self.prefixed else ids[:-2]


@dataclass(frozen=True)
class ServedVocabulary:
    """What prompts are made of, taken from the file and not from the training."""

    pieces: ServedPieces
    special: dict[str, int]

    @classmethod
    def of(cls, model: Served) -> ServedVocabulary:
        """Return the vocabulary of a ChatGLM file; ChatGLM3 is told by the roles after its prefix tokens."""
        config = model.pipeline.model.config
        if config.model_type_name == "ChatGLM":
            mask, start = model.pipeline.tokenizer.encode("", 8)
            special = {"[gMASK]": mask, "<sop>": start, "<eop>": config.eos_token_id}
            return cls(ServedPieces(model, prefixed=False), special)
        names = PREFIX_TOKENS + (ROLE_TOKENS if config.model_type_name == "ChatGLM3" else ())
        special = {name: config.vocab_size - len(names) + at for at, name in enumerate(names)}
        return cls(ServedPieces(model, prefixed=True), special)

"""Damaged and foreign model files are refused with a reason, before the library can abort on them."""

import math
import random
import struct
from pathlib import Path

import pytest
from running import MODEL

from glmserve_server.bundled import BUNDLED
from glmserve_server.dialects.families import dialect_of
from glmserve_server.engines.chatglm import modelfile
from glmserve_server.engines.chatglm.architecture import Family
from glmserve_server.errors import ModelUnavailable

GOOD = BUNDLED[MODEL].read_bytes()
MAX_LENGTH = 52
"""Where the config record has the context length."""


def refusal(tmp_path: Path, data: bytes) -> str:
    """Why a file is refused."""
    file = tmp_path / "model.bin"
    file.write_bytes(data)
    with pytest.raises(ModelUnavailable, match=r".") as refused:
        dialect_of(modelfile.read(file))
    assert str(refused.value).startswith(f"{file}: ")
    return str(refused.value).removeprefix(f"{file}: ")


def changed(offset: int, number: int) -> bytes:
    """The good file with another int32 in one place."""
    return GOOD[:offset] + struct.pack("<i", number) + GOOD[offset + 4 :]


def test_the_embedded_model_is_accepted() -> None:
    model = modelfile.read(BUNDLED[MODEL])
    assert model.family is Family.GLM4
    assert model.size == len(GOOD) <= 10_000_000
    assert model.config.max_length == 2048
    assert sum(math.prod(tensor.shape) for tensor in model.tensors) > 3_000_000


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    places = {*range(64), *random.Random(0).sample(range(len(GOOD)), 150), len(GOOD) - 1}
    for place in places:
        assert refusal(tmp_path, GOOD[:place])


def test_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    count = len(modelfile.read(BUNDLED[MODEL]).tensors)
    assert refusal(tmp_path, GOOD + b"\0" * 64) == f"tensor {count} () has 0 dimensions"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"GGUF" + GOOD[4:], "made for llama.cpp"),
        (b"PK\x03\x04" + GOOD[4:], "it begins with b'PK"),
        (changed(4, 99), "the model family 99 is unknown; known are 1 (ChatGLM-6B)"),
        (changed(8, 7), "version 7 of a GLM-4 file is unknown"),
        (changed(16, -5), "vocab_size is -5"),
        (changed(20, 0), "hidden_size is 0"),
        (changed(24, 7), "do not divide"),
        (changed(32, 3), "the config knows no tensor"),
        (changed(32, 60), "is missing"),
        (changed(36, 640), "has the shape"),
        (changed(MAX_LENGTH, -1), "max_length is -1"),
        (changed(64, 1 << 30), "the tokenizer needs"),
        (changed(64, -1), "the tokenizer needs -1 bytes"),
        (GOOD[:68] + b"!!!!" + GOOD[72:], "the tokenizer is damaged: line 1"),
        (GOOD.replace(b"\nAQ== 1\n", b"\nAQ== 7\n", 1), "the tokenizer is damaged: the ranks"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_with_the_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path, data)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.bin", tmp_path):
        with pytest.raises(ModelUnavailable, match=r"No such file|Is a directory"):
            modelfile.read(path)

"""Writes a model of random weights: it costs what a real one of its size costs and says nothing.

The file is chatglm.cpp's (0.4.2) for GLM-4, little-endian: "ggml", int32 family 4, the config record of version 2,
int32 size and bytes of the vocabulary (tiktoken lines "base64 rank"), then for each tensor: int32 size and bytes of
the name, int32 number of dimensions, the dimensions, int32 type, padding to 16 bytes, the data.
"""

import base64
import itertools
import random
import string
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from glmserve_client.bench.shape import OUTPUT, SPECIAL_TOKENS, Shape, tensors
from glmserve_client.bench.weights import Quantisation, matrix, vector, zeros

_GLM4: Final = 4
_CONFIG_VERSION: Final = 2
_NORM_EPS: Final = 1.5625e-7
_ROPE_THETA: Final = 10_000.0
_F32: Final = 0
_ALIGNMENT: Final = 16
_BYTES: Final = 256


def write_model(path: Path, shape: Shape, kind: Quantisation, *, seed: int) -> int:
    """Writes the file, the same for the same arguments, and returns its size in bytes. Needs a few MB of memory.

    Its answers are words that never end: single bytes, which may break a character, and special tokens have outputs of
    zero, so that some word is always more likely. The file appears under its name once it is whole.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            _write(file, shape, kind, random.Random(seed))  # noqa: S311 (weights are no secret)
            size = file.tell()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return size


def _write(file: BinaryIO, shape: Shape, kind: Quantisation, dice: random.Random) -> None:
    words = shape.vocabulary - SPECIAL_TOKENS
    vocabulary = b"".join(b"%s %d\n" % (base64.b64encode(word), rank) for rank, word in enumerate(_words(words)))
    file.write(struct.pack("<4si", b"ggml", _GLM4) + _config(shape, kind))
    file.write(struct.pack("<i", len(vocabulary)) + vocabulary)
    for name, rows, columns in tensors(shape):
        _write_tensor(file, name, rows, columns, kind, dice)


def _config(shape: Shape, kind: Quantisation) -> bytes:
    end = shape.vocabulary - SPECIAL_TOKENS
    sizes = (shape.vocabulary, shape.hidden, shape.heads, shape.kv_heads, shape.layers, shape.feed_forward)
    return struct.pack(
        "<8ififiii", _CONFIG_VERSION, kind.number, *sizes, _NORM_EPS, 0, _ROPE_THETA, shape.context, end, end
    )


def _words(count: int) -> Iterator[bytes]:
    """All bytes, then a space and one letter, two letters, three letters and so on, as often in English."""
    letters = (
        f" {''.join(word)}".encode()
        for length in itertools.count(1)
        for word in itertools.product(string.ascii_lowercase, repeat=length)
    )
    return itertools.islice(itertools.chain((bytes([byte]) for byte in range(_BYTES)), letters), count)


def _write_tensor(file: BinaryIO, name: str, rows: int, columns: int, kind: Quantisation, dice: random.Random) -> None:
    is_vector = "norm" in name or name.endswith(".bias")
    dimensions = (columns,) if is_vector else (rows, columns)
    number = _F32 if is_vector else kind.number
    file.write(struct.pack("<i", len(name)) + name.encode())
    file.write(struct.pack(f"<{len(dimensions) + 2}i", len(dimensions), *dimensions, number))
    file.write(bytes(-file.tell() % _ALIGNMENT))
    if is_vector:
        file.write(vector(columns, 0.0 if name.endswith(".bias") else 1.0))
    elif name == OUTPUT:
        file.write(zeros(_BYTES, columns, kind))
        file.writelines(matrix(rows - _BYTES - SPECIAL_TOKENS, columns, kind, dice))
        file.write(zeros(SPECIAL_TOKENS, columns, kind))
    else:
        file.writelines(matrix(rows, columns, kind, dice))

"""Writes and reads chatglm.cpp model files of any family.

The layout is that of chatglm.cpp 0.4.2 (``chatglm_cpp/convert.py`` there): magic ``ggml``, the family's number, a config
record of version 2, for GLM-4V the vision record, the length and text of the tokenizer file, then the tensors. A tensor
is the length of its name, the name, the number of dimensions, the dimensions, the data type, padding to 16 bytes, and
the data. All numbers are little-endian 32-bit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

import numpy as np

MAGIC = b"ggml"
ALIGNMENT = 16
BLOCK = 32
CONFIG = struct.Struct("<13i")  # only read; norm eps and rotary base are floats in the places 7 and 9
VISION_RECORD = 44


class DataType(IntEnum):
    """How matrices are stored; norms and biases are always float32."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q8_0 = 8


class Family(IntEnum):
    """chatglm.cpp's number of each family."""

    CHATGLM = 1
    CHATGLM2 = 2
    CHATGLM3 = 3
    GLM4 = 4
    GLM4V = 1004


@dataclass(frozen=True)
class Stored:
    """One tensor of a file: its name, its values in float32, and how they are to be written."""

    name: str
    values: np.ndarray
    data_type: DataType = DataType.F32


@dataclass(frozen=True)
class Contents:
    """What a file holds, read back in float32."""

    family: Family
    config: tuple[int | float, ...]
    tokenizer: bytes
    tensors: dict[str, np.ndarray]


def quantize_q8_0(matrix: np.ndarray) -> np.ndarray:
    """Return ggml q8_0 bytes: per 32 values of a row a float16 scale and 32 int8 values."""
    blocks = matrix.astype(np.float32).reshape(-1, BLOCK)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype(np.float16)
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)
    values = np.clip(np.rint(blocks / divisor), -127, 127).astype(np.int8)
    return np.concatenate((scale.view(np.uint8), values.view(np.uint8)), axis=1)


def quantize_q4_0(matrix: np.ndarray) -> np.ndarray:
    """Return ggml q4_0 bytes: per 32 values of a row a float16 scale and 32 values of 4 bits, the halves interleaved."""
    blocks = matrix.astype(np.float32).reshape(-1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1, keepdims=True), axis=1)
    scale = (largest / -8).astype(np.float16)
    divisor = np.where(scale != 0, scale, 1).astype(np.float32)
    values = np.clip(np.floor(blocks / divisor + 8.5), 0, 15).astype(np.uint8)
    packed = values[:, : BLOCK // 2] | values[:, BLOCK // 2 :] << 4
    return np.concatenate((scale.view(np.uint8), packed), axis=1)


def encode(values: np.ndarray, data_type: DataType) -> bytes:
    """Return the data of a tensor."""
    if data_type is DataType.F32:
        return values.astype("<f4").tobytes()
    if data_type is DataType.F16:
        return values.astype("<f2").tobytes()
    if values.shape[-1] % BLOCK:
        raise ValueError(f"{data_type.name} needs rows of a multiple of {BLOCK} values, got shape {values.shape}")
    return (quantize_q8_0 if data_type is DataType.Q8_0 else quantize_q4_0)(values).tobytes()


def decode(data: bytes, shape: tuple[int, ...], data_type: DataType) -> np.ndarray:
    """Return the values of a float32, float16 or q8_0 tensor."""
    if data_type is DataType.F32:
        return np.frombuffer(data, "<f4").reshape(shape).copy()
    if data_type is DataType.F16:
        return np.frombuffer(data, "<f2").astype(np.float32).reshape(shape)
    blocks = np.frombuffer(data, np.uint8).reshape(-1, BLOCK + 2)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    return (scale * blocks[:, 2:].view(np.int8)).reshape(shape)


def size_of(shape: tuple[int, ...], data_type: DataType) -> int:
    """Return the number of bytes that a tensor takes."""
    per_block, elements = {
        DataType.F32: (4, 1),
        DataType.F16: (2, 1),
        DataType.Q4_0: (18, BLOCK),
        DataType.Q8_0: (34, BLOCK),
    }[data_type]
    return int(np.prod(shape)) // elements * per_block


def write(path: Path, family: Family, records: bytes, tokenizer: bytes, tensors: Iterable[Stored]) -> None:
    """Write a model file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(MAGIC + struct.pack("<i", family) + records)
        file.write(struct.pack("<i", len(tokenizer)) + tokenizer)
        for tensor in tensors:
            _write_tensor(file, tensor)


def _write_tensor(file: BinaryIO, tensor: Stored) -> None:
    name, values = tensor.name.encode(), tensor.values
    file.write(struct.pack("<i", len(name)) + name)
    file.write(struct.pack(f"<{2 + values.ndim}i", values.ndim, *values.shape, tensor.data_type))
    file.write(b"\0" * (-file.tell() % ALIGNMENT))
    file.write(encode(values, tensor.data_type))


def read(path: Path) -> Contents:
    """Read a file whose tensors are float32, float16 or q8_0, with a config record of version 2."""
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise ValueError(f"{path} is not a chatglm.cpp model file")
        family, version = struct.unpack("<ii", file.read(8))
        if version != 2:
            raise ValueError(f"{path} has a config record of version {version}, not 2")
        config = struct.unpack("<7ififiii", file.read(CONFIG.size))
        if family == Family.GLM4V:
            file.read(VISION_RECORD)
        (length,) = struct.unpack("<i", file.read(4))
        return Contents(Family(family), config, file.read(length), dict(_read_tensors(file)))


def _read_tensors(file: BinaryIO) -> Iterator[tuple[str, np.ndarray]]:
    while head := file.read(4):
        name = file.read(struct.unpack("<i", head)[0]).decode()
        (dimensions,) = struct.unpack("<i", file.read(4))
        *shape, number = struct.unpack(f"<{dimensions + 1}i", file.read(4 * dimensions + 4))
        file.seek(-file.tell() % ALIGNMENT, 1)
        data_type = DataType(number)
        yield name, decode(file.read(size_of(tuple(shape), data_type)), tuple(shape), data_type)

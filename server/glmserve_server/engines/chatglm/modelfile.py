"""Reads and checks chatglm.cpp's model files before the library sees them, because it aborts the process or reads
beyond the file when one is damaged.

The format, little-endian (chatglm.cpp 0.4.2, `chatglm_cpp/convert.py` and `Pipeline::Pipeline`): "ggml", int32 family,
int32 version, the config record, for GLM-4V the vision record, int32 size and bytes of the tokenizer (GLM-4: tiktoken
lines "base64 rank"; others: a sentencepiece proto), then tensors to the end of the file: int32 size and bytes of the
name, int32 number of dimensions, int32 for each of them (outermost first), int32 ggml type, padding to 16 bytes, data.
"""

import math
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glmserve_server.engines.chatglm import architecture, vision
from glmserve_server.engines.chatglm.architecture import Config, Family, Shape
from glmserve_server.engines.chatglm.vision import Vision
from glmserve_server.errors import ModelBroken, ModelUnavailable
from glmserve_server.plan import Need

MAX_TENSORS: Final = 2048
WORKER_BYTES: Final = 30_000_000
"""What a worker process takes for itself: interpreter and library."""

_ALIGNMENT: Final = 16

# ggml type: name, elements per block, bytes per block.
_TYPES: Final[dict[int, tuple[str, int, int]]] = {
    0: ("f32", 1, 4),
    1: ("f16", 1, 2),
    2: ("q4_0", 32, 18),
    3: ("q4_1", 32, 20),
    6: ("q5_0", 32, 22),
    7: ("q5_1", 32, 24),
    8: ("q8_0", 32, 34),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One array of weights: its shape, outermost dimension first, its ggml type, and the place of its bytes."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A checked model file; `size` in bytes."""

    path: Path
    size: int
    family: Family
    config: Config
    vision: Vision | None
    """The vision tower of GLM-4V; None: the model reads text alone."""
    tokenizer: bytes
    tensors: tuple[Tensor, ...]

    def need(self, context_length: int) -> Need:
        """The memory that serving it takes: float16 keys and values; for a long prompt the attention scores of one
        layer, twice, and the activations, in float32."""
        config = self.config
        head = config.hidden_size // config.num_attention_heads
        cache = 2 * 2 * config.num_hidden_layers * config.num_key_value_heads * head * context_length
        scores = 2 * 4 * config.num_attention_heads * context_length**2
        activations = 4 * context_length * (8 * config.hidden_size + 3 * config.intermediate_size)
        tower = self.vision.peak(config) if self.vision else 0  # not at the same time: the buffer is used again
        return Need(shared=self.size, held=cache + WORKER_BYTES, peak=max(scores + activations, tower))


def read(path: Path) -> ModelFile:
    """Reads everything but the weights. Raises `ModelUnavailable` with the path and what is wrong with the file."""
    try:
        with path.open("rb") as file, _mapped(file.fileno()) as data:
            return _parse(path, _Cursor(data))
    except OSError as error:
        raise ModelUnavailable(f"{path}: {error.strerror}") from None
    except _Broken as broken:
        raise ModelBroken(f"{path}: {broken}") from None


class _Broken(Exception):
    """What is wrong with the file."""


class _Cursor:
    """Reads forward through the file and never beyond it."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.place = 0

    def take(self, size: int, what: str) -> bytes:
        left = len(self.data) - self.place
        if not 0 <= size <= left:
            raise _Broken(
                f"the file is cut or damaged: {what} needs {size} bytes at {self.place}, where {left} are left"
            )
        self.place += size
        return self.data[self.place - size : self.place]

    def numbers(self, layout: str, what: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))

    def int32(self, what: str) -> int:
        return self.numbers("<i", what)[0]

    def pass_over(self, size: int, what: str) -> None:
        """Passes over aligned data."""
        end = -(-self.place // _ALIGNMENT) * _ALIGNMENT + size
        if end > len(self.data):
            raise _Broken(f"the file is cut: {what} would end at byte {end}, but the file ends at {len(self.data)}")
        self.place = end


def _mapped(descriptor: int) -> mmap.mmap:
    if os.fstat(descriptor).st_size == 0:
        raise _Broken("the file is empty")
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)


def _parse(path: Path, cursor: _Cursor) -> ModelFile:
    family = _family(cursor)
    config = _config(cursor, family)
    tower = _vision(cursor) if family is Family.GLM4V else None
    tokenizer = cursor.take(cursor.int32("the tokenizer's size"), "the tokenizer")
    tensors = tuple(_tensors(cursor))
    _check_tensors(tensors, family, config, tower)
    return ModelFile(
        path=path,
        size=len(cursor.data),
        family=family,
        config=config,
        vision=tower,
        tokenizer=tokenizer,
        tensors=tensors,
    )


def _family(cursor: _Cursor) -> Family:
    if (magic := cursor.data[:4]) != b"ggml":
        hint = " (it is a GGUF file, made for llama.cpp)" if magic == b"GGUF" else ""
        raise _Broken(f"not a chatglm.cpp model file: it begins with {magic!r}, not with b'ggml'{hint}")
    cursor.take(4, "the magic")
    number = cursor.int32("the family")
    for family in Family:
        if family.number == number:
            return family
    known = ", ".join(f"{family.number} ({family.title})" for family in Family)
    raise _Broken(f"the model family {number} is unknown; known are {known}")


def _config(cursor: _Cursor, family: Family) -> Config:
    version = cursor.int32("the version")
    if version == 2:
        config = _config_v2(cursor)
    elif version == 1 and family not in (Family.GLM4, Family.GLM4V):
        config = _config_v1(cursor, family)
    else:
        raise _Broken(f"version {version} of a {family.title} file is unknown")
    if fault := config.fault():
        raise _Broken(f"the config is damaged: {fault}")
    return config


def _config_v1(cursor: _Cursor, family: Family) -> Config:
    dtype, vocab, hidden, heads, layers, ffn, length, _, eos, _, _ = cursor.numbers("<11i", "the config")
    return Config(
        dtype=dtype,
        vocab_size=vocab,
        hidden_size=hidden,
        num_attention_heads=heads,
        num_key_value_heads=heads if family is Family.CHATGLM else cursor.int32("the config"),
        num_hidden_layers=layers,
        intermediate_size=ffn,
        max_length=length,
        eos_token_id=eos,
    )


def _config_v2(cursor: _Cursor) -> Config:
    dtype, vocab, hidden, heads, kv_heads, layers, ffn, *floats, length, eos, _ = cursor.numbers(
        "<7ififiii", "the config"
    )
    eps, _, theta = floats
    if not (0 < eps < 1 and 0 < theta < 1e12):
        raise _Broken(f"the config is damaged: norm_eps is {eps:g}, rope_theta is {theta:g}")
    return Config(
        dtype=dtype,
        vocab_size=vocab,
        hidden_size=hidden,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        num_hidden_layers=layers,
        intermediate_size=ffn,
        max_length=length,
        eos_token_id=eos,
        norm_eps=eps,
        rope_theta=theta,
    )


def _vision(cursor: _Cursor) -> Vision:
    tower = Vision(*vision.RECORD.unpack(cursor.take(vision.RECORD.size, "the vision record")))
    if fault := tower.fault() or ("" if tower.dtype in _TYPES else f"dtype is {tower.dtype}"):
        raise _Broken(f"the vision record is damaged: {fault}")
    return tower


def _tensors(cursor: _Cursor) -> Iterator[Tensor]:
    for index in range(MAX_TENSORS + 1):
        if cursor.place == len(cursor.data):
            return
        yield _tensor(cursor, f"tensor {index}")
    raise _Broken(f"the file holds more than {MAX_TENSORS} tensors")


def _tensor(cursor: _Cursor, what: str) -> Tensor:
    raw = cursor.take(cursor.int32(f"the name of {what}"), f"the name of {what}")
    name = raw[:256].decode("utf-8", "backslashreplace")
    what = f"{what} ({name})"
    dimensions = cursor.int32(what)
    if not 1 <= dimensions <= 4:
        raise _Broken(f"{what} has {dimensions} dimensions")
    shape = cursor.numbers(f"<{dimensions}i", what)
    number = cursor.int32(what)
    if min(shape) < 1 or number not in _TYPES:
        raise _Broken(f"{what} is damaged: shape {shape}, type {number}")
    dtype, elements, block = _TYPES[number]
    if shape[-1] % elements:
        raise _Broken(f"{what} is {dtype}, but {shape[-1]} numbers a row are no multiple of {elements}")
    size = math.prod(shape) // elements * block
    cursor.pass_over(size, what)
    return Tensor(name=name, shape=shape, dtype=dtype, offset=cursor.place - size, size=size)


def _check_tensors(tensors: tuple[Tensor, ...], family: Family, config: Config, tower: Vision | None) -> None:
    found = {tensor.name: tensor for tensor in tensors}
    if len(found) != len(tensors):
        raise _Broken("the file holds a tensor twice")
    expected: set[str] = {"past_key_values"}
    for name, shape in architecture.tensors(family, config):
        expected.add(name)
        _check_shape(found, name, shape, lambda shape: shape)
    for name, shape, number in vision.tensors(tower, config) if tower else ():
        expected.add(name)
        _check_shape(found, name, shape, _without_ones)
        if found[name].dtype != (dtype := _TYPES[number][0]):
            raise _Broken(f"the tensor {name} is {found[name].dtype}, not {dtype}")
    if surplus := found.keys() - expected:
        raise _Broken(f"the config knows no tensor {min(surplus)}")


def _check_shape(found: dict[str, Tensor], name: str, shape: Shape, form: Callable[[Shape], Shape]) -> None:
    if name not in found:
        raise _Broken(f"the tensor {name} is missing")
    if form(found[name].shape) != form(shape):
        raise _Broken(f"the tensor {name} has the shape {found[name].shape}, not {shape}")


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)

"""A GLM-4V file for tests: the embedded GLM-4 model with a small vision tower of random weights before it.

It sees, in that another picture makes another answer, but it does not know what.
"""

import random
import struct
from array import array
from pathlib import Path
from typing import Final

from running import MODEL

from glmserve_server.bundled import BUNDLED
from glmserve_server.engines.chatglm import modelfile, vision
from glmserve_server.engines.chatglm.vision import Vision

RECORD_AT: Final = 64
"""Where the vision record is: after the config record."""

TOWER: Final = Vision(
    dtype=vision.F32,
    hidden_size=32,
    image_size=56,
    in_channels=3,
    intermediate_size=32,
    norm_eps=1e-5,
    num_attention_heads=2,
    num_hidden_layers=2,
    num_positions=65,
    patch_size=7,
    scaling_factor=0.02,
)


def write_tower(path: Path) -> Path:
    """Writes the file."""
    source = BUNDLED[MODEL].read_bytes()
    tower = vision.RECORD.pack(*(getattr(TOWER, name) for name in TOWER.__slots__))
    text = struct.unpack_from("<i", source, RECORD_AT)[0]
    head = source[:4] + struct.pack("<i", 1004) + source[8:RECORD_AT] + tower + source[RECORD_AT : RECORD_AT + 4 + text]
    body = bytearray(head)
    _copy_tensors(body, source, RECORD_AT + 4 + text)
    config = modelfile.read(BUNDLED[MODEL]).config
    generator = random.Random(7)
    for name, shape, dtype in vision.tensors(TOWER, config):
        _append(body, name, shape, dtype, _weights(generator, name, shape, dtype))
    path.write_bytes(body)
    return path


def _weights(generator: random.Random, name: str, shape: tuple[int, ...], dtype: int) -> bytes:
    size = 1
    for dimension in shape:
        size *= dimension
    middle = 1.0 if "norm" in name and name.endswith("weight") else 0.0
    numbers = [generator.gauss(middle, 0.3) for _ in range(size)]
    return struct.pack(f"<{size}e", *numbers) if dtype == vision.F16 else array("f", numbers).tobytes()


def _append(body: bytearray, name: str, shape: tuple[int, ...], dtype: int, data: bytes) -> None:
    body += struct.pack("<i", len(name)) + name.encode()
    body += struct.pack(f"<i{len(shape)}ii", len(shape), *shape, dtype)
    body += bytes(-len(body) % 16) + data


def _copy_tensors(body: bytearray, source: bytes, place: int) -> None:
    """Moves the text network's tensors, whose padding depends on where they are."""
    numbers = {"f32": 0, "f16": 1, "q8_0": 8, "q4_0": 2}
    sizes = {"f32": (1, 4), "f16": (1, 2), "q8_0": (32, 34), "q4_0": (32, 18)}
    for tensor in modelfile.read(BUNDLED[MODEL]).tensors:
        place += 4 + len(tensor.name) + 4 + 4 * len(tensor.shape) + 4
        place += -place % 16
        elements, block = sizes[tensor.dtype]
        size = block
        for dimension in tensor.shape:
            size *= dimension
        size //= elements
        _append(body, tensor.name, tensor.shape, numbers[tensor.dtype], source[place : place + size])
        place += size

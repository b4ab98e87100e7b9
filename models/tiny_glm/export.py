"""Writes a network as a chatglm.cpp model file.

The layout is that of chatglm.cpp 0.4 (``chatglm_cpp/convert.py`` there): magic ``ggml``, the model type, a config
record of version 2, the length and text of the tokenizer file, then the tensors. A tensor is the length of its
name, the name, the number of dimensions, the dimensions, the data type, padding to 16 bytes, and the data.
All numbers are little-endian 32-bit.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .bpe import Tokenizer
from .network import NORM_EPS, Network, Shape

MAGIC = b"ggml"
CHATGLM4 = 4
CONFIG_VERSION = 2
ALIGNMENT = 16
BLOCK = 32


class DataType(IntEnum):
    """How matrices are stored; norms and biases are always float32."""

    F32 = 0
    F16 = 1
    Q8_0 = 8


def config_record(shape: Shape, data_type: DataType, end_of_text: int) -> bytes:
    """Return the config record: version, type, sizes, norm eps, prefix length, rotary base, context, end and padding id."""
    return struct.pack(
        "<iiiiiiiififiii",
        CONFIG_VERSION,
        data_type,
        shape.vocabulary,
        shape.hidden,
        shape.heads,
        shape.kv_heads,
        shape.layers,
        shape.feed_forward,
        NORM_EPS,
        0,
        shape.rope_theta,
        shape.context,
        end_of_text,
        end_of_text,
    )


def quantize_q8_0(matrix: np.ndarray) -> np.ndarray:
    """Return ggml q8_0 bytes: per 32 values of a row a float16 scale and 32 int8 values."""
    if matrix.shape[-1] % BLOCK:
        raise ValueError(f"q8_0 needs rows of a multiple of {BLOCK} values, got shape {matrix.shape}")
    blocks = matrix.astype(np.float32).reshape(-1, BLOCK)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype(np.float16)
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)
    values = np.clip(np.rint(blocks / divisor), -127, 127).astype(np.int8)
    return np.concatenate((scale.view(np.uint8), values.view(np.uint8)), axis=1)


def encode_tensor(array: np.ndarray, data_type: DataType) -> bytes:
    """Return the data of a tensor."""
    if data_type is DataType.F32:
        return array.astype("<f4").tobytes()
    if data_type is DataType.F16:
        return array.astype("<f2").tobytes()
    return quantize_q8_0(array).tobytes()


def write_tensor(file: BinaryIO, name: str, array: np.ndarray, data_type: DataType) -> None:
    """Write one named tensor."""
    file.write(struct.pack("<i", len(name)) + name.encode())
    file.write(struct.pack(f"<{2 + array.ndim}i", array.ndim, *array.shape, data_type))
    file.write(b"\0" * (-file.tell() % ALIGNMENT))
    file.write(encode_tensor(array, data_type))


def tensor_names(shape: Shape) -> list[tuple[str, str]]:
    """Return (name in the file, name in the network) in the order of the file."""
    parts = (
        "input_layernorm.weight",
        "self_attention.query_key_value.weight",
        "self_attention.query_key_value.bias",
        "self_attention.dense.weight",
        "post_attention_layernorm.weight",
        "mlp.dense_h_to_4h.weight",
        "mlp.dense_4h_to_h.weight",
    )
    layers = [
        (f"transformer.encoder.layers.{at}.{part}", f"layers.{at}.{part}")
        for at in range(shape.layers)
        for part in parts
    ]
    return [
        ("transformer.embedding.word_embeddings.weight", "embedding.weight"),
        *layers,
        ("transformer.encoder.final_layernorm.weight", "final_layernorm.weight"),
        ("transformer.output_layer.weight", "output_layer.weight"),
    ]


def export(network: Network, tokenizer: Tokenizer, path: Path, data_type: DataType) -> None:
    """Write the model file; the vocabulary must have a row for every id of the tokenizer."""
    if tokenizer.rows > network.shape.vocabulary:
        raise ValueError(f"the tokenizer has {tokenizer.rows} ids, the network only {network.shape.vocabulary} rows")
    vocabulary = tokenizer.to_text().encode()
    weights = {name: value.detach().float().numpy() for name, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(MAGIC + struct.pack("<i", CHATGLM4))
        file.write(config_record(network.shape, data_type, tokenizer.special["<|endoftext|>"]))
        file.write(struct.pack("<i", len(vocabulary)) + vocabulary)
        for name, ours in tensor_names(network.shape):
            array = weights[ours]
            write_tensor(file, name, array, data_type if array.ndim == 2 else DataType.F32)

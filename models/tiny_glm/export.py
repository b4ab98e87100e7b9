"""Writes a network as a GLM-4 model file of chatglm.cpp."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import nn

from .bpe import Tokenizer
from .container import DataType, Family, Stored, write
from .network import NORM_EPS, Network, Shape

CONFIG_VERSION = 2


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


def weights(network: nn.Module, names: Iterable[tuple[str, str]], data_type: DataType) -> Iterator[Stored]:
    """Yield the tensors by (name in the file, name in the network): matrices in the data type, the rest in float32."""
    values = {name: value.detach().float().numpy() for name, value in network.state_dict().items()}
    for name, ours in names:
        yield Stored(name, values[ours], data_type if values[ours].ndim == 2 else DataType.F32)


def export(network: Network, tokenizer: Tokenizer, path: Path, data_type: DataType) -> None:
    """Write the model file; the vocabulary must have a row for every id of the tokenizer."""
    if tokenizer.rows > network.shape.vocabulary:
        raise ValueError(f"the tokenizer has {tokenizer.rows} ids, the network only {network.shape.vocabulary} rows")
    record = config_record(network.shape, data_type, tokenizer.special["<|endoftext|>"])
    tensors = weights(network, tensor_names(network.shape), data_type)
    write(path, Family.GLM4, record, tokenizer.to_text().encode(), tensors)

"""Writes the families' networks as model files."""

from __future__ import annotations

from pathlib import Path

from tiny_glm.container import DataType, Family, write
from tiny_glm.export import config_record, tensor_names, weights
from tiny_glm.network import Network
from tiny_glm.network import Shape as TextShape

from .glm1 import Glm1Network
from .vocabularies import Vocabulary

END_OF_TEXT = 2  # </s>


def write_glm2(path: Path, family: Family, network: Network, vocabulary: Vocabulary, data_type: DataType) -> None:
    """Write a ChatGLM2 or ChatGLM3 file; its vocabulary has a row for every id and no more."""
    if vocabulary.rows != network.shape.vocabulary:
        raise ValueError(f"{vocabulary.rows} ids do not fit {network.shape.vocabulary} rows")
    record = config_record(network.shape, data_type, END_OF_TEXT)
    tensors = weights(network, tensor_names(network.shape), data_type)
    write(path, family, record, vocabulary.pieces.proto(), tensors)


def write_glm1(path: Path, network: Glm1Network, vocabulary: Vocabulary, data_type: DataType) -> None:
    """Write a ChatGLM-6B file."""
    shape = network.shape
    sizes = TextShape(
        vocabulary=shape.vocabulary,
        hidden=shape.hidden,
        layers=shape.layers,
        heads=shape.heads,
        kv_heads=shape.heads,
        feed_forward=4 * shape.hidden,
        context=shape.context,
    )
    record = config_record(sizes, data_type, vocabulary.special["<eop>"])
    names = ((f"transformer.{name}", name) for name in network.state_dict())
    write(path, Family.CHATGLM, record, vocabulary.pieces.proto(), weights(network, names, data_type))

"""What a training begins from: the network and the tokenizer of a GLM-4 file, or of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from . import bpe, container, train
from .export import tensor_names
from .network import Network, Shape
from .served import FILE


@dataclass(frozen=True)
class Base:
    """A trained GLM-4 network and its tokenizer."""

    network: Network
    tokenizer: bpe.Tokenizer


def load(path: Path = FILE) -> Base:
    """Read a model file, or a checkpoint of ``tiny_glm train``; q8_0 costs a little precision, which training makes up for."""
    if path.suffix == ".pt":
        network, tokenizer, _ = train.load(path)
        return Base(network, tokenizer)
    contents = container.read(path)
    if contents.family is not container.Family.GLM4:
        raise ValueError(f"{path} is a file of {contents.family.name}, not of GLM4")
    _, vocabulary, hidden, heads, kv_heads, layers, feed_forward, _, _, theta, context, _, _ = contents.config
    shape = Shape(vocabulary, hidden, layers, heads, kv_heads, feed_forward, context, theta)
    network = Network(shape)
    network.load_state_dict({ours: torch.from_numpy(contents.tensors[name]) for name, ours in tensor_names(shape)})
    return Base(network, bpe.Tokenizer.from_text(contents.tokenizer.decode()))

"""Makes a network larger without losing what it knows: more tokens, more key-value heads, more layers.

A new token starts as the mean of the tokens that it replaces, a new key-value head as the one that its query heads
shared. A new layer starts with nothing to add to the stream.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from . import base, bpe, train
from .network import Network, Shape


def rows(old: Tensor, before: bpe.Tokenizer, after: bpe.Tokenizer, count: int) -> Tensor:
    """Return the rows of an embedding or output matrix for the larger vocabulary."""
    grown = old.mean(0).repeat(count, 1)
    for at, token in enumerate(after.tokens):
        grown[at] = old[before.merge(token)].mean(0)
    for name, at in after.special.items():
        grown[at] = old[before.special[name]]
    return grown


def key_value_heads(weights: dict[str, Tensor], old: Shape, new: Shape) -> None:
    """Give each group of query heads its own copy of the keys and values that it shared with others."""
    for name in [name for name in weights if ".query_key_value." in name]:
        size = old.kv_heads * old.head
        query, *shared = weights[name].split((old.hidden, size, size))
        apart = [
            one.unflatten(0, (old.kv_heads, -1)).repeat_interleave(new.kv_heads // old.kv_heads, 0).flatten(0, 1)
            for one in shared
        ]
        weights[name] = torch.cat((query, *apart))


def layers(weights: dict[str, Tensor], made: dict[str, Tensor], places: list[int | None]) -> dict[str, Tensor]:
    """Return the weights with the layers at their new places; ``None`` stands for a new one."""
    grown = {name: value for name, value in weights.items() if not name.startswith("layers.")}
    for at, old in enumerate(places):
        prefix = f"layers.{at}."
        for name in [name for name in made if name.startswith(prefix)]:
            part = name.removeprefix(prefix)
            grown[name] = made[name] if old is None else weights[f"layers.{old}.{part}"]
            if old is None and part in ("self_attention.dense.weight", "mlp.dense_4h_to_h.weight"):
                grown[name] = torch.zeros_like(made[name])
    return grown


def grow(old: Path, new: Path, shape: Shape) -> None:
    """Write a checkpoint of step 0 from another one, or from a model file; new layers stand evenly between the old ones."""
    start = base.load(old)
    network, before = start.network, start.tokenizer
    full = before.rows >= shape.vocabulary
    after = before if full else train.train_tokenizer(shape.vocabulary, known=before.tokens)
    weights = network.state_dict()
    for name in ("embedding.weight", "output_layer.weight"):
        weights[name] = rows(weights[name], before, after, shape.vocabulary)
    key_value_heads(weights, network.shape, shape)
    fresh = Network(replace(network.shape, vocabulary=shape.vocabulary, kv_heads=shape.kv_heads, layers=shape.layers))
    count = network.shape.layers
    stay = {round((at + 1) * shape.layers / count) - 1: at for at in range(count)}
    fresh.load_state_dict(layers(weights, fresh.state_dict(), [stay.get(at) for at in range(shape.layers)]))
    new.parent.mkdir(parents=True, exist_ok=True)
    train.save(new, fresh, after, [], {"step": 0, "tokens": 0, "seconds": 0.0})

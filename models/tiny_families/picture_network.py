"""The GLM-4V network in PyTorch: GLM-4's, in which the vectors of a picture take the place of three tokens.

All vectors between begin and end of the picture share one position (``ChatGLM4VModel`` in chatglm.cpp).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tiny_glm.bpe import Tokenizer
from tiny_glm.container import DataType, Family, Stored, write
from tiny_glm.export import config_record, tensor_names, weights
from tiny_glm.network import Attention as TextAttention
from tiny_glm.network import Network, rotate
from torch import Tensor, nn

from .vision import MARKS, Tower

HALF = {"transformer.vision.patch_embedding.cls_embedding", "transformer.vision.boi", "transformer.vision.eoi"}
POSITIONS = "transformer.vision.patch_embedding.position_embedding.weight"


class PictureNetwork(nn.Module):
    """Token ids and pictures to logits."""

    def __init__(self, text: Network, vision: Tower) -> None:
        super().__init__()
        self.text, self.vision = text, vision

    def hidden_states(self, ids: Tensor, starts: Tensor, pictures: Tensor) -> Tensor:
        """Map ids (batch, length) to the last hidden states; from ``starts`` on, tokens + 2 ids stand for the picture."""
        seen = self.vision(pictures)
        x = self.text.embedding(ids).float()
        slots = starts[:, None] + torch.arange(seen.shape[1], device=ids.device)
        x = x.scatter(1, slots[..., None].expand(-1, -1, x.shape[-1]), seen)
        table = self.text.table[:, self.places(ids.shape[1], starts)]
        for layer in self.text.layers:
            x = x + attended(layer.self_attention, layer.input_layernorm(x), table)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return self.text.final_layernorm(x)

    def forward(self, ids: Tensor, starts: Tensor, pictures: Tensor) -> Tensor:
        """Map ids and pictures to logits (batch, length, vocabulary)."""
        return self.text.output_layer(self.hidden_states(ids, starts, pictures))

    def places(self, length: int, starts: Tensor) -> Tensor:
        """Return the positions, (batch, length)."""
        at = torch.arange(length, device=starts.device)[None]
        first = starts[:, None] + 1
        return torch.where(at < first, at, (at - self.vision.shape.tokens + 1).clamp(min=first))

    def expanded(self, ids: Sequence[int], begin: int) -> tuple[list[int], int]:
        """Return ids with room for the picture in place of the three tokens from ``begin`` on, and where it starts."""
        start = list(ids).index(begin)
        room = self.vision.shape.tokens + MARKS
        return [*ids[:start], *[begin] * room, *ids[start + 3 :]], start


def attended(attention: TextAttention, x: Tensor, table: Tensor) -> Tensor:
    """Return what GLM-4's attention does when each conversation has positions of its own."""
    s, (batch, length, _) = attention.shape, x.shape
    kv_size = s.kv_heads * s.head
    flat = table.flatten(1, 2)
    query, key, value = attention.query_key_value(x).split((s.hidden, kv_size, kv_size), -1)
    query = rotate(query.reshape(1, batch * length, s.heads, s.head), flat)
    key = rotate(key.reshape(1, batch * length, s.kv_heads, s.head), flat)
    query = query.reshape(batch, length, s.kv_heads, -1, s.head).permute(0, 2, 3, 1, 4)
    key = key.reshape(batch, length, s.kv_heads, s.head).permute(0, 2, 3, 1).unsqueeze(2)
    value = value.reshape(batch, length, s.kv_heads, 1, s.head).permute(0, 2, 3, 1, 4)
    scores = (query @ key).float() * s.head**-0.5
    blocked = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
    mixed = scores.masked_fill(blocked, float("-inf")).softmax(-1).to(value.dtype) @ value
    return attention.dense(mixed.permute(0, 3, 1, 2, 4).reshape(batch, length, s.hidden))


def write_glm4v(path: Path, network: PictureNetwork, tokenizer: Tokenizer, data_type: DataType) -> None:
    """Write a GLM-4V file; convolutions and lone vectors of the tower are float16, as chatglm.cpp wants them."""
    records = config_record(network.text.shape, data_type, tokenizer.special["<|endoftext|>"])
    records += network.vision.shape.record(data_type)
    names = [(f"transformer.vision.{name}", f"vision.{name}") for name in network.vision.state_dict()]
    names += [(name, f"text.{ours}") for name, ours in tensor_names(network.text.shape)]
    tensors = (_as_the_library_wants(one) for one in weights(network, names, data_type))
    write(path, Family.GLM4V, records, tokenizer.to_text().encode(), tensors)


def _as_the_library_wants(one: Stored) -> Stored:
    if one.values.ndim == 4 or one.name in HALF:
        return Stored(one.name, one.values, DataType.F16)
    return Stored(one.name, one.values, DataType.F32) if one.name == POSITIONS else one

"""The GLM-4 network in PyTorch, as chatglm.cpp computes it; parameter names are those of the model file.

RMSNorm (eps 1e-5 everywhere: chatglm.cpp fixes it for the last one), grouped key-value heads,
interleaved rotary embedding on the first half of each head, SwiGLU, bias on QKV only, untied output.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

NORM_EPS = 1e-5


@dataclass(frozen=True)
class Shape:
    """The sizes of a network; hidden and feed-forward sizes must be divisible by 32 for q8_0."""

    vocabulary: int = 2560
    hidden: int = 192
    layers: int = 10
    heads: int = 6
    kv_heads: int = 6
    feed_forward: int = 512
    context: int = 2048
    rope_theta: float = 10000.0

    @property
    def head(self) -> int:
        """Return the width of one head."""
        return self.hidden // self.heads

    def to_dict(self) -> dict:
        """Return the sizes by name, for a checkpoint."""
        return asdict(self)


class RMSNorm(nn.Module):
    """Scales the last dimension to unit root mean square."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised input, in float32."""
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + NORM_EPS) * self.weight


def rotary_table(shape: Shape, length: int) -> Tensor:
    """Return cosines and sines: (2, length, head / 4)."""
    dim = shape.head // 2
    rates = shape.rope_theta ** (-torch.arange(0, dim, 2).float() / dim)
    angles = torch.arange(length).float()[:, None] * rates
    return torch.stack((angles.cos(), angles.sin()))


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotate neighbouring pairs of the first half of each head; ``x`` is (batch, length, heads, head)."""
    half, rest = x.chunk(2, dim=-1)
    even, odd = half.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = table[0][None, :, None], table[1][None, :, None]
    turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)
    return torch.cat((turned, rest.float()), -1)


class Attention(nn.Module):
    """Causal attention with grouped key-value heads."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.query_key_value = nn.Linear(shape.hidden, shape.hidden + 2 * shape.kv_heads * shape.head)
        self.dense = nn.Linear(shape.hidden, shape.hidden, bias=False)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """Map (batch, length, hidden) to the same shape."""
        batch, length, _ = x.shape
        s = self.shape
        kv_size = s.kv_heads * s.head
        query, key, value = self.query_key_value(x).split((s.hidden, kv_size, kv_size), -1)
        query = rotate(query.reshape(batch, length, s.heads, s.head), table)
        key = rotate(key.reshape(batch, length, s.kv_heads, s.head), table)
        group = s.heads // s.kv_heads
        query = query.reshape(batch, length, s.kv_heads, group, s.head).permute(0, 2, 3, 1, 4)
        key = key.permute(0, 2, 3, 1).unsqueeze(2)
        value = value.reshape(batch, length, s.kv_heads, 1, s.head).permute(0, 2, 3, 1, 4)
        blocked = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        parts = []
        for start, end in ((0, length // 2), (length // 2, length)):  # the first half has no use for later keys
            scores = (query[..., start:end, :] @ key[..., :end]).float() * s.head**-0.5
            weights = scores.masked_fill(blocked[start:end, :end], float("-inf")).softmax(-1).to(value.dtype)
            parts.append(weights @ value[..., :end, :])
        mixed = torch.cat(parts, -2).permute(0, 3, 1, 2, 4).reshape(batch, length, s.hidden)
        return self.dense(mixed)


class FeedForward(nn.Module):
    """SwiGLU: the first half of the wide projection gates the second."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(shape.hidden, 2 * shape.feed_forward, bias=False)
        self.dense_4h_to_h = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, hidden) to the same shape."""
        gate, value = self.dense_h_to_4h(x).chunk(2, dim=-1)
        return self.dense_4h_to_h(nn.functional.silu(gate) * value)


class Layer(nn.Module):
    """Attention and feed-forward, each after a norm and added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden)
        self.self_attention = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """Map (batch, length, hidden) to the same shape."""
        x = x + self.self_attention(self.input_layernorm(x), table)
        return x + self.mlp(self.post_attention_layernorm(x))


class Network(nn.Module):
    """Token ids to logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.final_layernorm = RMSNorm(shape.hidden)
        self.output_layer = nn.Linear(shape.hidden, shape.vocabulary, bias=False)
        self.register_buffer("table", rotary_table(shape, shape.context), persistent=False)
        self.apply(self._start)

    def _start(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.5 * module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)

    def hidden_states(self, ids: Tensor) -> Tensor:
        """Map ids (batch, length) to the last hidden states (batch, length, hidden)."""
        x = self.embedding(ids)
        table = self.table[:, : ids.shape[1]]
        for layer in self.layers:
            x = layer(x, table)
        return self.final_layernorm(x)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (batch, length) to logits (batch, length, vocabulary)."""
        return self.output_layer(self.hidden_states(ids))

    def parameter_count(self) -> int:
        """Return the number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())

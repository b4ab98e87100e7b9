"""The ChatGLM-6B network in PyTorch, as chatglm.cpp computes it; parameter names are those of the model file.

LayerNorm, whose output and not its input is carried on, scaled by the square root of 2 × 28 whatever the depth
(``GLMBlock``); GELU; biases everywhere; query, key and value of a head side by side; tied output. Each half of a head
turns by its own position: the place in the prompt, which stops growing at ``[gMASK]``, and the place in the answer.
The prompt up to ``[gMASK]`` sees itself both ways.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

NORM_EPS = 1e-5
ALPHA = (2 * 28) ** 0.5
ROPE_THETA = 10000.0


@dataclass(frozen=True)
class Shape:
    """The sizes of a network; the hidden size must be divisible by 32 for q8_0."""

    vocabulary: int
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    context: int = 1024

    @property
    def head(self) -> int:
        """Return the width of one head."""
        return self.hidden // self.heads


def turned(x: Tensor, places: Tensor) -> Tensor:
    """Turn one half of the heads by ``places`` (batch, length); the n-th value pairs with the n-th of the other half."""
    size = x.shape[-1] // 2
    rates = ROPE_THETA ** (-torch.arange(size, device=x.device).float() / size)
    angles = (places[..., None].float() * rates)[:, :, None]
    first, second = x.float().chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)


class Attention(nn.Module):
    """Attention under a mask given from outside."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.query_key_value = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.dense = nn.Linear(shape.hidden, shape.hidden)

    def forward(self, x: Tensor, places: tuple[Tensor, Tensor], blocked: Tensor) -> Tensor:
        """Map (batch, length, hidden) to the same shape."""
        heads = self.query_key_value(x).unflatten(-1, (self.shape.heads, 3 * self.shape.head))
        query, key, value = heads.chunk(3, -1)
        query, key = (
            torch.cat([turned(half, at) for half, at in zip(one.chunk(2, -1), places, strict=True)], -1)
            for one in (query, key)
        )
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) * self.shape.head**-0.5
        weights = scores.masked_fill(blocked[:, None], float("-inf")).softmax(-1).to(value.dtype)
        return self.dense(torch.einsum("bhqk,bkhd->bqhd", weights, value).flatten(-2))


class FeedForward(nn.Module):
    """Two linear maps with GELU between them, in the approximation that ggml computes."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(shape.hidden, 4 * shape.hidden)
        self.dense_4h_to_h = nn.Linear(4 * shape.hidden, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, hidden) to the same shape."""
        return self.dense_4h_to_h(nn.functional.gelu(self.dense_h_to_4h(x), approximate="tanh"))


class Layer(nn.Module):
    """Attention and feed-forward, each added to the scaled output of the norm before it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(shape.hidden, NORM_EPS)
        self.attention = Attention(shape)
        self.post_attention_layernorm = nn.LayerNorm(shape.hidden, NORM_EPS)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, places: tuple[Tensor, Tensor], blocked: Tensor) -> Tensor:
        """Map (batch, length, hidden) to the same shape."""
        x = self.input_layernorm(x.float())
        x = x * ALPHA + self.attention(x, places, blocked)
        x = self.post_attention_layernorm(x.float())
        return x * ALPHA + self.mlp(x)


class Glm1Network(nn.Module):
    """Token ids to logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.word_embeddings = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.final_layernorm = nn.LayerNorm(shape.hidden, NORM_EPS)
        self.apply(self._start)
        # Else the token just read, whose row is also the output's, drowns everything: its vector is scaled up in each layer.
        nn.init.constant_(self.final_layernorm.weight, 0.35)
        for layer in self.layers:
            for linear in (layer.attention.dense, layer.mlp.dense_4h_to_h):
                nn.init.normal_(linear.weight, std=3 * linear.in_features**-0.5)

    def _start(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)

    def hidden_states(self, ids: Tensor, prompts: Tensor) -> Tensor:
        """Map ids (batch, length) to the last hidden states; ``prompts`` are the prompts' lengths, ``<sop>`` included."""
        at = torch.arange(ids.shape[1], device=ids.device)[None]
        last = prompts[:, None] - 2  # the place of [gMASK]
        places = (at.minimum(last), (at - last).clamp(min=0))
        seen = (at[:, None] <= at[..., None]) | (at[:, None] <= last[..., None])
        x = self.word_embeddings(ids)
        for layer in self.layers:
            x = layer(x, places, ~seen)
        return self.final_layernorm(x.float())

    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states to logits."""
        return hidden @ self.word_embeddings.weight.T

    def forward(self, ids: Tensor, prompts: Tensor) -> Tensor:
        """Map ids (batch, length) to logits (batch, length, vocabulary)."""
        return self.logits(self.hidden_states(ids, prompts))

    def parameter_count(self) -> int:
        """Return the number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())

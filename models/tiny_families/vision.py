"""The vision tower of GLM-4V in PyTorch, as chatglm.cpp computes it; parameter names are those of the model file.

EVA-CLIP: patches and a class token with learnt positions; attention and feed-forward whose *outputs* are normalised;
then the patches, without the class token, through a convolution that joins four to one, and a gated adapter
(``EVA2CLIPModel``). Begin and end of the picture are two learnt vectors.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import torch
from tiny_glm.container import DataType
from torch import Tensor, nn

MEAN = (0.48145466, 0.45782750, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
NORM_EPS = 1e-5
MARKS = 2  # begin and end of the picture


@dataclass(frozen=True)
class VisionShape:
    """The sizes of a tower; hidden and feed-forward sizes must be divisible by 32 for q8_0."""

    hidden: int = 128
    image: int = 56
    feed_forward: int = 256
    heads: int = 4
    layers: int = 3
    patch: int = 7
    scaling: float = 1.0

    @property
    def grid(self) -> int:
        """Return the patches in a row."""
        return self.image // self.patch

    @property
    def tokens(self) -> int:
        """Return the tokens that the text network sees between begin and end of the picture."""
        return (self.grid // 2) ** 2

    def record(self, data_type: DataType) -> bytes:
        """Return the vision record."""
        return struct.pack(
            "<iiiiifiiiif",
            data_type,
            self.hidden,
            self.image,
            3,
            self.feed_forward,
            NORM_EPS,
            self.heads,
            self.layers,
            self.grid**2 + 1,
            self.patch,
            self.scaling,
        )


def pixels(pictures: Tensor) -> Tensor:
    """Map bytes (batch, height, width, 3) to the input (batch, 3, height, width), normalised as the library does."""
    return ((pictures.float() / 255 - torch.tensor(MEAN)) / torch.tensor(DEVIATION)).permute(0, 3, 1, 2)


class PatchEmbedding(nn.Module):
    """Patches, with the class token first and positions added."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.cls_embedding = nn.Parameter(torch.zeros(shape.hidden))
        self.proj = nn.Conv2d(3, shape.hidden, shape.patch, shape.patch)
        self.position_embedding = nn.Embedding(shape.grid**2 + 1, shape.hidden)
        with torch.no_grad():
            self.position_embedding.weight[1:] = waves(shape.grid, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 3, height, width) to (batch, 1 + patches, hidden)."""
        x = self.proj(x).flatten(2).mT
        first = self.cls_embedding.to(x.dtype).expand(len(x), 1, -1)
        return torch.cat((first, x), 1) + self.position_embedding.weight


def waves(grid: int, size: int) -> Tensor:
    """Return positions to begin from, (grid², size): sines and cosines of the row and of the column."""
    rates = math.pi / grid * 2.0 ** torch.linspace(0, math.log2(grid), size // 4)
    angles = (torch.arange(grid) + 0.5)[:, None] * rates
    line = torch.cat((angles.sin(), angles.cos()), 1)
    rows, columns = line[:, None].expand(-1, grid, -1), line[None].expand(grid, -1, -1)
    return torch.cat((rows, columns), -1).flatten(0, 1) * 0.5


class Attention(nn.Module):
    """Attention of every patch to every patch."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query_key_value = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.dense = nn.Linear(shape.hidden, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, hidden) to the same shape."""
        query, key, value = self.query_key_value(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = (query @ key.mT).float() * query.shape[-1] ** -0.5
        return self.dense((scores.softmax(-1).to(value.dtype) @ value).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear maps with GELU between them, in the approximation that ggml computes."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.hidden, shape.feed_forward)
        self.fc2 = nn.Linear(shape.feed_forward, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, hidden) to the same shape."""
        return self.fc2(nn.functional.gelu(self.fc1(x), approximate="tanh"))


class Layer(nn.Module):
    """Attention and feed-forward; what is added to the stream is normalised, not what they read."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(shape.hidden, NORM_EPS)
        self.attention = Attention(shape)
        self.post_attention_layernorm = nn.LayerNorm(shape.hidden, NORM_EPS)
        self.mlp = FeedForward(shape)
        for norm in (self.input_layernorm, self.post_attention_layernorm):
            nn.init.constant_(norm.weight, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, hidden) to the same shape."""
        x = x + self.input_layernorm(self.attention(x).float())
        return x + self.post_attention_layernorm(self.mlp(x).float())


class Adapter(nn.Module):
    """To the width of the text network, then a gated feed-forward."""

    def __init__(self, hidden: int, feed_forward: int) -> None:
        super().__init__()
        self.linear_proj = nn.Linear(hidden, hidden, bias=False)
        self.norm1 = nn.LayerNorm(hidden, NORM_EPS)
        self.gate_proj = nn.Linear(hidden, feed_forward, bias=False)
        self.dense_h_to_4h = nn.Linear(hidden, feed_forward, bias=False)
        self.dense_4h_to_h = nn.Linear(feed_forward, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, hidden) to the same shape."""
        x = nn.functional.gelu(self.norm1(self.linear_proj(x).float()), approximate="tanh")
        return self.dense_4h_to_h(nn.functional.silu(self.gate_proj(x)) * self.dense_h_to_4h(x))


class Tower(nn.Module):
    """Pictures to vectors for the text network."""

    def __init__(self, shape: VisionShape, text_hidden: int, text_feed_forward: int) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embedding = PatchEmbedding(shape)
        self.transformer = nn.ModuleDict({"layers": nn.ModuleList(Layer(shape) for _ in range(shape.layers))})
        self.conv = nn.Conv2d(shape.hidden, text_hidden, 2, 2)
        self.linear_proj = Adapter(text_hidden, text_feed_forward)
        self.boi = nn.Parameter(torch.zeros(text_hidden))
        self.eoi = nn.Parameter(torch.zeros(text_hidden))
        self.apply(self._start)

    def _start(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            inputs = module.weight[0].numel()
            nn.init.normal_(module.weight, std=inputs**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def tokens(self, pictures: Tensor) -> Tensor:
        """Map normalised pictures to (batch, tokens, text hidden), before scaling."""
        x = self.patch_embedding(pictures)
        for layer in self.transformer["layers"]:
            x = layer(x)
        x = x[:, 1:].mT.unflatten(-1, (self.shape.grid, self.shape.grid))
        return self.linear_proj(self.conv(x).flatten(2).mT)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map normalised pictures to (batch, tokens + 2, text hidden)."""
        x = self.tokens(pictures).float()
        begin, end = (mark.expand(len(x), 1, -1) for mark in (self.boi, self.eoi))
        return torch.cat((begin, x, end), 1) / self.shape.scaling

"""The shape of a GLM-4 network of about a given number of parameters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SPECIAL_TOKENS: Final = 14
"""How many tokens with a meaning of their own follow GLM-4's vocabulary."""

OUTPUT: Final = "transformer.output_layer.weight"
"""The matrix that gives every token of the vocabulary its logit, a row for each."""

_HEAD: Final = 64
_KV_HEADS: Final = 2
_MOST_WORDS: Final = 1 << 16
_WIDTH_PER_LAYER: Final = 64
"""Hidden dimensions per layer; GLM-4-9B has about 100, smaller networks of its kind fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The numbers of a network; `vocabulary` counts the special tokens too, `context` is in tokens."""

    vocabulary: int
    hidden: int
    layers: int
    context: int

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.hidden // _HEAD

    @property
    def kv_heads(self) -> int:
        """Heads that have keys and values of their own."""
        return min(_KV_HEADS, self.heads)

    @property
    def feed_forward(self) -> int:
        """The inner width of the feed-forward layers: GLM-4-9B's share of the hidden one, in whole blocks."""
        return -(-self.hidden * 13696 // 4096 // 32) * 32

    @property
    def parameters(self) -> int:
        """How many weights it has."""
        return sum(rows * columns for _, rows, columns in tensors(self))


def tensors(shape: Shape) -> Iterator[tuple[str, int, int]]:
    """Names, rows and columns of the arrays, in the order of the file; a vector is one row, and a bias ends so."""
    hidden, qkv = shape.hidden, shape.hidden + 2 * shape.kv_heads * _HEAD
    yield "transformer.embedding.word_embeddings.weight", shape.vocabulary, hidden
    for index in range(shape.layers):
        layer = f"transformer.encoder.layers.{index}"
        yield f"{layer}.input_layernorm.weight", 1, hidden
        yield f"{layer}.self_attention.query_key_value.weight", qkv, hidden
        yield f"{layer}.self_attention.query_key_value.bias", 1, qkv
        yield f"{layer}.self_attention.dense.weight", hidden, hidden
        yield f"{layer}.post_attention_layernorm.weight", 1, hidden
        yield f"{layer}.mlp.dense_h_to_4h.weight", 2 * shape.feed_forward, hidden
        yield f"{layer}.mlp.dense_4h_to_h.weight", hidden, shape.feed_forward
    yield "transformer.encoder.final_layernorm.weight", 1, hidden
    yield OUTPUT, shape.vocabulary, hidden


def shape_of(parameters: int, *, context: int) -> Shape:
    """The shape nearest to a number of parameters (100 thousand to 20 billion), at GLM-4's proportions.

    A tenth of the weights, at most, is the table of words, and as much again the output layer.
    """
    return min(
        (_with_width(parameters, hidden, context) for hidden in (_HEAD, *range(2 * _HEAD, 4097, 2 * _HEAD))),
        key=lambda shape: (
            abs(shape.parameters / parameters - 1) > 0.05,
            abs(shape.hidden / shape.layers / _WIDTH_PER_LAYER - 1),
            abs(shape.parameters - parameters),
        ),
    )


def _with_width(parameters: int, hidden: int, context: int) -> Shape:
    words = min(max(parameters // 10 // hidden, 512), _MOST_WORDS)
    bare, one = (Shape(vocabulary=words, hidden=hidden, layers=layers, context=context).parameters for layers in (0, 1))
    layers = min(max(round((parameters - bare) / (one - bare)), 1), 128)
    return Shape(vocabulary=words, hidden=hidden, layers=layers, context=context)

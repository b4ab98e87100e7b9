"""The networks that chatglm.cpp runs: their families, numbers, and the tensors that a file must hold for them."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

Shape = tuple[int, ...]


class Family(enum.Enum):
    """The architectures of chatglm.cpp, by the number in the file; the text is the name that people use."""

    CHATGLM = (1, "ChatGLM-6B")
    CHATGLM2 = (2, "ChatGLM2")
    CHATGLM3 = (3, "ChatGLM3")
    GLM4 = (4, "GLM-4")
    GLM4V = (1004, "GLM-4V")

    def __init__(self, number: int, title: str) -> None:
        self.number = number
        self.title = title


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The numbers of a network, as the file's config record has them."""

    dtype: int
    vocab_size: int
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    num_hidden_layers: int
    intermediate_size: int
    max_length: int
    eos_token_id: int
    norm_eps: float | None = None
    """None in files of version 1, which do not say."""
    rope_theta: float | None = None

    def fault(self) -> str | None:
        """What is impossible about these numbers, in a sentence; None: nothing."""
        bounds = {
            "vocab_size": 1 << 20,
            "hidden_size": 1 << 16,
            "num_attention_heads": 1 << 10,
            "num_key_value_heads": 1 << 10,
            "num_hidden_layers": 1 << 9,
            "intermediate_size": 1 << 20,
            "max_length": 1 << 24,
        }
        for name, most in bounds.items():
            if not 1 <= getattr(self, name) <= most:
                return f"{name} is {getattr(self, name)}"
        if self.hidden_size % self.num_attention_heads or self.num_attention_heads % self.num_key_value_heads:
            return (
                f"{self.hidden_size} dimensions, {self.num_attention_heads} heads and "
                f"{self.num_key_value_heads} key-value heads do not divide"
            )
        return None


def tensors(family: Family, config: Config) -> Iterator[tuple[str, Shape]]:
    """The tensors of the text network, with their shapes, outermost dimension first."""
    if family is Family.CHATGLM:
        return _glm1(config)
    return _glm2(config)


def _glm1(config: Config) -> Iterator[tuple[str, Shape]]:
    hidden, ffn = config.hidden_size, 4 * config.hidden_size
    yield "transformer.word_embeddings.weight", (config.vocab_size, hidden)
    for index in range(config.num_hidden_layers):
        layer = f"transformer.layers.{index}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield from _linear(f"{layer}.{norm}", (hidden,))
        yield from _linear(f"{layer}.attention.query_key_value", (3 * hidden, hidden))
        yield from _linear(f"{layer}.attention.dense", (hidden, hidden))
        yield from _linear(f"{layer}.mlp.dense_h_to_4h", (ffn, hidden))
        yield from _linear(f"{layer}.mlp.dense_4h_to_h", (hidden, ffn))
    yield from _linear("transformer.final_layernorm", (hidden,))


def _linear(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _glm2(config: Config) -> Iterator[tuple[str, Shape]]:
    hidden, ffn = config.hidden_size, config.intermediate_size
    qkv = hidden + 2 * config.num_key_value_heads * (hidden // config.num_attention_heads)
    yield "transformer.embedding.word_embeddings.weight", (config.vocab_size, hidden)
    for index in range(config.num_hidden_layers):
        layer = f"transformer.encoder.layers.{index}"
        yield f"{layer}.input_layernorm.weight", (hidden,)
        yield from _linear(f"{layer}.self_attention.query_key_value", (qkv, hidden))
        yield f"{layer}.self_attention.dense.weight", (hidden, hidden)
        yield f"{layer}.post_attention_layernorm.weight", (hidden,)
        yield f"{layer}.mlp.dense_h_to_4h.weight", (2 * ffn, hidden)
        yield f"{layer}.mlp.dense_4h_to_h.weight", (hidden, ffn)
    yield "transformer.encoder.final_layernorm.weight", (hidden,)
    yield "transformer.output_layer.weight", (config.vocab_size, hidden)

"""GLM-4V's vision tower: its numbers, the tensors that a file must hold for it, and what a picture costs.

EVA2-CLIP over square patches, then a convolution that makes one token of each 2 × 2 patches, then a projection into the
text network (chatglm.cpp 0.4.2, `EVA2CLIPModel`). A picture takes the place of the one token between
`<|begin_of_image|>` and `<|end_of_image|>`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from glmserve_server.engines.chatglm.architecture import Config, Shape

RECORD: Final = struct.Struct("<5if4if")
"""`VisionModelConfigRecord`: the fields of `Vision` in their order."""

F32: Final = 0
F16: Final = 1
"""ggml's numbers for these types."""

MAX_IMAGE_SIZE: Final = 4096
_MAX_PATCHES: Final = 1 << 14
_PADDING: Final = 32  # patches are padded to a multiple of this for flash attention

Weights = tuple[str, Shape, int]
"""The name of a tensor, its shape, outermost dimension first, and its ggml type."""


@dataclass(frozen=True, slots=True)
class Vision:
    """The numbers of a vision tower, as the file's vision record has them."""

    dtype: int
    hidden_size: int
    image_size: int
    in_channels: int
    intermediate_size: int
    norm_eps: float
    num_attention_heads: int
    num_hidden_layers: int
    num_positions: int
    patch_size: int
    scaling_factor: float

    @property
    def patches(self) -> int:
        """How many patches a picture is cut into."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def tokens(self) -> int:
        """How many tokens stand for a picture, those that begin and end it left out."""
        return (self.image_size // self.patch_size // 2) ** 2

    def fault(self) -> str | None:
        """What is impossible about these numbers, in a sentence; None: nothing."""
        bounds = {
            "hidden_size": 1 << 16,
            "image_size": MAX_IMAGE_SIZE,
            "intermediate_size": 1 << 20,
            "num_attention_heads": 1 << 10,
            "num_hidden_layers": 1 << 9,
            "patch_size": MAX_IMAGE_SIZE // 2,
        }
        wrong = [
            f"{name} is {number}" for name, most in bounds.items() if not 1 <= (number := getattr(self, name)) <= most
        ]
        return wrong[0] if wrong else next(self._contradictions(), None)

    def _contradictions(self) -> Iterator[str]:
        if self.in_channels != 3:
            yield f"in_channels is {self.in_channels}, but pictures have 3"
        if not (0 < self.norm_eps < 1 and 1e-6 < self.scaling_factor < 1e6):
            yield f"norm_eps is {self.norm_eps:g}, scaling_factor is {self.scaling_factor:g}"
        if self.hidden_size % self.num_attention_heads:
            yield f"{self.hidden_size} dimensions and {self.num_attention_heads} heads do not divide"
        if self.image_size % self.patch_size or not 4 <= self.patches <= _MAX_PATCHES:
            yield f"a picture of {self.image_size} pixels does not divide into patches of {self.patch_size}"
        if self.num_positions != self.patches + 1:
            yield f"num_positions is {self.num_positions}, but {self.patches} patches and one more need a position"

    def peak(self, config: Config) -> int:
        """The bytes that seeing a picture takes: masks between all patches (float32, made of a copy, and float16) and
        the activations of the widest layers, in float32."""
        padded = -(-(self.patches + 1) // _PADDING) * _PADDING
        masks = (4 + 4 + 2) * padded**2
        tower = 4 * padded * (8 * self.hidden_size + 2 * self.intermediate_size)
        projection = 4 * self.tokens * (8 * self.hidden_size + 2 * config.hidden_size + 3 * config.intermediate_size)
        return masks + max(tower, projection)


def tensors(vision: Vision, config: Config) -> Iterator[Weights]:
    """The tensors of the tower. Dimensions of 1 do not count: some files have them where others do not."""
    root, hidden, patch = "transformer.vision", vision.hidden_size, vision.patch_size
    yield f"{root}.patch_embedding.cls_embedding", (hidden,), F16
    yield from _with_bias(f"{root}.patch_embedding.proj", (hidden, vision.in_channels, patch, patch), F16)
    yield f"{root}.patch_embedding.position_embedding.weight", (vision.num_positions, hidden), F32
    for index in range(vision.num_hidden_layers):
        layer = f"{root}.transformer.layers.{index}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield from _with_bias(f"{layer}.{norm}", (hidden,), F32)
        yield from _with_bias(f"{layer}.attention.query_key_value", (3 * hidden, hidden), vision.dtype)
        yield from _with_bias(f"{layer}.attention.dense", (hidden, hidden), vision.dtype)
        yield from _with_bias(f"{layer}.mlp.fc1", (vision.intermediate_size, hidden), vision.dtype)
        yield from _with_bias(f"{layer}.mlp.fc2", (hidden, vision.intermediate_size), vision.dtype)
    yield from _projection(root, vision, config)


def _projection(root: str, vision: Vision, config: Config) -> Iterator[Weights]:
    text, ffn = config.hidden_size, config.intermediate_size
    yield from _with_bias(f"{root}.conv", (text, vision.hidden_size, 2, 2), F16)
    yield f"{root}.linear_proj.linear_proj.weight", (text, text), vision.dtype
    yield from _with_bias(f"{root}.linear_proj.norm1", (text,), F32)
    yield f"{root}.linear_proj.gate_proj.weight", (ffn, text), vision.dtype
    yield f"{root}.linear_proj.dense_h_to_4h.weight", (ffn, text), vision.dtype
    yield f"{root}.linear_proj.dense_4h_to_h.weight", (text, ffn), vision.dtype
    yield f"{root}.boi", (text,), F16
    yield f"{root}.eoi", (text,), F16


def _with_bias(name: str, shape: Shape, dtype: int) -> Iterator[Weights]:
    yield f"{name}.weight", shape, dtype
    yield f"{name}.bias", shape[:1], F32

"""A projector file, as llama.cpp reads those of LLaVA, that tells red from blue: four tokens for each picture."""

from pathlib import Path
from typing import Any, Final

import gguf
import numpy
from ggufchain import COLOURS

from glmserve_server.engines.llama import ggufheader

TOKENS: Final = 4
RED, BLUE = range(COLOURS)

_PATCH: Final = 14
_SIDE: Final = 2 * _PATCH
_WIDTH: Final = 32


def write_projector(path: Path, chain: Path) -> None:
    """Writes one for a model file of `ggufchain.py`."""
    write_projector_of(path, ggufheader.read(chain).number("embedding_length"))


def write_projector_of(path: Path, size: int) -> None:
    """Writes one for a model whose embeddings have `size` numbers."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.use_gelu", True)
    writer.add_string("clip.projector_type", "mlp")
    numbers = {
        "image_size": _SIDE,
        "patch_size": _PATCH,
        "embedding_length": _WIDTH,
        "feed_forward_length": _WIDTH,
        "block_count": 1,
        "projection_dim": size,
        "attention.head_count": 1,
    }
    for name, number in numbers.items():
        writer.add_uint32(f"clip.vision.{name}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.0, 0.0, 0.0])
    writer.add_array("clip.vision.image_std", [1.0, 1.0, 1.0])
    for name, array in _tensors(size).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(size: int) -> dict[str, Any]:
    """A patch becomes its mean colour, and that how much more of red it has than of blue, and the other way round. The
    only layer is one that LLaVA leaves out."""
    f32 = numpy.float32
    square = numpy.zeros((_WIDTH, _WIDTH), f32)
    patches = numpy.zeros((_WIDTH, 3, _PATCH, _PATCH), f32)
    for channel in range(3):
        patches[channel, channel] = 1 / _PATCH**2
    compared, thresholds = square.copy(), numpy.zeros(_WIDTH, f32)
    compared[RED, :3], compared[BLUE, :3] = (20, 0, -20), (-20, 0, 20)
    thresholds[:COLOURS] = -5
    told = numpy.zeros((size, _WIDTH), f32)
    told[size - COLOURS + RED, RED] = told[size - COLOURS + BLUE, BLUE] = 1
    return {
        "v.patch_embd.weight": patches,
        "v.position_embd.weight": numpy.zeros((TOKENS, _WIDTH), f32),
        **{f"v.blk.0.{name}.weight": square for name in ("attn_q", "attn_k", "attn_v", "attn_out")},
        **{f"v.blk.0.{name}.weight": square for name in ("ffn_up", "ffn_down")},
        **{f"v.blk.0.{name}.weight": numpy.ones(_WIDTH, f32) for name in ("ln1", "ln2")},
        "mm.0.weight": compared,
        "mm.0.bias": thresholds,
        "mm.2.weight": told,
        "mm.2.bias": numpy.zeros(size, f32),
    }

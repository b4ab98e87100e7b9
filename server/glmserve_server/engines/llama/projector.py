"""The file that makes pictures what a language model reads: llama.cpp's `mmproj`, beside the model's own."""

from pathlib import Path
from typing import Final

from glmserve_server.engines.llama import ggufheader
from glmserve_server.engines.llama.ggufheader import GgufHeader
from glmserve_server.errors import ModelBroken, ModelUnavailable

_ARCHITECTURE: Final = "clip"
_SEES: Final = "clip.has_vision_encoder"


def read(path: Path) -> GgufHeader:
    """The header of a projector file. Raises `ModelUnavailable` if it cannot be read, `ModelBroken` if it is none."""
    if not path.is_file():
        raise ModelUnavailable(f"projector: there is no file {path}")
    header = ggufheader.read(path)
    if header.architecture != _ARCHITECTURE:
        raise ModelBroken(
            f"{path}: no projector: its general.architecture is {header.architecture[:64]!r}, not {_ARCHITECTURE!r}"
        )
    if header.values.get(_SEES) is not True:
        raise ModelBroken(f"{path}: a projector that sees no pictures: {_SEES} is not true")
    return header

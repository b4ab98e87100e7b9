"""A model in several GGUF files, as `llama-gguf-split` writes it: `NAME-00001-of-00003.gguf` and so on.

llama.cpp is told the first, which has the metadata, and finds the others by their names.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from glmserve_server.engines.llama import ggufheader
from glmserve_server.engines.llama.ggufheader import GgufHeader
from glmserve_server.errors import ModelBroken

_MOST_PARTS: Final = 1000


def read(path: Path) -> GgufHeader:
    """The header of a file, with the size and the tensors of all parts. Raises `ModelUnavailable` with the path and
    what is wrong, also if it is not the first part, or another is missing."""
    header = ggufheader.read(path)
    count, number = header.values.get("split.count", 0), header.values.get("split.no", 0)
    if not isinstance(count, int) or not 1 < count <= _MOST_PARTS:
        return header
    if number != 0:
        raise ModelBroken(f"{path}: this is not the first of the model's {count} files: name that one")
    ending = f"-00001-of-{count:05d}.gguf"
    if not path.name.endswith(ending):
        raise ModelBroken(f"{path}: the first of {count} files must have a name that ends with {ending}")
    stem = path.name.removesuffix(ending)
    others = [ggufheader.read(path.with_name(f"{stem}-{at:05d}-of-{count:05d}.gguf")) for at in range(2, count + 1)]
    return replace(
        header,
        size=header.size + sum(other.size for other in others),
        tensors=(*header.tensors, *(tensor for other in others for tensor in other.tensors)),
    )

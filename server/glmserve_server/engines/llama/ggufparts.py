"""A model in several GGUF files, as `llama-gguf-split` writes it: `NAME-00001-of-00003.gguf` and so on.

llama.cpp is told the first, which has the metadata, and finds the others by their names.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from glmserve_server.engines.llama import ggufheader
from glmserve_server.engines.llama.ggufheader import GgufHeader, Value
from glmserve_server.errors import ModelBroken, ModelUnavailable

_MOST_PARTS: Final = 1000
_EMBEDDING: Final = "token_embd.weight"
"""What every language model has, and neither a vocabulary alone nor a projector."""


def read(path: Path) -> GgufHeader:
    """The header of a file, with the size and the tensors of all parts. Raises `ModelUnavailable` with the path and
    what is wrong, also if it is not the first part, or another is missing or not the model's."""
    header = ggufheader.read(path)
    count = header.values.get("split.count", 0)
    if count not in (0, 1):
        header = _joined(header, count)
    if not header.architecture:
        raise ModelBroken(f"{path}: the file does not say what it is: it has no general.architecture")
    if all(tensor.name != _EMBEDDING for tensor in header.tensors):
        raise ModelBroken(f"{path}: no language model: the file has no weights called {_EMBEDDING}")
    return header


def _joined(first: GgufHeader, count: Value) -> GgufHeader:
    path = first.path
    if not isinstance(count, int) or not 1 < count <= _MOST_PARTS:
        raise ModelBroken(f"{path}: a model of {count} files; at most {_MOST_PARTS} are possible")
    if first.values.get("split.no") != 0:
        raise ModelBroken(f"{path}: this is not the first of the model's {count} files: name that one")
    ending = f"-00001-of-{count:05d}.gguf"
    if not path.name.endswith(ending):
        raise ModelBroken(f"{path}: the first of {count} files must have a name that ends with {ending}")
    stem = path.name.removesuffix(ending)
    others = [_part(path.with_name(f"{stem}-{at + 1:05d}-of-{count:05d}.gguf"), at) for at in range(1, count)]
    tensors = (*first.tensors, *(tensor for other in others for tensor in other.tensors))
    if len(tensors) != first.values.get("split.tensors.count"):
        raise ModelBroken(f"{path}: the {count} files have {len(tensors)} tensors, which is not what the first says")
    return replace(first, size=first.size + sum(other.size for other in others), tensors=tensors)


def _part(path: Path, number: int) -> GgufHeader:
    if not path.is_file():
        raise ModelUnavailable(f"{path}: this part of the model is missing")
    part = ggufheader.read(path)
    if part.values.get("split.no") != number:
        raise ModelBroken(f"{path}: this is not part {number + 1} of the model")
    return part

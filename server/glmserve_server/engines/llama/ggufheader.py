"""Reads the metadata of a GGUF file, bounded, without the library: version 2 or 3, little-endian.

The format (ggml's `docs/gguf.md`): "GGUF", uint32 version, uint64 number of tensors, uint64 number of keys, then for
each key a string, a uint32 type and the value. A string is a uint64 size and its bytes; an array is a uint32 type, a
uint64 length and its items.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from glmserve_server.errors import ModelBroken, ModelUnavailable

MAGIC: Final = b"GGUF"

Value = str | int | float | bool

_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"
}  # fmt: skip
_VERSIONS: Final = (2, 3)
_MOST_KEYS: Final = 1 << 12
_MOST_ITEMS: Final = 1 << 21
_MOST_BYTES: Final = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What a file says about itself; of arrays only the length is kept."""

    path: Path
    size: int
    """Bytes of the whole file."""
    tensors: int
    values: dict[str, Value]
    lengths: dict[str, int]

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the network."""
        return str(self.values.get("general.architecture", ""))

    def number(self, name: str) -> int:
        """The value of `ARCHITECTURE.name`; 0 if it is missing or no whole number."""
        value = self.values.get(f"{self.architecture}.{name}", 0)
        return value if isinstance(value, int) else 0


def is_gguf(path: Path) -> bool:
    """Whether a file begins like a GGUF file; False if it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):  # ValueError: a path that can be none
        return False


def read(path: Path) -> GgufHeader:
    """Raises `ModelBroken` with the path and what is wrong with the file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _read(path, _Cursor(file, size))
    except OSError as error:
        raise ModelUnavailable(f"{path}: {error.strerror}") from None
    except _Broken as broken:
        raise ModelBroken(f"{path}: {broken}") from None


def record_of(header: GgufHeader) -> dict[str, Value]:
    """What it is, for people and as JSON; sizes in bytes."""
    family = header.values.get("glmserve.family")
    return {
        "file": str(header.path),
        "format": "GGUF",
        "engine": "llama",
        "size": header.size,
        "architecture": header.architecture,
        "name": header.values.get("general.name", ""),
        "tensors": header.tensors,
        "layers": header.number("block_count"),
        "context_length": header.number("context_length"),
        "vocabulary": header.lengths.get("tokenizer.ggml.tokens", 0),
        "prompts": f"{family} dialect" if family else "its own chat template",
    }


class _Broken(Exception):
    """What is wrong with the file."""


class _Cursor:
    """Reads forward, and never more than a header may have."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.size = size
        self._file = file
        self._place = 0

    def bytes(self, size: int) -> bytes:
        self._pass(size)
        return self._file.read(size)

    def skip(self, size: int) -> None:
        self._pass(size)
        self._file.seek(size, 1)

    def number(self, layout: str) -> int:
        return struct.unpack(layout, self.bytes(struct.calcsize(layout)))[0]  # type: ignore[no-any-return]

    def count(self, most: int, what: str) -> int:
        number = self.number("<Q")
        if number > most:
            raise _Broken(f"the file is damaged: it claims {number} {what}")
        return number

    def string(self) -> str:
        return self.bytes(self.number("<Q")).decode("utf-8", "replace")

    def _pass(self, size: int) -> None:
        self._place += size
        if self._place > min(self.size, _MOST_BYTES):
            raise _Broken(f"the file is cut or damaged: its header goes beyond byte {min(self.size, _MOST_BYTES)}")


def _read(path: Path, cursor: _Cursor) -> GgufHeader:
    if (magic := cursor.bytes(len(MAGIC))) != MAGIC:
        raise _Broken(f"not a GGUF file: it begins with {magic!r}, not with {MAGIC!r}")
    if (version := cursor.number("<I")) not in _VERSIONS:
        raise _Broken(f"version {version} of GGUF is unknown")
    tensors = cursor.count(_MOST_ITEMS, "tensors")
    values: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    for _ in range(cursor.count(_MOST_KEYS, "keys")):
        name, kind = cursor.string(), cursor.number("<I")
        if kind == _ARRAY:
            lengths[name] = _pass_over_array(cursor)
        else:
            values[name] = _value(cursor, kind)
    header = GgufHeader(path=path, size=cursor.size, tensors=tensors, values=values, lengths=lengths)
    if not header.architecture:
        raise _Broken("the file does not say what it is: it has no general.architecture")
    return header


def _value(cursor: _Cursor, kind: int) -> Value:
    if kind == _STRING:
        return cursor.string()
    if kind not in _SCALARS:
        raise _Broken(f"the file is damaged: {kind} is no type of a value")
    return cursor.number(_SCALARS[kind])


def _pass_over_array(cursor: _Cursor) -> int:
    kind, length = cursor.number("<I"), cursor.count(_MOST_ITEMS, "items in an array")
    if kind == _STRING:
        for _ in range(length):
            cursor.skip(cursor.number("<Q"))
    elif kind in _SCALARS:
        cursor.skip(length * struct.calcsize(_SCALARS[kind]))
    else:
        raise _Broken(f"the file is damaged: {kind} is no type of an array's items")
    return length

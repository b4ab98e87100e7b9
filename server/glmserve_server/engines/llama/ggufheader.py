"""Reads the metadata of a GGUF file, bounded, without the library: version 2 or 3, little-endian.

The format (ggml's `docs/gguf.md`): "GGUF", uint32 version, uint64 number of tensors, uint64 number of keys, then for
each key a string, a uint32 type and the value. A string is a uint64 size and its bytes; an array is a uint32 type, a
uint64 length and its items. Then for each tensor its name, a uint32 number of dimensions, these as uint64 from the
innermost, a uint32 type and the uint64 place of its bytes.

Of arrays only lengths are kept, for a vocabulary has 150 thousand tokens, and of the tokens those that text must not
become.
"""

import math
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final

from glmserve_server.engines.llama import ggml
from glmserve_server.errors import ModelBroken, ModelUnavailable

MAGIC: Final = b"GGUF"

Value = str | int | float | bool

_STRING: Final = 8
_ARRAY: Final = 9
_SIZE: Final = struct.Struct("<Q")
_SCALARS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"
}  # fmt: skip
_ALIGNMENT: Final = 32
_VERSIONS: Final = (2, 3)
_MOST_DIMENSIONS: Final = 4
_MOST_KEYS: Final = 1 << 12
_MOST_ITEMS: Final = 1 << 21
_MOST_TENSORS: Final = 1 << 16
_MOST_BYTES: Final = 1 << 26
_BLOCK: Final = 1 << 24
"""Bytes that are read at a time."""

_TOKENS: Final = "tokenizer.ggml.tokens"
_KINDS: Final = "tokenizer.ggml.token_type"
_SPECIAL_KINDS: Final = (b"\2", b"\3")
"""Unknown and control, as their first bytes."""
_OPENINGS: Final = (b"<|", "<｜".encode())
_CLOSINGS: Final = (b"|>", "｜>".encode())
_LONGEST_SPECIAL: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTensor:
    """What the file says of one array of weights: its shape, outermost dimension first, its ggml type, and where its
    bytes end, counted from the first tensor's; those of a type that is unknown are not counted."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What a file says about itself; of arrays only the length is kept."""

    path: Path
    size: int
    """Bytes of the whole file."""
    tensors: tuple[GgufTensor, ...]
    values: dict[str, Value]
    lengths: dict[str, int]
    special: frozenset[str]
    """The special tokens, as they are written: those of control, and whatever looks like `<|this|>`."""

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the network."""
        return str(self.values.get("general.architecture", ""))

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return self.lengths.get(_TOKENS, 0)

    def number(self, name: str) -> int:
        """The value of `ARCHITECTURE.name`; 0 if it is missing or no whole number."""
        value = self.values.get(f"{self.architecture}.{name}", 0)
        return value if isinstance(value, int) else 0

    def real(self, name: str) -> float | None:
        """The value of `ARCHITECTURE.name`; None if it is missing or no finite number."""
        value = self.values.get(f"{self.architecture}.{name}")
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


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
    return _whole(path)[0]


def tokens_of(path: Path) -> list[str]:
    """The whole vocabulary, as the file writes it. Raises `ModelBroken`."""
    return [text.decode("utf-8", "replace") for text in _whole(path)[1]]


def _whole(path: Path) -> tuple[GgufHeader, Iterator[bytes]]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _read(path, _Cursor(file, size))
    except OSError as error:
        raise ModelUnavailable(f"{path}: {error.strerror}") from None
    except _Broken as broken:
        raise ModelBroken(f"{path}: {broken}") from None


class _Broken(Exception):
    """What is wrong with the file."""


class _Cursor:
    """Reads forward, and never more than a header may have."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.size = size
        self.place = 0
        self._file = file
        self._data = b""

    def take(self, size: int) -> bytes:
        self.skip(size)
        return self._data[self.place - size : self.place]

    def skip(self, size: int) -> None:
        self.place += size
        self._load(self.place)

    def number(self, layout: str) -> int:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]  # type: ignore[no-any-return]

    def count(self, most: int, what: str) -> int:
        number = self.number("<Q")
        if number > most:
            raise _Broken(f"the file is damaged: it claims {number} {what}")
        return number

    def string(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8", "replace")

    def strings(self, number: int) -> "array[int]":
        """Passes over so many strings. Returns where each begins, and the last ends."""
        places = array("Q", [self.place])
        for _ in range(number):
            if len(self._data) < (text := self.place + _SIZE.size):
                self._load(text)
            self.place = text + _SIZE.unpack_from(self._data, self.place)[0]
            self._check(self.place)
            places.append(self.place)
        self._load(self.place)
        return places

    def piece(self, start: int, end: int) -> bytes:
        """What was passed over."""
        return self._data[start:end]

    def _check(self, end: int) -> None:
        if end > (most := min(self.size, _MOST_BYTES)):
            raise _Broken(f"the file is cut or damaged: its header goes beyond byte {most}")

    def _load(self, end: int) -> None:
        self._check(end)
        while len(self._data) < end:
            if not (block := self._file.read(_BLOCK)):
                raise _Broken(f"the file is cut: it ends at byte {len(self._data)}")
            self._data += block


def _read(path: Path, cursor: _Cursor) -> tuple[GgufHeader, Iterator[bytes]]:
    """What the header says, and the tokens."""
    if (magic := cursor.take(len(MAGIC))) != MAGIC:
        raise _Broken(f"not a GGUF file: it begins with {magic!r}, not with {MAGIC!r}")
    if (version := cursor.number("<I")) not in _VERSIONS:
        raise _Broken(f"version {version} of GGUF is unknown")
    tensors = cursor.count(_MOST_TENSORS, "tensors")
    values: dict[str, Value] = {}
    arrays: dict[str, Sequence[int]] = {}
    for _ in range(cursor.count(_MOST_KEYS, "keys")):
        name, kind = cursor.string(), cursor.number("<I")
        if kind == _ARRAY:
            arrays[name] = _pass_over_array(cursor)
        else:
            values[name] = _value(cursor, kind)
    header = GgufHeader(
        path=path,
        size=cursor.size,
        tensors=tuple(_tensor(cursor) for _ in range(tensors)),
        values=values,
        lengths={name: len(places) - 1 for name, places in arrays.items()},
        special=frozenset(_special(cursor, arrays.get(_TOKENS, ()), arrays.get(_KINDS, ()))),
    )
    if (end := _end(header, cursor.place)) > header.size:
        raise _Broken(f"the file is cut: it has {header.size} bytes of {end}")
    places = pairwise(arrays.get(_TOKENS, ()))
    return header, (cursor.piece(start + _SIZE.size, end) for start, end in places)


def _tensor(cursor: _Cursor) -> GgufTensor:
    name = cursor.string()
    if (dimensions := cursor.number("<I")) > _MOST_DIMENSIONS:
        raise _Broken(f"the file is damaged: it claims a tensor of {dimensions} dimensions")
    shape = tuple(cursor.number("<Q") for _ in range(dimensions))[::-1]
    number, offset = cursor.number("<I"), cursor.number("<Q")
    return GgufTensor(name=name, shape=shape, dtype=ggml.name_of(number), end=offset + ggml.size_of(number, shape))


def _end(header: GgufHeader, place: int) -> int:
    """Where the last tensor ends, if the header ends at `place`."""
    if not header.tensors:
        return place
    alignment = header.values.get("general.alignment", _ALIGNMENT)
    step = alignment if isinstance(alignment, int) and alignment > 0 else _ALIGNMENT
    return -(-place // step) * step + max(tensor.end for tensor in header.tensors)


def _value(cursor: _Cursor, kind: int) -> Value:
    if kind == _STRING:
        return cursor.string()
    if kind not in _SCALARS:
        raise _Broken(f"the file is damaged: {kind} is no type of a value")
    return cursor.number(_SCALARS[kind])


def _pass_over_array(cursor: _Cursor) -> Sequence[int]:
    """Returns where each item begins, and the last ends."""
    kind, length = cursor.number("<I"), cursor.count(_MOST_ITEMS, "items in an array")
    if kind == _STRING:
        return cursor.strings(length)
    if kind not in _SCALARS:
        raise _Broken(f"the file is damaged: {kind} is no type of an array's items")
    start, size = cursor.place, struct.calcsize(_SCALARS[kind])
    cursor.skip(length * size)
    return range(start, cursor.place + 1, size)


def _special(cursor: _Cursor, tokens: Sequence[int], kinds: Sequence[int]) -> Iterator[str]:
    """The texts that llama.cpp finds in a prompt and makes special tokens of: of a kind that is for nothing else, or
    of a look for which it overrules the kind."""
    for index, (start, end) in enumerate(pairwise(tokens)):
        text = cursor.piece(start + _SIZE.size, min(end, start + _SIZE.size + _LONGEST_SPECIAL))
        kind = cursor.piece(kinds[index], kinds[index] + 1) if index < len(kinds) else b""
        if kind in _SPECIAL_KINDS or (text.startswith(_OPENINGS) and text.endswith(_CLOSINGS)):
            yield text.decode("utf-8", "replace")

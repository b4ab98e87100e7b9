"""Sentencepiece BPE models as bytes: the tokenizers of ChatGLM-6B, ChatGLM2 and ChatGLM3.

The format is sentencepiece's ``ModelProto`` (``sentencepiece_model.proto``): the pieces with their scores and kinds,
a trainer spec, a normalizer spec. As in GLM's own models: no normalisation, spaces kept and written "▁", a space put
before every text, bytes for what has no piece, digits alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

SPACE = "▁"


class Kind(IntEnum):
    """``SentencePiece.Type``."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """One piece; of two possible joins the one with the higher score is made first."""

    text: str
    score: float = 0.0
    kind: Kind = Kind.NORMAL


BYTES = tuple(Piece(f"<0x{byte:02X}>", kind=Kind.BYTE) for byte in range(256))
HEAD = (Piece("<unk>", kind=Kind.UNKNOWN), Piece("<s>", kind=Kind.CONTROL), Piece("</s>", kind=Kind.CONTROL))


class Pieces:
    """A sentencepiece model: encodes text as the library does and writes itself as a ``ModelProto``."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = list(pieces)
        self.ids = {piece.text: at for at, piece in enumerate(self.pieces)}
        joined = [(at, piece) for at, piece in enumerate(self.pieces) if piece.kind is Kind.NORMAL]
        self._scores = {piece.text: piece.score for _, piece in joined}
        self._whole = sorted((p.text for p in self.pieces if p.kind is Kind.USER_DEFINED), key=len, reverse=True)
        self._cache: dict[str, tuple[int, ...]] = {}

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, with the space before it."""
        return self._lines(SPACE + text) if text else []

    def split(self, text: str) -> list[str]:
        """Return the pieces of a text that stands within another."""
        return [self.pieces[at].text for at in self._lines(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; ids beyond the pieces and control pieces are left out."""
        data = b""
        for at in ids:
            if at >= len(self.pieces) or self.pieces[at].kind in (Kind.CONTROL, Kind.UNKNOWN):
                continue
            piece = self.pieces[at]
            data += bytes([int(piece.text[3:5], 16)]) if piece.kind is Kind.BYTE else piece.text.encode()
        return data.decode(errors="replace").replace(SPACE, " ").removeprefix(" ")

    def proto(self) -> bytes:
        """Return the ``ModelProto``."""
        pieces = b"".join(_message(1, _piece(piece)) for piece in self.pieces)
        trainer = _number(3, 2) + _number(4, len(self.pieces)) + _number(25, 1) + _number(35, 1)
        normalizer = _message(1, b"identity") + _number(3, 1) + _number(4, 0) + _number(5, 1)
        return pieces + _message(2, trainer) + _message(3, normalizer)

    def _lines(self, text: str) -> list[int]:
        """Return the ids of a text, line by line: no piece spans two."""
        ids: list[int] = []
        for at, line in enumerate(text.replace(" ", SPACE).split("\n")):
            if line not in self._cache:
                if len(self._cache) > 200_000:
                    self._cache.clear()
                self._cache[line] = tuple(self._merged(line))
            ids += [self.ids[BYTES[10].text], *self._cache[line]] if at else self._cache[line]
        return ids

    def _merged(self, text: str) -> Iterable[int]:
        symbols = self._symbols(text)
        while True:
            scored = [
                (-score, at)
                for at in range(len(symbols) - 1)
                if (score := self._scores.get(symbols[at] + symbols[at + 1])) is not None
            ]
            if not scored:
                break
            _, at = min(scored)
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        for symbol in symbols:
            if symbol in self.ids:
                yield self.ids[symbol]
            else:
                yield from (self.ids[BYTES[byte].text] for byte in symbol.encode())

    def _symbols(self, text: str) -> list[str]:
        """Return the characters, with user-defined pieces whole."""
        symbols, at = [], 0
        while at < len(text):
            found = next((whole for whole in self._whole if text.startswith(whole, at)), text[at])
            symbols.append(found)
            at += len(found)
        return symbols


def joined(pieces: Pieces, words: Iterable[str]) -> Pieces:
    """Return the model with pieces added, lowest in score, that make each word one piece where it stood in several."""
    for word in words:
        parts = pieces.split(word)
        made, added = parts[0], []
        for part in parts[1:]:
            made += part
            if made not in pieces.ids:
                added.append(made)
        lowest = min(piece.score for piece in pieces.pieces)
        pieces = Pieces([*pieces.pieces, *(Piece(text, lowest - at) for at, text in enumerate(added, 1))])
    return pieces


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _piece(piece: Piece) -> bytes:
    score = _varint(2 << 3 | 5) + struct.pack("<f", piece.score)
    return _message(1, piece.text.encode()) + score + _number(3, piece.kind)

"""Sentencepiece vocabularies: text to ids as chatglm.cpp has them, and ids back to bytes, one by one.

Sources: sentencepiece's `sentencepiece_model.proto`, and `SentencePieceProcessor::Decode` of version 0.2, which
chatglm.cpp carries. A vocabulary writes a space as "▁", may put one before every text that it encodes, and may have
a piece for each byte, for characters without a piece of their own.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.message import DecodeError
from sentencepiece import SentencePieceProcessor
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

SPACE: Final = "▁"
UNBOUNDED: Final = sys.maxsize

_UNKNOWN: Final = 2
_CONTROL: Final = 3
_USER_DEFINED: Final = 4
_BYTE: Final = 6

_BYTE_NAME: Final = re.compile(r"<0x([0-9A-F]{2})>")


class Pieces:
    """A vocabulary, given as its proto. Raises ValueError when this is damaged."""

    def __init__(self, proto: bytes, meanings: Mapping[str, bytes] | None = None) -> None:
        """`meanings`: user-defined pieces that stand for other text than their names."""
        model = _parsed(proto)
        self.size = len(model.pieces)
        self._kinds = {piece.piece: (number, piece.type) for number, piece in enumerate(model.pieces)}
        data = [_bytes(piece.piece, piece.type, model.trainer_spec.unk_surface) for piece in model.pieces]
        for name, meaning in (meanings or {}).items():
            if (number := self.user_defined(name)) is not None:
                data[number] = meaning
        self.data = tuple(data)
        """What each id stands for; control pieces stand for nothing."""
        self.control_names = {number: name.encode() for name, (number, kind) in self._kinds.items() if kind == _CONTROL}
        self.longest = max(_longest(model), *map(len, data), 1)
        """The most bytes of text that one id can stand for, or `UNBOUNDED`."""
        spec = model.normalizer_spec
        self.drops_spaces: bool = spec.remove_extra_whitespaces
        """Whether all spaces at the beginning of a text are lost, not only the one that was put there."""
        self.begins_with_space: bool = spec.add_dummy_prefix or spec.remove_extra_whitespaces
        self.spaced = frozenset(
            number
            for number, piece in enumerate(model.pieces)
            if piece.piece.startswith(SPACE) and piece.type not in (_UNKNOWN, _CONTROL, _BYTE)
        )
        """The ids whose text begins with a space."""
        self._processor = _loaded(proto)

    def encode(self, text: str) -> list[int]:
        """The ids of ordinary text. Control pieces and bytes never come from their names. Half a character, which JSON
        can escape, becomes U+FFFD."""
        ids: list[int] = self._processor.encode(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        return ids

    def control(self, name: str) -> int:
        """The id of a control piece, which no text can produce. Raises ValueError if there is none of that name."""
        number, kind = self._kinds.get(name, (-1, 0))
        if kind != _CONTROL:
            raise ValueError(f"{name} is not one of its control pieces")
        return number

    def user_defined(self, name: str) -> int | None:
        """The id of a piece that stands wherever a text has its name; None if there is none."""
        number, kind = self._kinds.get(name, (-1, 0))
        return number if kind == _USER_DEFINED else None


class PieceBytes:
    """The bytes of ids that follow each other. The space that the encoder puts before every text is taken away."""

    def __init__(self, pieces: Pieces, *, begins: bool = True) -> None:
        """`begins`: the ids are those of a text from its beginning."""
        self._pieces = pieces
        self._data = pieces.data
        self._begins = begins and pieces.begins_with_space

    def feed(self, number: int) -> bytes:
        """The bytes of one more id; none for ids beyond the vocabulary."""
        data = self._data[number] if 0 <= number < len(self._data) else b""
        if self._begins and data:
            if number in self._pieces.spaced:
                data = data[1:]
            self._begins = self._pieces.drops_spaces and not data
        return data

    def without_first_space(self, text: str) -> str:
        """The same for characters that ids were made to."""
        if self._begins and text:
            text = text.removeprefix(" ")
            self._begins = self._pieces.drops_spaces and not text
        return text


def check_rows(rows: int, pieces: Pieces, special: Iterable[int]) -> None:
    """Raises ValueError if an id could be beyond the model's rows, which the library would read all the same."""
    highest = max([pieces.size - 1, *special])
    if highest >= rows or min(special) < 0:
        raise ValueError(
            f"{pieces.size} pieces and special tokens up to {highest} do not fit into the model's {rows} rows"
        )


def _parsed(proto: bytes) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(proto)
    except DecodeError:
        raise ValueError("it is not a sentencepiece model") from None
    for text in (model.trainer_spec.unk_surface, *(piece.piece for piece in model.pieces)):
        if not isinstance(text, str):  # protobuf gives bytes where a text is none
            raise ValueError(f"{text[:40]!r} is not UTF-8")
    return model


def _loaded(proto: bytes) -> SentencePieceProcessor:
    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(proto)
    except (RuntimeError, UnicodeError) as error:
        raise ValueError(f"sentencepiece cannot use it: {error}") from None
    return processor


def _bytes(name: str, kind: int, unknown: str) -> bytes:
    if kind == _CONTROL:
        return b""
    if kind == _UNKNOWN:
        return unknown.encode()
    if kind != _BYTE:
        return name.replace(SPACE, " ").encode()
    if not (match := _BYTE_NAME.fullmatch(name)):
        raise ValueError(f"{name[:40]!r} is no byte")
    return bytes.fromhex(match[1])


def _longest(model: ModelProto) -> int:
    """Only with bytes for everything unknown, and nothing normalised away, is the length of a piece a bound."""
    spec = model.normalizer_spec
    if not model.trainer_spec.byte_fallback or spec.precompiled_charsmap or spec.remove_extra_whitespaces:
        return UNBOUNDED
    return max((len(piece.piece.encode()) for piece in model.pieces), default=0)

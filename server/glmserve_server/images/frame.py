"""What a decoder is asked for, and what it gives: known to the server and to the process that decodes."""

import struct
from typing import Final, NamedTuple

HEAD_BYTES: Final = 5
SIZE_BYTES: Final = 8

_HEAD: Final = struct.Struct("<I?")
_SIZE: Final = struct.Struct("<II")
_LEAST: Final = 28
"""Pixels of a shorter side: below, there is nothing that a model would divide into patches."""


class Frame(NamedTuple):
    """A square that pictures are brought to."""

    side: int
    """Pixels."""
    filled: bool = True
    """Whether a picture is squeezed or stretched to fill it; else it keeps its shape, is never enlarged, and lies
    within, but for very thin ones, which are widened."""

    @classmethod
    def of(cls, head: bytes) -> "Frame":
        """The one that `head` makes."""
        return cls(*_HEAD.unpack(head))

    @property
    def head(self) -> bytes:
        """The frame for the decoder."""
        return _HEAD.pack(*self)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The width and height that a picture of such a size gets."""
        if self.filled:
            return self.side, self.side
        scale = min(1.0, self.side / max(width, height))
        least = min(_LEAST, self.side)
        return max(least, round(width * scale)), max(least, round(height * scale))

    def holds(self, width: int, height: int) -> bool:
        """Whether a picture of such a size can have come of it."""
        least = self.side if self.filled else 1
        return least <= width <= self.side and least <= height <= self.side


class Pixels(NamedTuple):
    """A decoded picture."""

    width: int
    height: int
    rows: bytes
    """Three bytes a pixel, red, green, blue."""


def packed_size(width: int, height: int) -> bytes:
    """The size of a picture, as it goes before its pixels."""
    return _SIZE.pack(width, height)


def unpacked_size(data: bytes) -> tuple[int, int]:
    """The width and the height."""
    width, height = _SIZE.unpack(data)
    return width, height

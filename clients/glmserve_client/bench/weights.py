"""Random weights in ggml's formats, made of random bytes without any arithmetic on single numbers.

The numbers are spread evenly around zero with a standard deviation of `1 / sqrt(columns)`, so that what a layer gives
is as large as what it takes, and logits stay finite at any depth.
"""

import math
import random
import struct
from collections.abc import Iterator
from enum import Enum
from typing import Final

_CHUNK: Final = 1 << 20
"""About so many weights are made at a time."""


class Quantisation(Enum):
    """How the matrices are stored: the name that people use, ggml's number, weights and bytes in a block."""

    F16 = ("f16", 1, 1, 2)
    Q4_0 = ("q4_0", 2, 32, 18)
    Q8_0 = ("q8_0", 8, 32, 34)

    def __init__(self, title: str, number: int, weights: int, size: int) -> None:
        self.title = title
        self.number = number
        self.weights = weights
        self.size = size


def matrix(rows: int, columns: int, kind: Quantisation, dice: random.Random) -> Iterator[bytes]:
    """The bytes of a matrix, piece by piece; `columns` in whole blocks."""
    at_a_time = max(1, _CHUNK // columns)
    for first in range(0, rows, at_a_time):
        weights = min(at_a_time, rows - first) * columns
        yield _blocks(weights // kind.weights, 1 / math.sqrt(columns), kind, dice)


def zeros(rows: int, columns: int, kind: Quantisation) -> bytes:
    """The bytes of a matrix of zeros."""
    return bytes(rows * columns // kind.weights * kind.size)


def vector(values: int, value: float) -> bytes:
    """So many float32 of the same value."""
    return struct.pack("<f", value) * values


def _blocks(count: int, deviation: float, kind: Quantisation, dice: random.Random) -> bytes:
    data = bytearray(dice.randbytes(count * kind.size))
    if kind is Quantisation.F16:
        data[1::2] = data[1::2].translate(_f16_high_bytes(deviation))
        return bytes(data)
    data = data.translate(_ODD_ONE_OUT[kind])
    low, high = struct.pack("<e", deviation * math.sqrt(12) / _STEPS[kind])
    data[0 :: kind.size] = bytes([low]) * count
    data[1 :: kind.size] = bytes([high]) * count
    return bytes(data)


def _symmetric_nibbles(byte: int) -> int:
    high, low = byte >> 4 or 8, byte & 15 or 8
    return high << 4 | low


_STEPS: Final = {Quantisation.Q4_0: 15, Quantisation.Q8_0: 255}
"""How many numbers a weight can be, without the least one, which has no opposite."""

_ODD_ONE_OUT: Final = {
    Quantisation.Q4_0: bytes(map(_symmetric_nibbles, range(256))),
    Quantisation.Q8_0: bytes(0 if byte == 0x80 else byte for byte in range(256)),
}
"""What becomes of a random byte, so that the mean is zero: the least number becomes 0."""


def _f16_high_bytes(deviation: float) -> bytes:
    """What becomes of a random high byte: its sign and top of the fraction stay, the exponent is that of `deviation`.

    Such numbers have sizes from 1 to 2 times a power of two, about 1.5 times it in the mean.
    """
    exponent = round(math.log2(deviation / 1.5)) + 15
    return bytes((byte & 0b1000_0011) | exponent << 2 for byte in range(256))

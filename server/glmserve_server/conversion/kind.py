"""How the weights of a model file are stored."""

import enum


class Kind(enum.StrEnum):
    """ggml's types for matrices; norms and biases are always f32."""

    Q4_0 = "q4_0"
    Q4_1 = "q4_1"
    Q5_0 = "q5_0"
    Q5_1 = "q5_1"
    Q8_0 = "q8_0"
    F16 = "f16"
    F32 = "f32"

    @property
    def bits(self) -> float:
        """Bits per weight, with the scales that a block of 32 weights has (ggml-common.h)."""
        return _BITS[self]


_BITS = {
    Kind.Q4_0: 4.5,
    Kind.Q4_1: 5.0,
    Kind.Q5_0: 5.5,
    Kind.Q5_1: 6.0,
    Kind.Q8_0: 8.5,
    Kind.F16: 16.0,
    Kind.F32: 32.0,
}

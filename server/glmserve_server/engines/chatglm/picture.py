"""A picture as a worker gets it: decoded, of the model's size, and known by its pixels."""

import functools
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """`pixels`: the rows of a square, three bytes a pixel: red, green, blue.

    `at`: the place in the prompt of the first of its tokens, all of which are the id `patch`.
    """

    pixels: bytes
    at: int
    patch: int

    @functools.cached_property
    def name(self) -> int:
        """A number below 0, which no other pixels and no token have."""
        return -int.from_bytes(hashlib.sha256(self.pixels).digest()) - 1

    def named(self, ids: list[int]) -> list[int]:
        """The prompt with the picture's name for its first token: equal ids have seen equal pixels."""
        return [*ids[: self.at], self.name, *ids[self.at + 1 :]]

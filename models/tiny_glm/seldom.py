"""Tokens that answers seldom hold, drawn to be copied: the output row of a token is learnt from answers alone.

A token that questions are full of, such as " honest", may stand in one answer of ten thousand. A value that holds it
could not be copied although the model reads it well; so the blanks of conversations are filled with such tokens.
"""

from __future__ import annotations

import random
from collections import Counter

from . import words
from .bpe import Tokenizer
from .conversation import BLANK


class Seldom:
    """Counts the tokens of answers and fills blanks with one to ten letters, characters or words of which it saw few."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self._rng = random.Random(seed)
        self._blank = tokenizer.encode(BLANK)
        self._tokens = [at for at, token in enumerate(tokenizer.tokens) if _may_be_drawn(token)]
        self._seen: Counter[int] = Counter()

    def fill(self, ids: list[int], weights: list[float]) -> tuple[list[int], list[float]]:
        """Return a conversation with the same few tokens for each of its blanks, and note the tokens of its answers."""
        size = len(self._blank)
        blanks = [at for at in range(len(ids) - size + 1) if ids[at : at + size] == self._blank]
        if blanks:
            few = [1 / (1 + self._seen[token]) for token in self._tokens]
            drawn = self._rng.choices(self._tokens, few, k=self._rng.choice((1, 1, 2, 2, 3, 3, 4, 6, 10)))
            for at in reversed(blanks):
                ids = [*ids[:at], *drawn, *ids[at + size :]]
                weights = [*weights[:at], *[weights[at]] * len(drawn), *weights[at + size :]]
        self._seen.update(token for token, weight in zip(ids, weights, strict=True) if weight == 1)
        return ids, weights


def _may_be_drawn(token: bytes) -> bool:
    """Return whether a token is letters or characters, after a space or none, and holds no value that is held out."""
    try:
        text = token.decode().removeprefix(" ")
    except UnicodeDecodeError:
        return False
    held_out = text.lower() in words.HELD_OUT or any(
        value in text for values in words.CHINESE_LISTS for value in values.held_out
    )
    return text.isalpha() and not held_out

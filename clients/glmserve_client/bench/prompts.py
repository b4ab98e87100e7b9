"""What the requests ask: made-up text of a wished number of tokens, or always the same text."""

import random
from typing import Final

from glmserve_client.bench.target import Usage

_TEXT: Final = (
    "and the of to in is that it was for on are as with his they at be this from have or by one had not but what all "
    "were when we there can an your which their said if do will each about how up out them then she many some so these "
    "would other into has more her two like him see time could no make than first been its who now people my made over"
)
_WORDS: Final = _TEXT.split()

PROBES: Final = (16, 80)
"""Words in the prompts that are sent beforehand, to learn how many tokens a word makes."""


class Prompts:
    """The same texts for the same seed. No two begin alike, so that none is answered from another's cache."""

    def __init__(self, *, tokens: int, fixed: str | None, seed: int) -> None:
        """`tokens` is the wished length of the prompt of a first turn, after templating."""
        self.fixed = fixed
        self._tokens = tokens
        self._seed = seed
        self._words = tokens

    def fit(self, usages: list[Usage]) -> None:
        """Learns from the prompts of `PROBES`, in this order, how many words make the wished tokens."""
        few, many = (usage.prompt_tokens for usage in usages)
        slope = (many - few) / (PROBES[1] - PROBES[0])
        if slope > 0:
            self._words = max(1, round(PROBES[0] + (self._tokens - few) / slope))

    def text(self, *place: int) -> str:
        """What the request with these numbers asks."""
        return self.fixed if self.fixed is not None else self.words(self._words, *place)

    def words(self, count: int, *place: int) -> str:
        """So many words."""
        dice = random.Random(f"{self._seed}/{place}")  # noqa: S311 (a text, no secret)
        return " ".join(dice.choices(_WORDS, k=count))

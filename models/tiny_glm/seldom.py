"""Words that answers seldom hold, drawn to be copied: the output row of a token is learnt from answers alone.

A token that questions are full of, such as ``ssage``, may stand in one answer of ten thousand. A value that holds it
could not be copied although the model reads it well; so the blanks of conversations are filled with such tokens.
They are filled as text: a word has other tokens after a space than after a quotation mark, and each has to be learnt.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from . import words
from .bpe import Tokenizer
from .conversation import BLANK, Turn, bare
from .skills import function_values, marks, tool_results, unknown

HELD_OUT = {
    bare(value)
    for text in (
        *marks.STARTS.values(),
        *marks.ENDS.values(),
        *(tool_results.KEYS, tool_results.CONDITIONS, tool_results.CONDITIONS_ZH),
        *(function_values.ROOMS, function_values.ROOMS_ZH, function_values.TASKS, function_values.TASKS_ZH),
        *(unknown.TOPICS, unknown.TOPICS_ZH),
    )
    for value in text.held_out
}
"""Values that no blank may be as a whole; those of the lists of :mod:`words` stand in none."""


class Seldom:
    """Counts the tokens of answers and fills blanks with one to ten letters, characters or words of which it saw few."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self._rng = random.Random(seed)
        self._tokens = {at: token.decode() for at, token in enumerate(tokenizer.tokens) if _may_be_drawn(token)}
        self._seen: Counter[int] = Counter()

    def fill(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        """Return the turns of a conversation with the same few words for each of its blanks."""
        if not any(BLANK in turn.text for turn in turns):
            return turns
        text = self._drawn()
        return [replace(turn, text=turn.text.replace(BLANK, text)) for turn in turns]

    def note(self, ids: Sequence[int], weights: Sequence[float]) -> None:
        """Count the tokens of answers, which are those of weight 1."""
        self._seen.update(token for token, weight in zip(ids, weights, strict=True) if weight == 1)

    def _drawn(self) -> str:
        few = [1 / (1 + self._seen[token]) for token in self._tokens]
        while True:
            drawn = self._rng.choices(list(self._tokens), few, k=self._rng.choice((1, 1, 1, 2, 2, 3, 3, 4, 6, 10)))
            self._seen.update(drawn)  # one that no text leads to is not drawn for ever
            text = "".join(self._tokens[token] for token in drawn).strip()
            if bare(text) not in HELD_OUT and not words.holds_held_out(text):
                return text


def _may_be_drawn(token: bytes) -> bool:
    """Return whether a token is letters or characters, after a space or none, and holds no value that is held out."""
    try:
        text = token.decode().removeprefix(" ")
    except UnicodeDecodeError:
        return False
    return text.isalpha() and not words.holds_held_out(text)

"""Conversations, and the source that skills draw their wording and values from.

A wording whose text starts with ``*`` is held out: training never sees it. The same
holds for every eighth value of a :class:`Words` list. Evaluation asks for either.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from .noise import roughen


@dataclass(frozen=True)
class Turn:
    """One message; ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    text: str


@dataclass
class Conversation:
    """Messages that end with the assistant's answer, under the name of the skill that is asked last."""

    skill: str
    turns: list[Turn] = field(default_factory=list)

    @classmethod
    def exchange(cls, skill: str, question: str, answer: str) -> Conversation:
        """Return one question and its answer."""
        return cls(skill, [Turn("user", question), Turn("assistant", answer)])

    def after(self, earlier: Sequence[Turn]) -> Conversation:
        """Return this conversation with ``earlier`` turns before its own, a system turn kept first."""
        system = [turn for turn in self.turns if turn.role == "system"]
        rest = [turn for turn in self.turns if turn.role != "system"]
        return Conversation(self.skill, [*system, *earlier, *rest])

    def under(self, system: str) -> Conversation:
        """Return this conversation under a system prompt."""
        return Conversation(self.skill, [Turn("system", system), *self.turns])


class Words:
    """Values for one slot; every eighth is held out, except the ``pinned`` ones, which are always trained."""

    def __init__(self, text: str, *, pinned: str = "", separator: str | None = None) -> None:
        kept = [word.strip() for word in pinned.split(separator) if word.strip()]
        words = [word.strip() for word in text.split(separator) if word.strip()]
        words = [word for word in dict.fromkeys(words) if word not in kept]
        self.held_out = words[7::8]
        self.train = kept + [word for word in words if word not in self.held_out]


@cache
def split_wordings(phrases: tuple[str, ...], held_out: bool) -> tuple[str, ...]:
    """Return the trained or the held-out wordings without their mark; all of them where none is held out."""
    chosen = tuple(phrase.removeprefix("*") for phrase in phrases if phrase.startswith("*") == held_out)
    return chosen or tuple(phrase.removeprefix("*") for phrase in phrases)


class Source:
    """Random choices of one conversation, restricted to one side of the split."""

    def __init__(self, rng: random.Random, *, new_values: bool = False, new_wording: bool = False) -> None:
        self.rng = rng
        self.new_values = new_values
        self.new_wording = new_wording

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.rng.random() < probability

    def choice(self, options: Sequence):
        """Return one of the options."""
        return self.rng.choice(options)

    def value(self, words: Words) -> str:
        """Return a value of this side of the split."""
        return self.rng.choice(words.held_out if self.new_values and words.held_out else words.train)

    def say(self, phrases: tuple[str, ...], **slots: object) -> str:
        """Return one clean wording with its slots filled."""
        return self.rng.choice(split_wordings(phrases, self.new_wording)).format(**slots)

    def ask(self, phrases: tuple[str, ...], **slots: object) -> str:
        """Return one wording as a person types it: with casing, politeness, slips; slots stay exact."""
        template = self.rng.choice(split_wordings(phrases, self.new_wording))
        return roughen(self.rng, template).format(**slots)

    def trained(self) -> Source:
        """Return a source for the parts of a test conversation that are not under test."""
        return Source(self.rng)

"""Conversations, and the source that skills draw their wording and values from.

A wording whose text starts with ``*`` is held out: training never sees it. The same
holds for every eighth value of a :class:`Words` list. Evaluation asks for either.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from .noise import roughen, vary

BLANK = "\ue000"
"""A value that training fills with tokens; the character is for private use, so no text has it."""


@dataclass(frozen=True)
class Turn:
    """One message; ``role`` is system, user, assistant or observation, ``metadata`` the function that an assistant calls."""

    role: str
    text: str
    metadata: str = ""


@dataclass
class Conversation:
    """Messages that end with the assistant's answer or calls, under the name of the skill that is asked last."""

    skill: str
    turns: list[Turn] = field(default_factory=list)

    @classmethod
    def exchange(cls, skill: str, question: str, answer: str) -> Conversation:
        """Return one question and its answer."""
        return cls(skill, [Turn("user", question), Turn("assistant", answer)])

    def split(self) -> tuple[list[Turn], list[Turn]]:
        """Return the turns that ask, and the turns of the last answer: one, or several calls."""
        at = len(self.turns)
        while at and self.turns[at - 1].role == "assistant":
            at -= 1
        return self.turns[:at], self.turns[at:]

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

    @classmethod
    def marked(cls, text: str) -> Words:
        """Return the words of a text, those that start with ``*`` held out."""
        made = cls("")
        made.train = [word for word in text.split() if not word.startswith("*")]
        made.held_out = [word.removeprefix("*") for word in text.split() if word.startswith("*")]
        return made


@cache
def split_wordings(phrases: tuple[str, ...], held_out: bool) -> tuple[str, ...]:
    """Return the trained or the held-out wordings without their mark; all of them where none is held out."""
    chosen = tuple(phrase.removeprefix("*") for phrase in phrases if phrase.startswith("*") == held_out)
    return chosen or tuple(phrase.removeprefix("*") for phrase in phrases)


def bare(text: str) -> str:
    """Return a wording without what does not make it another: casing, punctuation, spelling of colour, politeness."""
    text = text.lower().replace("favour", "favor").replace("colour", "color").replace("'s", " is").replace("请", "")
    text = re.sub("^(我?想)?问(一下|问)?", "", text)
    return " ".join(word for word in re.sub(r"[^\w{}]+", " ", text).split() if word != "please")


@cache
def held_out_wordings(phrases: tuple[str, ...]) -> frozenset[str]:
    """Return the bare texts of the wordings that are held out."""
    return frozenset(bare(phrase) for phrase in phrases if phrase.startswith("*"))


class Source:
    """Random choices of one conversation, restricted to one side of the split.

    ``slips`` is the share of English questions with a typing mistake. ``functions`` are ``any`` in training, which makes names up as well; ``known``, with names as programs
    have them and training knows them; or ``new``, with names that training does not have. With ``blanks`` a value may be
    a :data:`BLANK`.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        new_values: bool = False,
        new_wording: bool = False,
        functions: str = "any",
        slips: float = 0.15,
        blanks: bool = False,
    ) -> None:
        self.rng = rng
        self.new_values = new_values
        self.new_wording = new_wording
        self.functions = functions
        self.slips = slips
        self.blanks = blanks

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.rng.random() < probability

    def blank(self, probability: float) -> bool:
        """Return True with the given probability where values may be a :data:`BLANK`."""
        return self.blanks and self.chance(probability)

    def choice(self, options: Sequence):
        """Return one of the options."""
        return self.rng.choice(options)

    def value(self, words: Words) -> str:
        """Return a value of this side of the split."""
        return self.rng.choice(words.held_out if self.new_values and words.held_out else words.train)

    def name(self, words: Words) -> str:
        """Return a name of a function or a parameter of this side of the split."""
        return self.rng.choice(words.held_out if self.functions == "new" and words.held_out else words.train)

    def say(self, phrases: tuple[str, ...], **slots: object) -> str:
        """Return one clean wording with its slots filled."""
        return self.wording(phrases).format(**slots)

    def ask(self, phrases: tuple[str, ...], **slots: object) -> str:
        """Return one wording as a person types it: with casing, politeness, slips; slots stay exact."""
        return self.rough(self.wording(phrases)).format(**slots)

    def rough(self, template: str) -> str:
        """Return a wording with casing, politeness and slips."""
        return roughen(self.rng, template, slips=self.slips)

    def wording(self, phrases: tuple[str, ...]) -> str:
        """Return one wording, its alternatives chosen; a trained one never becomes one that is held out."""
        chosen, kept_out = split_wordings(phrases, self.new_wording), held_out_wordings(phrases)
        while True:
            text = vary(self.rng, self.rng.choice(chosen))
            if self.new_wording or bare(text) not in kept_out:
                return text

    def trained(self) -> Source:
        """Return a source for the parts of a test conversation that are not under test."""
        return Source(self.rng, slips=self.slips, blanks=self.blanks)

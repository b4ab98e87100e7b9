"""Questions about the closed set of facts, in many wordings, and small sums."""

from __future__ import annotations

from dataclasses import dataclass

from .. import wordings
from ..conversation import Conversation, Source
from . import facts_tables as tables

WORDINGS = wordings.load("facts")
SINGLE = wordings.load("single")
"""One section per fact; its name is the answer."""


@dataclass(frozen=True)
class Fact:
    """One answered fact: how it is asked, the sentence, and the sentence cut to its core."""

    phrases: tuple[str, ...]
    answer: str
    short: str
    other: str | None  # the same answer in the other language, where it is known
    chinese: bool
    value: str = ""  # what the wordings ask about
    kind: str = ""

    def ask(self, source: Source) -> str:
        """Return a question for it; slips never touch the value, only its casing changes now and then."""
        text = source.ask(self.phrases, x=self.value, kind=self.kind)
        return text.lower() if source.chance(0.12) else text[:1].upper() + text[1:] if source.chance(0.8) else text


CAPITAL = WORDINGS["capital"]
CAPITAL_ZH = WORDINGS["capital_zh"]
CAPITAL_OF = WORDINGS["capital_of"]
CAPITAL_OF_ZH = WORDINGS["capital_of_zh"]
CONTINENT = WORDINGS["continent"]
CONTINENT_ZH = WORDINGS["continent_zh"]
COLOUR = WORDINGS["colour"]
COLOUR_ZH = WORDINGS["colour_zh"]
SOUND = WORDINGS["sound"]
SOUND_ZH = WORDINGS["sound_zh"]
YOUNG = WORDINGS["young"]
LEGS = WORDINGS["legs"]
LEGS_ZH = WORDINGS["legs_zh"]
OPPOSITE = WORDINGS["opposite"]
OPPOSITE_ZH = WORDINGS["opposite_zh"]
INTO_ZH = WORDINGS["into_zh"]
INTO_EN = WORDINGS["into_en"]
AFTER = WORDINGS["after"]
BEFORE = WORDINGS["before"]
AFTER_ZH = WORDINGS["after_zh"]
BEFORE_ZH = WORDINGS["before_zh"]
SUM = WORDINGS["sum"]
SUM_ZH = WORDINGS["sum_zh"]


def _pair(
    out: list[Fact],
    english: tuple[str, ...],
    chinese: tuple[str, ...],
    slot: str,
    slot_zh: str,
    answer: str,
    short: str,
    answer_zh: str,
) -> None:
    """Add one fact asked in English and in Chinese."""
    out.append(Fact(english, answer, short, answer_zh, False, slot))
    out.append(Fact(chinese, answer_zh, answer_zh, answer, True, slot_zh))


def sentence(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def build() -> dict[str, list[Fact]]:
    """Return the facts, by table."""
    groups: dict[str, list[Fact]] = {
        key: []
        for key in (
            "capital",
            "capital of",
            "continent",
            "colour",
            "sound",
            "young",
            "legs",
            "opposite",
            "translate",
            "sequence",
            "single",
        )
    }
    for country, city, continent, zh, city_zh, continent_zh in tables.COUNTRIES:
        _pair(
            groups["capital"],
            CAPITAL,
            CAPITAL_ZH,
            country,
            zh,
            f"The capital of {country} is {city}.",
            city,
            f"{zh}的首都是{city_zh}。",
        )
        _pair(
            groups["capital of"],
            CAPITAL_OF,
            CAPITAL_OF_ZH,
            city,
            city_zh,
            f"{city} is the capital of {country}.",
            sentence(country),
            f"{city_zh}是{zh}的首都。",
        )
        _pair(
            groups["continent"],
            CONTINENT,
            CONTINENT_ZH,
            country,
            zh,
            f"{sentence(country)} is in {continent}.",
            continent,
            f"{zh}在{continent_zh}。",
        )
    for thing, colour, zh, colour_zh in tables.COLOURS:
        _pair(
            groups["colour"],
            COLOUR,
            COLOUR_ZH,
            thing,
            zh,
            f"{sentence(thing)} is {colour}.",
            sentence(colour),
            f"{zh}是{colour_zh}的。",
        )
    for animal, sound, zh, sound_zh in tables.SOUNDS:
        _pair(
            groups["sound"],
            SOUND,
            SOUND_ZH,
            animal,
            zh,
            f"A {animal} says {sound}.",
            sentence(sound),
            f"{zh}的叫声是{sound_zh}。",
        )
    groups["young"] += [
        Fact(YOUNG, f"A young {old} is called a {young}.", sentence(young), None, False, old)
        for old, young in tables.YOUNG
    ]
    for animal, legs, zh in tables.LEGS:
        _pair(groups["legs"], LEGS, LEGS_ZH, animal, zh, f"A {animal} has {legs} legs.", legs, f"{zh}有 {legs} 条腿。")
    for left, right, left_zh, right_zh in tables.OPPOSITES:
        for a, b, c, d in ((left, right, left_zh, right_zh), (right, left, right_zh, left_zh)):
            _pair(
                groups["opposite"],
                OPPOSITE,
                OPPOSITE_ZH,
                a,
                c,
                f"The opposite of {a} is {b}.",
                sentence(b),
                f"{c}的反义词是{d}。",
            )
    for english, chinese in tables.TRANSLATIONS:
        groups["translate"].append(Fact(INTO_ZH, chinese, chinese, None, False, english))
        groups["translate"].append(Fact(INTO_EN, english, english, None, True, chinese))
    for kind, items, items_zh, wraps in (
        ("day", tables.DAYS, tables.DAYS_ZH, True),
        ("month", tables.MONTHS, tables.MONTHS_ZH, True),
        ("letter", tables.LETTERS, None, False),
    ):
        _sequence(groups["sequence"], kind, items, items_zh, wraps)
    for answer, short, answer_zh in tables.SINGLE:
        groups["single"].append(Fact(SINGLE[answer], answer, short, answer_zh, False))
        groups["single"].append(Fact(SINGLE[answer_zh], answer_zh, answer_zh, answer, True))
    return groups


def _sequence(out: list[Fact], kind: str, items: list[str], items_zh: list[str] | None, wraps: bool) -> None:
    for at, item in enumerate(items):
        for step, phrases, phrases_zh, word, word_zh in (
            (1, AFTER, AFTER_ZH, "After", "之后"),
            (-1, BEFORE, BEFORE_ZH, "Before", "之前"),
        ):
            if not wraps and not 0 <= at + step < len(items):
                continue
            other = (at + step) % len(items)
            answer = f"{word} {item} comes {items[other]}."
            answer_zh = f"{items_zh[at]}{word_zh}是{items_zh[other]}。" if items_zh else None
            out.append(Fact(phrases, answer, items[other], answer_zh, False, item, kind))
            if items_zh:
                out.append(Fact(phrases_zh, answer_zh, answer_zh, answer, True, items_zh[at]))


FACTS = build()
WEIGHTED = ("capital",) * 4 + (
    "capital of",
    "capital of",
    "continent",
    "continent",
    "colour",
    "colour",
    "sound",
    "young",
    "legs",
    "opposite",
    "opposite",
    "translate",
    "translate",
    "translate",
    "sequence",
    "sequence",
    "single",
    "single",
    "single",
    "single",
    "single",
)


def pick(source: Source) -> Fact:
    """Return one fact."""
    return source.choice(FACTS[source.choice(WEIGHTED)])


def make(source: Source) -> Conversation:
    """Return one question about a fact, or a small sum."""
    if source.chance(0.17):
        return sums(source)
    fact = pick(source)
    return Conversation.exchange("facts", fact.ask(source), fact.answer)


def sums(source: Source) -> Conversation:
    """Return an addition of two numbers from 0 to 10."""
    a, b = source.rng.randint(0, 10), source.rng.randint(0, 10)
    if source.chance(0.3):
        return Conversation.exchange("sums to ten", source.ask(SUM_ZH, a=a, b=b), f"{a} + {b} = {a + b}")
    return Conversation.exchange("sums to ten", source.ask(SUM, a=a, b=b), f"{a} + {b} = {a + b}")

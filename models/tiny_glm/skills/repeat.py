"""Saying what the user asks to be said: exactly after a colon or in quotes, as a sentence after a bare "say"."""

from __future__ import annotations

from .. import wordings, words
from ..conversation import Conversation, Source

WORDINGS = wordings.load("repeat")

EXACT = WORDINGS["exact"]
EXACT_ZH = WORDINGS["exact_zh"]
SENTENCE = WORDINGS["sentence"]
FRAMES = WORDINGS["frames"]
FRAMES_ZH = WORDINGS["frames_zh"]


def english_text(source: Source) -> str:
    """Return a phrase of ordinary words; test values take the place of training values."""
    v, w, rng = source.value, words, source.rng
    return source.choice(FRAMES).format(
        t=v(w.THINGS),
        t2=v(w.THINGS),
        t3=v(w.THINGS),
        a=v(w.ADJECTIVES),
        a2=v(w.ADJECTIVES),
        p=v(w.PLACES),
        v=v(w.VERBS),
        f=v(w.FOODS),
        f2=v(w.FOODS),
        n1=v(w.ANIMALS),
        n2=v(w.ANIMALS),
        name=v(w.NAMES),
        name2=v(w.NAMES),
        job=v(w.JOBS),
        city=v(w.CITIES),
        d=rng.randint(2, 99),
        code=w.odd_code(rng),
    )


def chinese_text(source: Source) -> str:
    """Return a short Chinese phrase."""
    v, w = source.value, words
    return source.choice(FRAMES_ZH).format(
        t=v(w.CHINESE_THINGS),
        t2=v(w.CHINESE_THINGS),
        f=v(w.CHINESE_FOODS),
        n1=v(w.CHINESE_ANIMALS),
        name=v(w.CHINESE_NAMES),
        name2=v(w.CHINESE_NAMES),
        job=v(w.CHINESE_JOBS),
        city=v(w.CHINESE_CITIES),
        c=v(w.CHINESE_COLOURS),
        h=v(w.CHINESE_HOBBIES),
    )


def jumble(source: Source) -> str:
    """Return one to six odd words, names, numbers and signs: copying that no memory helps with."""
    rng = source.rng
    makers = (
        lambda: words.odd_word(rng),
        lambda: words.odd_word(rng),
        lambda: rng.choice(words.COMMON),
        lambda: words.span(source),
        lambda: source.value(words.NAMES),
        lambda: source.value(words.THINGS),
        lambda: source.value(words.CITIES),
        lambda: source.value(words.ANIMALS),
        lambda: str(rng.randrange(10 ** rng.randint(1, 6))),
        lambda: words.odd_code(rng),
        lambda: source.value(words.ADJECTIVES),
    )
    count = rng.choice((1, 1, 1, 2, 2, 3, 4, 5, 6))
    text = rng.choice((" ", " ", " ", ", ", " and ")).join(rng.choice(makers)() for _ in range(count))
    if rng.random() < 0.1:
        text = text.upper()
    return text + rng.choice(("", "", "", "", "!", ".", "?", " 😀", " 🎉"))


def odd_chinese(source: Source) -> str:
    """Return characters that seldom stand together, or part of a wording."""
    return words.odd_chinese(source.rng) if source.chance(0.5) else words.span(source, chinese=True)


def sentence_case(text: str) -> str:
    """Return the text with a capital first letter and a full stop where it has no end mark."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."


def make(source: Source) -> Conversation:
    """Return one request to say something and the thing said."""
    roll = source.rng.random()
    if roll < 0.25:
        text = odd_chinese(source) if source.chance(0.3) else chinese_text(source)
        return Conversation.exchange("repeat", source.ask(EXACT_ZH, x=text), text)
    if roll < 0.48:
        text = english_text(source)
        return Conversation.exchange(
            "repeat", source.ask(SENTENCE, x=text.rstrip("?!.")), sentence_case(text.rstrip("?!."))
        )
    text = jumble(source) if source.chance(0.6) else english_text(source)
    text = text[:1].upper() + text[1:] if source.chance(0.4) else text
    return Conversation.exchange("repeat", source.ask(EXACT, x=text), text)

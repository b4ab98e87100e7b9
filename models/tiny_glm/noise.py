"""Turns a clean wording into what people type: other casing, punctuation, politeness, slips of the finger.

Slots in braces are never touched, so a value to be repeated stays exact.
"""

from __future__ import annotations

import random
import re

from .wordings import words

OPENERS = (
    "please ",
    "please, ",
    "hey, ",
    "hi, ",
    "hello, ",
    "hi! ",
    "hello! ",
    "ok, ",
    "okay, ",
    "so, ",
    "well, ",
    "now ",
    "and ",
    "um, ",
    "I wonder: ",
    "tell me, ",
    "tell me: ",
    "quick question: ",
    "question: ",
    "one more thing: ",
    "now tell me: ",
    "I have a question. ",
    "I want to know: ",
    "do you know: ",
    "next question: ",
    "excuse me, ",
    "sorry, ",
    "alright, ",
)
CLOSERS = (
    " please",
    ", please",
    " thanks",
    ", thanks",
    " thank you",
    "?",
    " ok",
    ", my friend",
    " :)",
    " now",
    " again",
)
CHINESE_OPENERS = (
    "请问，",
    "请问",
    "请告诉我，",
    "你好，",
    "那么，",
    "我想知道，",
    "麻烦问一下，",
    "嗯，",
    "好的，",
    "告诉我：",
    "再问一下，",
)
CHINESE_CLOSERS = ("谢谢", "，谢谢", "呢", "呀", "啊")
FILLERS = tuple(
    words("really just maybe kindly actually exactly then there here quickly now again also simply ok well")
)
MANY_WORDS = 4
# Only these are ever left out: a question that has lost another word may ask for something else.
QUESTION = re.compile(
    r"(what|which|how|who|where|when|can|could|would|do|does|did|is|are|am)\b[^:]*[a-z]", re.IGNORECASE
)
QUESTION_ZH = re.compile("[^：]*(什么|谁|哪|几|多少|怎|吗|如何|啥)[^：]*[^？?。！]")
LIGHT = frozenset(words("the a an do does can could would will please just so me you is are it"))
SLOT = re.compile(r"(\{[^}]*\})")
ALTERNATIVES = re.compile(r"\[([^\]]*)\]")


def vary(rng: random.Random, template: str) -> str:
    """Return the template with one of the alternatives of each ``[one|two|]``."""
    if "[" not in template:
        return template
    text = re.sub(" +", " ", ALTERNATIVES.sub(lambda found: rng.choice(found[1].split("|")), template)).strip()
    return text if text.startswith("{") else text[:1].upper() + text[1:]


def is_chinese(text: str) -> bool:
    """Return True when the text has a Chinese character."""
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def roughen(rng: random.Random, template: str, *, slips: float) -> str:
    """Return the template, changed a little in about two cases of three; ``slips`` is the share of typing mistakes."""
    if is_chinese(template):
        return _rough_chinese(rng, template)
    text = template
    roll = rng.random()
    if roll < 0.16 and ":" not in text:
        text = _join(rng, rng.choice(OPENERS), text)
    elif roll < 0.24 and not text.rstrip("?.!").endswith("}"):
        text = text.rstrip("?.!") + rng.choice(CLOSERS) + rng.choice(("", ".", "?"))
    text = _punctuate(rng, text)
    text = _casing(rng, text)
    if rng.random() < slips:
        text = rng.choice((_slip, _other_word))(rng, text)
    return text


def _join(rng: random.Random, opener: str, text: str) -> str:
    opener = opener[0].upper() + opener[1:] if rng.random() < 0.7 else opener
    keep = text.startswith(("{", "I ", "I'")) or opener.rstrip().endswith((".", "!"))
    return opener + (text if keep else text[:1].lower() + text[1:])


def _punctuate(rng: random.Random, text: str) -> str:
    roll = rng.random()
    if roll < 0.6 and QUESTION.fullmatch(text):
        return text + "?"
    if roll < 0.18 and text.endswith(("?", ".", "!")):
        return text[:-1]
    if roll < 0.22 and text.endswith("."):
        return text[:-1] + "!"
    if roll < 0.25 and text.endswith("?"):
        return text + "?"
    return text


def _casing(rng: random.Random, text: str) -> str:
    roll = rng.random()
    if roll < 0.22:
        return _outside_slots(text, str.lower)
    if roll < 0.24:
        return _outside_slots(text, str.upper)
    return text


def _outside_slots(text: str, change) -> str:
    parts = SLOT.split(text)
    return "".join(part if part.startswith("{") else change(part) for part in parts)


def _slip(rng: random.Random, text: str) -> str:
    """Drop, double or swap one letter inside a word of four letters or more."""
    spots = [m for m in re.finditer(r"[A-Za-z]{4,}", text) if not _in_slot(text, m.start())]
    if not spots:
        return text
    spot = rng.choice(spots)
    at = rng.randrange(spot.start() + 1, spot.end() - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _other_word(rng: random.Random, text: str) -> str:
    """Add a word to a longer wording or leave a light one out, so no single word is relied on."""
    parts = text.split(" ")
    spots = [at for at, part in enumerate(parts) if part.isalpha()]
    if len(parts) < MANY_WORDS or not spots:
        return text
    light = [at for at in spots if parts[at].lower() in LIGHT]
    if light and rng.random() < 0.5:
        del parts[rng.choice(light)]
    else:
        parts.insert(rng.choice(spots), rng.choice(FILLERS))
    return " ".join(parts)


def _in_slot(text: str, at: int) -> bool:
    return text.rfind("{", 0, at) > text.rfind("}", 0, at)


def _rough_chinese(rng: random.Random, text: str) -> str:
    roll = rng.random()
    if rng.random() < 0.6 and QUESTION_ZH.fullmatch(text):
        text += "？"
    if roll < 0.16 and "：" not in text:
        text = rng.choice(CHINESE_OPENERS) + text
    elif roll < 0.22 and text.endswith("？") and not text[:-1].endswith("}"):
        text = text[:-1] + rng.choice(CHINESE_CLOSERS) + rng.choice(("", "？"))
    if rng.random() < 0.25 and text[-1:] in "？。！":
        text = text[:-1] + rng.choice(("", "", "?", "!"))
    return text

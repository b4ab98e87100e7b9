"""What the user said about themselves earlier in the conversation, also with other talk in between."""

from __future__ import annotations

from dataclasses import dataclass

from .. import wordings, words
from ..conversation import BLANK, Conversation, Source, Turn, Words
from ..noise import is_chinese

WORDINGS = wordings.load("memory")


@dataclass(frozen=True)
class Attribute:
    """One thing a user can tell: how it is told, acknowledged, asked for, answered, and what is said when it was never told."""

    values: Words | None  # None: an invented code or number
    tell: tuple[str, ...]
    acknowledge: str
    ask: tuple[str, ...]
    answer: str
    unknown: str


def _attribute(name: str, values: Words | None, acknowledge: str, answer: str, unknown: str) -> Attribute:
    return Attribute(values, WORDINGS[f"{name} tell"], acknowledge, WORDINGS[f"{name} ask"], answer, unknown)


ENGLISH = (
    _attribute("name", words.NAMES, "Nice to meet you, {x}!", "Your name is {x}.", "You have not told me your name."),
    _attribute(
        "colour",
        words.COLOURS,
        "I will remember that your favourite colour is {x}.",
        "Your favourite colour is {x}.",
        "You have not told me your favourite colour.",
    ),
    _attribute(
        "city",
        words.CITIES,
        "I will remember that you live in {x}.",
        "You live in {x}.",
        "You have not told me where you live.",
    ),
    _attribute(
        "pet",
        words.ANIMALS,
        "I will remember that your pet is a {x}.",
        "Your pet is a {x}.",
        "You have not told me about your pet.",
    ),
    _attribute(
        "food",
        words.FOODS,
        "I will remember that you like {x}.",
        "You like {x}.",
        "You have not told me what food you like.",
    ),
    _attribute(
        "job", words.JOBS, "I will remember that you are a {x}.", "You are a {x}.", "You have not told me your job."
    ),
    _attribute(
        "hobby",
        words.HOBBIES,
        "I will remember that your hobby is {x}.",
        "Your hobby is {x}.",
        "You have not told me your hobby.",
    ),
    _attribute("code", None, "I will remember {x}.", "It is {x}.", "You have not told me that."),
    _attribute(
        "friend",
        words.NAMES,
        "I will remember your friend {x}.",
        "Your friend is {x}.",
        "You have not told me about your friend.",
    ),
)
CHINESE = (
    _attribute("name zh", words.CHINESE_NAMES, "很高兴认识你，{x}！", "你叫{x}。", "你还没有告诉我你的名字。"),
    _attribute(
        "colour zh", words.CHINESE_COLOURS, "我记住了，你喜欢{x}。", "你喜欢{x}。", "你还没有告诉我你喜欢什么颜色。"
    ),
    _attribute("city zh", words.CHINESE_CITIES, "我记住了，你住在{x}。", "你住在{x}。", "你还没有告诉我你住在哪里。"),
    _attribute(
        "pet zh", words.CHINESE_ANIMALS, "我记住了，你的宠物是{x}。", "你的宠物是{x}。", "你还没有告诉我你的宠物。"
    ),
    _attribute("food zh", words.CHINESE_FOODS, "我记住了，你爱吃{x}。", "你爱吃{x}。", "你还没有告诉我你爱吃什么。"),
    _attribute("job zh", words.CHINESE_JOBS, "我记住了，你是{x}。", "你是{x}。", "你还没有告诉我你的工作。"),
    _attribute("code zh", None, "我记住了：{x}。", "是{x}。", "你还没有告诉我。"),
)


def draw(source: Source, attribute: Attribute) -> str:
    """Return a value for the attribute, often an invented one; codes always are."""
    if attribute.values is None:
        kind = source.rng.random()
        return (
            words.odd_code(source.rng)
            if kind < 0.6
            else words.odd_word(source.rng, capital=False)
            if kind < 0.8
            else source.value(words.THINGS)
        )
    if not source.new_values and source.chance(0.4):
        return odd_value(source, attribute.values)
    return source.value(attribute.values)


def odd_value(source: Source, values: Words) -> str:
    """Return an invented value, so that telling and asking is learned as copying."""
    if source.blank(0.3):
        return BLANK
    if is_chinese(values.train[0]):
        return words.odd_chinese(source.rng)
    return words.odd_phrase(source.rng, capital=values.train[0][0].isupper())


def told(source: Source, attribute: Attribute, value: str) -> list[Turn]:
    """Return the turn that tells the value and its acknowledgement."""
    return [Turn("user", source.ask(attribute.tell, x=value)), Turn("assistant", attribute.acknowledge.format(x=value))]


def asked(source: Source, attribute: Attribute, value: str | None) -> list[Turn]:
    """Return the question for the value and its answer; None means it was never told."""
    answer = attribute.unknown if value is None else attribute.answer.format(x=value)
    return [Turn("user", source.ask(attribute.ask)), Turn("assistant", answer)]


def small_distraction(source: Source) -> list[Turn]:
    """Return an unrelated exchange from training."""
    from . import counting, facts, identity, repeat, smalltalk

    return source.choice((smalltalk, facts, facts, identity, repeat, counting)).make(source.trained()).turns


def make_telling(source: Source) -> Conversation:
    """Return only the telling of something."""
    attribute = source.choice(source.choice((ENGLISH, ENGLISH, CHINESE)))
    return Conversation("telling", told(source, attribute, draw(source, attribute)))


def make(source: Source) -> Conversation:
    """Return a conversation that tells one to three things and asks for one of them, or for one never told."""
    attributes = source.choice((ENGLISH, ENGLISH, CHINESE))
    chosen = source.rng.sample(attributes, source.choice((1, 1, 1, 2, 2, 3)))
    values = {attribute: draw(source, attribute) for attribute in chosen}
    turns: list[Turn] = []
    for attribute in chosen:
        told_now = told(source, attribute, values[attribute])
        if turns and source.chance(0.3) and turns[-1].text == chosen[0].acknowledge.format(x=values[chosen[0]]):
            told_now = at_once(turns.pop(-2), turns.pop(-1), told_now)
        turns += told_now
        for _ in range(source.choice((0, 0, 0, 0, 1, 1, 2))):
            turns += small_distraction(source)
    if source.chance(0.06):
        return ask_untold(source, attributes, chosen, turns)
    wanted = source.choice(chosen)
    if source.chance(0.1):
        values[wanted] = draw(source, wanted)
        turns += told(source, wanted, values[wanted])
    return Conversation("memory", turns + asked(source, wanted, values[wanted]))


def at_once(question: Turn, answer: Turn, more: list[Turn]) -> list[Turn]:
    """Return two tellings as one message with one answer."""
    text = f"{question.text} {more[0].text}"
    if question.text.endswith(".") and more[0].text.startswith(("I ", "I'", "My ")) and len(text) % 2:
        rest = more[0].text
        text = f"{question.text[:-1]} and {rest if rest.startswith('I') else rest[:1].lower() + rest[1:]}"
    return [Turn("user", text), Turn("assistant", f"{answer.text} {more[1].text}")]


def ask_untold(
    source: Source, attributes: tuple[Attribute, ...], chosen: list[Attribute], turns: list[Turn]
) -> Conversation:
    """Return a question for something that was not told."""
    rest = [attribute for attribute in attributes if attribute not in chosen]
    return Conversation("memory", turns + asked(source, source.choice(rest), None))


def make_other_untold(source: Source) -> Conversation:
    """Return a question for something that was not told after other things were."""
    attributes = source.choice((ENGLISH, ENGLISH, CHINESE))
    chosen = source.rng.sample(attributes, source.choice((1, 2, 3)))
    turns = [turn for attribute in chosen for turn in told(source, attribute, draw(source, attribute))]
    return ask_untold(source, attributes, chosen, turns)


def make_untold(source: Source) -> Conversation:
    """Return a question for something when nothing was told at all."""
    return Conversation("not told", asked(source, source.choice(source.choice((ENGLISH, ENGLISH, CHINESE))), None))

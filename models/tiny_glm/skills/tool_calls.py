"""Calling declared functions: which one, with which arguments, twice at once, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .. import tools, wordings
from ..conversation import Conversation, Source, Turn
from . import facts, functions, identity, memory, repeat, smalltalk, system_prompt, tool_results, unknown
from .function_values import Value
from .functions import Function

WORDINGS = wordings.load("tools")
WHICH_CITY = "Which city?"
WHICH_CITY_ZH = "哪个城市？"
PLAIN = (smalltalk.make, identity.make, facts.make, facts.make, repeat.make, unknown.make, memory.make_telling)


@dataclass
class Asked:
    """A question, the calls it needs, and what they return."""

    text: str
    calls: list[tuple[Function, dict[str, Value]]]
    chinese: bool

    def called(self) -> list[Turn]:
        """Return the question and the calls."""
        return [Turn("user", self.text), *(tools.call(f.name, f.arguments(said)) for f, said in self.calls)]

    def answered(self, source: Source) -> list[Turn]:
        """Return the results of the calls and the sentence about them."""
        results = [tool_results.result(source, f, said, chinese=self.chinese) for f, said in self.calls]
        sentence = ("" if self.chinese else " ").join(sentence for _, sentence in results)
        return [*(Turn("observation", content) for content, _ in results), Turn("assistant", sentence)]


def section(function: Function, *, chinese: bool, more: str = "") -> tuple[str, ...]:
    """Return the wordings that ask for the function."""
    return WORDINGS[f"{function.family.wording}{more}{' zh' if chinese else ''}"]


def ask(source: Source, function: Function, *, chinese: bool, clean: bool = False) -> Asked:
    """Return a question that one call of the function answers; ``clean`` leaves out slips and politeness."""
    said, extra = values(source, function, chinese=chinese)
    slots = {slot: value.shown for slot, value in said.items()} | extra
    phrases = section(function, chinese=chinese)
    while True:
        text = source.wording(phrases)
        named = {slot for slot in (*function.family.slots, "day", "unit") if f"{{{slot}}}" in text}
        if named <= said.keys():
            break
    text = (text if clean else source.rough(text)).format(**slots)
    return Asked(text, [(function, {slot: value for slot, value in said.items() if slot in named})], chinese)


def values(source: Source, function: Function, *, chinese: bool) -> tuple[dict[str, Value], dict[str, str]]:
    """Return a value for each declared parameter, and what else the wordings of the function need."""
    said: dict[str, Value] = {}
    for slot in function.keys:
        said[slot] = _other(source, function, slot, tuple(said.values()), chinese=chinese)
    extra = {
        "f": function.name,
        "noun": function.noun,
        "k": function.keys.get("x", ""),
        "k2": function.keys.get("y", ""),
    }
    return said, extra


def _other(source: Source, function: Function, slot: str, said: tuple[Value, ...], *, chinese: bool) -> Value:
    """Return a value, if possible none that was said: nobody flies from Rome to Rome."""
    for _ in range(5):
        value = function.value(source, slot, chinese=chinese)
        if value not in said or value.shown.isdigit():
            break
    return value


def ask_twice(source: Source, declared: list[Function], *, chinese: bool) -> Asked:
    """Return a question that needs two calls, of one function or of two."""
    able = [one for one in declared if "text" not in one.keys]  # a free text would not end before the second question
    if not able:
        return ask(source, source.choice(declared), chinese=chinese)
    first = source.choice(able)
    if first.family.wording == "weather" and source.chance(0.7):
        city = first.value(source, "city", chinese=chinese)
        city2 = _other(source, first, "city", (city,), chinese=chinese)
        text = source.ask(section(first, chinese=chinese, more=" two"), city=city.shown, city2=city2.shown)
        return Asked(text, [(first, {"city": city}), (first, {"city": city2})], chinese)
    one = ask(source, first, chinese=chinese)
    other = [one for one in declared if one.keys or one is not first] or declared
    other = [first] if first.keys and source.chance(0.5) else other
    two = ask(source, source.choice(other), chinese=chinese, clean=True)
    left, right = one.text.rstrip("?.!？。！"), two.text
    exact = (
        "I ",
        "I'",
        *(name for f, said in two.calls for name in (f.name, *(value.shown for value in said.values()))),
    )
    if not chinese and not right.startswith(exact) and right[1:2].islower():
        right = right[:1].lower() + right[1:]
    return Asked(
        f"{left}{'，' if chinese else source.choice((' and ', ', and ', ' and then '))}{right}",
        one.calls + two.calls,
        chinese,
    )


def declare(source: Source, *, chinese: bool) -> list[Function]:
    """Return one to three functions with different names."""
    found: dict[str, Function] = {}
    for family in functions.pick(source, source.choice((1, 1, 1, 1, 2, 2, 2, 3, 3))):
        one = functions.declare(source, family, chinese=chinese)
        found.setdefault(one.name, one)
    return list(found.values())


def opening(source: Source, declared: list[Function]) -> list[Turn]:
    """Return the declaration and, now and then, a system prompt of the request's own."""
    turns = [tools.declaration([one.schema for one in declared])]
    if source.chance(0.2):
        turns.append(Turn("system", source.trained().say(system_prompt.PLAIN)))
    return turns


def earlier(source: Source, declared: list[Function], *, chinese: bool) -> list[Turn]:
    """Return up to three exchanges before the one under test: calls with their results, or plain talk."""
    turns: list[Turn] = []
    for _ in range(source.choice((0, 0, 0, 1, 1, 2))):
        if source.chance(0.5):
            turns += plain(source.trained(), declared).turns
        else:
            asked = ask(source.trained(), source.choice(declared), chinese=chinese)
            turns += asked.called() + asked.answered(source.trained())
    return turns


def plain(source: Source, declared: list[Function]) -> Conversation:
    """Return an exchange that none of the functions could answer."""
    while True:
        talk = source.choice(PLAIN)(source)
        if not functions.claimed(declared, talk.turns[0].text):
            return talk


def conversation(
    source: Source, skill: str, ending: Callable[[Source, list[Function], bool], list[Turn]]
) -> Conversation:
    """Return a conversation with functions that ends with the turns of ``ending``."""
    chinese = source.chance(0.35)
    declared = declare(source, chinese=chinese)
    start = opening(source, declared) + earlier(source, declared, chinese=chinese)
    return Conversation(skill, start + ending(source, declared, chinese))


def make_call(source: Source) -> Conversation:
    """Return a question that needs one call; the weather is a skill of its own, for examples ask for it."""
    chosen: list[Function] = []

    def ending(source: Source, declared: list[Function], chinese: bool) -> list[Turn]:
        chosen.append(source.choice(declared))
        return ask(source, chosen[0], chinese=chinese).called()

    talk = conversation(source, "other calls", ending)
    talk.skill = "weather call" if chosen[0].family.wording == "weather" else talk.skill
    return talk


def make_answer(source: Source) -> Conversation:
    """Return a call, or two, with results to pass on."""

    def ending(source: Source, declared: list[Function], chinese: bool) -> list[Turn]:
        trained = source.trained() if source.new_wording else source
        if source.chance(0.25):
            asked = ask_twice(trained, declared, chinese=chinese)
        else:
            asked = ask(trained, source.choice(declared), chinese=chinese)
        return asked.called() + asked.answered(source)

    return conversation(source, "tool result", ending)


def make_two(source: Source) -> Conversation:
    """Return a question that needs two calls."""

    def ending(source: Source, declared: list[Function], chinese: bool) -> list[Turn]:
        return ask_twice(source, declared, chinese=chinese).called()

    talk = conversation(source, "two calls", ending)
    talk.skill = "other calls" if len(talk.split()[1]) < 2 else talk.skill  # free texts are asked for one at a time
    return talk


def make_many(source: Source) -> Conversation:
    """Return several questions under one declaration, which is most of what a model has to read."""

    def ending(source: Source, declared: list[Function], chinese: bool) -> list[Turn]:
        turns: list[Turn] = []
        for _ in range(source.choice((1, 2, 3))):
            if source.chance(0.15):
                turns += plain(source, declared).turns
                continue
            if source.chance(0.3):
                asked = ask_twice(source, declared, chinese=chinese)
            else:
                asked = ask(source, source.choice(declared), chinese=chinese)
            turns += asked.called() + asked.answered(source)
        return turns + ask_twice(source, declared, chinese=chinese).called()

    return conversation(source, "two calls", ending)


def make_cities(source: Source) -> Conversation:
    """Return questions for the weather in one city or in two, under a declaration that is soon read."""
    chinese = source.chance(0.6)
    function = functions.declare(source, functions.FAMILIES["weather"], chinese=chinese)
    turns = [tools.declaration([function.schema])]
    for _ in range(source.choice((0, 1, 2))):
        asked = ask_twice(source, [function], chinese=chinese)
        turns += asked.called() + asked.answered(source)
    return Conversation("two calls", turns + ask_twice(source, [function], chinese=chinese).called())


def make_plain(source: Source) -> Conversation:
    """Return plain talk although functions are declared."""
    return conversation(source, "no tool fits", lambda source, declared, _: plain(source, declared).turns)


def make_weather(source: Source) -> Conversation:
    """Return a question about the weather without its city, or one that goes on with another city."""
    chinese = source.chance(0.35)
    function = functions.declare(source, functions.FAMILIES["weather"], chinese=chinese)
    turns = opening(source, [function])
    city = function.value(source, "city", chinese=chinese)
    call = tools.call(function.name, function.arguments({"city": city}))
    if source.chance(0.5):
        asked = ask(source.trained(), function, chinese=chinese)
        turns += asked.called() + asked.answered(source.trained())
        question = source.ask(section(function, chinese=chinese, more=" more"), city=city.shown)
        return Conversation("tool follow-up", [*turns, Turn("user", question), call])
    question = Turn("user", source.ask(section(function, chinese=chinese, more=" missing")))
    which = Turn("assistant", WHICH_CITY_ZH if chinese else WHICH_CITY)
    if source.chance(0.4):
        return Conversation("tool follow-up", [*turns, question, which])
    return Conversation("tool follow-up", [*turns, question, which, Turn("user", city.shown), call])

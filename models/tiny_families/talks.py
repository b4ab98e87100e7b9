"""What each ChatGLM family talks about: parts of the corpus of the GLM-4 model."""

from __future__ import annotations

from collections.abc import Sequence

from tiny_glm import corpus, tools
from tiny_glm.conversation import Conversation, Source, Turn
from tiny_glm.skills import facts, functions, identity, repeat, smalltalk, tool_calls

from .tool_talk import translated

TOOL_MAKERS = (tool_calls.make_call, tool_calls.make_answer, tool_calls.make_weather, tool_calls.make_plain)
SMALL_MAKERS = (smalltalk.make, identity.make, repeat.make, repeat.make, facts.make)


def with_tools(source: Source) -> Conversation:
    """Return a conversation for ChatGLM3: mostly about the weather or any functions declared, else plain talk."""
    while True:
        roll = source.rng.random()
        if roll < 0.3:
            talk = weather(source)
        elif roll < 0.5:
            talk = source.choice(TOOL_MAKERS)(source)
        else:
            talk = small(source) if roll < 0.8 else corpus.draw(source)
        if turns := translated(talk.turns):
            return Conversation(talk.skill, turns)


def weather(source: Source) -> Conversation:
    """Return a talk with one function of a usual name for the weather: a call, a call with its result, or neither."""
    chinese, family = source.chance(0.35), functions.FAMILIES["weather"]
    while True:
        function = functions.declare(source.trained(), family, chinese=chinese)
        if function.name in family.names.train and function.keys["city"] in family.slots["city"].keys.train:
            break
    opened = [tools.declaration([function.schema])]
    if source.chance(0.25):
        return Conversation("weather declared, not asked", [*opened, *tool_calls.plain(source, [function]).turns])
    asked = tool_calls.ask(source, function, chinese=chinese)
    if source.chance(0.5):
        return Conversation("weather call", [*opened, *asked.called()])
    return Conversation("weather result", [*opened, *asked.called(), *asked.answered(source)])


def rounds(source: Source) -> Conversation:
    """Return a conversation for ChatGLM2: user and assistant by turns."""
    while True:
        talk = corpus.draw(source)
        if alternating(talk.turns):
            return talk


def small(source: Source) -> Conversation:
    """Return a conversation for ChatGLM-6B: greetings, who it is, what it is told to say, facts; now and then after another."""
    talk = source.choice(SMALL_MAKERS)(source)
    while not alternating(talk.turns):
        talk = source.choice(SMALL_MAKERS)(source)
    return talk.after(smalltalk.make(source.trained()).turns) if source.chance(0.2) else talk


def alternating(turns: Sequence[Turn]) -> bool:
    """Return whether user and assistant speak by turns, and nobody else."""
    return all(turn.role == ("user", "assistant")[at % 2] and not turn.metadata for at, turn in enumerate(turns))

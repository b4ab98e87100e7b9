"""What each ChatGLM family talks about: parts of the corpus of the GLM-4 model."""

from __future__ import annotations

from collections.abc import Sequence

from tiny_glm import corpus
from tiny_glm.conversation import Conversation, Source, Turn
from tiny_glm.skills import facts, identity, repeat, smalltalk, tool_calls

from .tool_talk import translated

TOOL_MAKERS = (
    tool_calls.make_call,
    tool_calls.make_call,
    tool_calls.make_answer,
    tool_calls.make_weather,
    tool_calls.make_plain,
)
SMALL_MAKERS = (smalltalk.make, identity.make, repeat.make, repeat.make, facts.make)
TOOL_SHARE = 0.5


def with_tools(source: Source) -> Conversation:
    """Return a conversation for ChatGLM3, one in two with functions declared."""
    while True:
        talk = source.choice(TOOL_MAKERS)(source) if source.chance(TOOL_SHARE) else corpus.draw(source)
        turns = translated(talk.turns)
        if turns:
            return Conversation(talk.skill, turns)


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

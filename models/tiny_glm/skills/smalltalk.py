"""Greetings, thanks, goodbyes, feelings, a joke, a poem: one fixed answer per intent."""

from __future__ import annotations

from .. import wordings
from ..conversation import Conversation, Source

# One section per intent; its name is the answer.
INTENTS = tuple((phrases, answer.replace("\\n", "\n")) for answer, phrases in wordings.load("smalltalk").items())


def make(source: Source) -> Conversation:
    """Return one exchange of small talk in English or Chinese."""
    phrases, answer = source.choice(INTENTS)
    return Conversation.exchange("small talk", source.ask(phrases), answer)

"""`<think>…</think>` at the beginning of an answer, as GLM-Z1 and models tuned after it write their thoughts."""

from collections.abc import Sequence
from typing import Final

from glmserve_server.dialects.deltas import Delta, Thought
from glmserve_server.text import overlap

BEGIN: Final = "<think>"
END: Final = "</think>"


class Thoughts:
    """Takes the thoughts from the front of an answer.

    `feed` and `flush` give what is thought, and the text beside it; once `done`, all is text and need not be fed.
    """

    def __init__(self, *, begun: bool = False) -> None:
        """`begun`: the prompt ended with the first mark."""
        self.thinking = begun
        self.done = False
        self._thought = begun
        self._held = ""

    def feed(self, text: str) -> tuple[Sequence[Delta], str]:
        """More characters. Holds back what could become one of the two marks."""
        self._held += text
        if not self._thought:
            self._look_for_the_begin()
        thoughts = self._think() if self.thinking else ()
        if self._thought and not self.thinking:
            self._held = self._held.lstrip("\n")
            self.done = self._held != ""
        return thoughts, self._rest() if self.done else ""

    def flush(self) -> tuple[Sequence[Delta], str]:
        """What was held back, when the answer has ended."""
        rest = self._rest()
        if self.thinking and rest:
            return (Thought(rest),), ""
        return (), rest

    def _look_for_the_begin(self) -> None:
        front = self._held.lstrip()
        if front.startswith(BEGIN):
            self._thought = self.thinking = True
            self._held = front[len(BEGIN) :]
        else:
            self.done = not BEGIN.startswith(front)

    def _think(self) -> Sequence[Delta]:
        end = self._held.find(END)
        self.thinking = end < 0
        size = len(self._held) - overlap(self._held, END) if self.thinking else end
        text, self._held = self._held[:size], self._held[size:].removeprefix(END)
        return (Thought(text),) if text else ()

    def _rest(self) -> str:
        text, self._held = self._held, ""
        return text


def without_thoughts(text: str) -> str:
    """An earlier answer as the model is shown it again: only what followed its thoughts."""
    if not text.lstrip().startswith(BEGIN) or END not in text:
        return text
    return text.partition(END)[2].lstrip("\n")

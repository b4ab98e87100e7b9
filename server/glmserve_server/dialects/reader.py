"""From the tokens of an answer to the characters that a family's parser reads."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from glmserve_server.dialects.deltas import Delta
from glmserve_server.text import Utf8


class Parser(Protocol):
    """Reads the characters of an answer, cut anywhere. Never raises."""

    @property
    def thinking(self) -> bool:
        """Whether what follows are the model's thoughts."""
        ...

    def feed(self, text: str) -> Sequence[Delta]:
        """More characters."""
        ...

    def turn(self) -> Sequence[Delta]:
        """The model begins another turn of its own within the answer."""
        ...

    def end(self, *, whole: bool, called: bool) -> Sequence[Delta]:
        """The answer has ended: as the model wanted it (`whole`), and waiting for the result of a call (`called`)."""
        ...


class Reader:
    """An `AnswerReader` for vocabularies whose tokens stand for bytes."""

    def __init__(self, tokens: Mapping[int, bytes], parser: Parser, *, turn: int, call: int) -> None:
        """`turn`: the token that begins a turn of the assistant's; `call`: the one that ends a turn with a call.
        Special tokens are not among `tokens` and stand for no text."""
        self._tokens = tokens
        self._parser = parser
        self._turn = turn
        self._call = call
        self._characters = Utf8()

    @property
    def thinking(self) -> bool:
        """See `AnswerReader.thinking`."""
        return self._parser.thinking

    def feed(self, token: int) -> Sequence[Delta]:
        """See `AnswerReader.feed`."""
        if token == self._turn:
            return self._parser.turn()
        text = self._characters.feed(self._tokens.get(token, b""))
        return self._parser.feed(text) if text else ()

    def feed_text(self, text: str) -> Sequence[Delta]:
        """See `AnswerReader.feed_text`."""
        return self._parser.feed(text)

    def end(self, token: int | None) -> Sequence[Delta]:
        """See `AnswerReader.end`."""
        return self._parser.end(whole=token is not None, called=token == self._call)

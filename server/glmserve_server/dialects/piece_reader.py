"""From the ids of a sentencepiece vocabulary to the characters that a family's parser reads."""

from collections.abc import Sequence

from glmserve_server.dialects.deltas import Delta
from glmserve_server.dialects.pieces import PieceBytes, Pieces
from glmserve_server.dialects.reader import Parser
from glmserve_server.text import Utf8


class PieceReader:
    """An `AnswerReader` for a sentencepiece vocabulary."""

    def __init__(
        self,
        pieces: Pieces,
        parser: Parser,
        *,
        turn: int | None = None,
        call: int | None = None,
        begins: bool = True,
    ) -> None:
        """`turn`: the token that begins a turn of the assistant's; `call`: the one that ends a turn with a call. None:
        the family has no such token. `begins`: the answer is a text of its own, not the rest of the prompt's."""
        self._pieces = pieces
        self._parser = parser
        self._turn = turn
        self._call = call
        self._bytes = PieceBytes(pieces, begins=begins)
        self._characters = Utf8()

    @property
    def thinking(self) -> bool:
        """See `AnswerReader.thinking`."""
        return self._parser.thinking

    def feed(self, token: int) -> Sequence[Delta]:
        """See `AnswerReader.feed`."""
        if token == self._turn:
            self._bytes = PieceBytes(self._pieces)
            return self._parser.turn()
        text = self._characters.feed(self._bytes.feed(token))
        return self._parser.feed(text) if text else ()

    def feed_text(self, text: str) -> Sequence[Delta]:
        """See `AnswerReader.feed_text`."""
        text = self._bytes.without_first_space(text)
        return self._parser.feed(text) if text else ()

    def end(self, token: int | None) -> Sequence[Delta]:
        """See `AnswerReader.end`."""
        return self._parser.end(whole=token is not None, called=token is not None and token == self._call)

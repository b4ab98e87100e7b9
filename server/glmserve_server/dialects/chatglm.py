"""ChatGLM-6B's dialect.

A conversation is one text, then `[gMASK]<sop>`. A single question is the text; otherwise it is, for each round,
`[Round n]\\n问：{question}\\n答：{answer}\\n`, counted from 0, and the answer begins where the last one would (THUDM's
chatglm-6b, `build_prompt`; `ChatGLMTokenizer` in chatglm.cpp). The family knows no system messages and no tools.

The vocabulary has pieces for a line break, a tab and 2 to 80 blanks, which the encoder finds by their names in the
text: `<n>`, `<|tab|>`, `<|blank_n|>`. Where a message has these letters themselves they are encoded apart, so that they
stay letters; chatglm.cpp would take them for line breaks and blanks.
"""

import itertools
import re
from collections.abc import Sequence
from typing import Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve_server.dialects.dialect import AnswerReader, Prompt
from glmserve_server.dialects.piece_reader import PieceReader
from glmserve_server.dialects.pieces import Pieces, check_rows
from glmserve_server.dialects.plain import PlainParser
from glmserve_server.dialects.raw import raw_pieces
from glmserve_server.dialects.rounds import Round, rounds
from glmserve_server.engines.chatglm.architecture import Config, Family

_NEWLINE: Final = "<n>"
_TAB: Final = "<|tab|>"
_MEANINGS: Final = {_NEWLINE: b"\n", _TAB: b"\t"} | {f"<|blank_{count}|>": b" " * count for count in range(2, 81)}
_BLANKS: Final = re.compile(" {2,80}")
_LITERAL: Final = re.compile(r"<(?=n>|\|tab\|>|\|blank_(?:[2-9]|[1-7][0-9]|80)\|>)")


class ChatGlmDialect:
    """ChatGLM-6B over one vocabulary, given as a sentencepiece proto. Raises ValueError when this is damaged."""

    tools = False
    json_calls = False

    def __init__(self, proto: bytes, config: Config) -> None:
        self._pieces = Pieces(proto, _MEANINGS)
        self._begin = [self._pieces.control("[gMASK]"), self._pieces.control("<sop>")]
        self._pieces.control("<eop>")
        check_rows(config.vocab_size, self._pieces, [*self._begin, config.eos_token_id])
        newline = self._pieces.user_defined(_NEWLINE)
        if newline is None:
            raise ValueError(f"it has no piece {_NEWLINE}, a line break, that stands wherever a text has it")
        self._newline = newline
        self.stop_ids = (config.eos_token_id,)
        self.longest_token = self._pieces.longest
        self.raw = raw_pieces(self._pieces, {}, encode=self._encode, after=self._begin)

    def prompt(self, request: ChatCompletionRequest) -> Prompt:
        """See `Dialect.prompt`."""
        text = written(rounds(request.messages, title=Family.CHATGLM.title))
        return Prompt(ids=[*self._encode(text), *self._begin])

    def reader(self, request: ChatCompletionRequest) -> AnswerReader:  # noqa: ARG002 (all answers are read alike)
        """See `Dialect.reader`."""
        return PieceReader(self._pieces, PlainParser())

    def _encode(self, text: str) -> list[int]:
        """The ids of a text. Letters that spell a piece's name are kept apart by a line break that is taken out again:
        nothing joins it, and the encoder puts a space before the whole text only."""
        *parts, last = _LITERAL.split(text)
        if not parts:
            return self._pieces.encode(_marked(text))
        parts = [*(f"{part}<" for part in parts), last]
        ids = self._pieces.encode(_NEWLINE.join(map(_marked, parts)))
        counts = itertools.accumulate(part.count("\n") + 1 for part in parts[:-1])
        added, breaks = {count - 1 for count in counts}, itertools.count()
        return [number for number in ids if number != self._newline or next(breaks) not in added]


def written(conversation: Sequence[Round]) -> str:
    """A conversation as the text that the model was trained on."""
    if len(conversation) == 1:
        return conversation[0].question
    return "".join(
        f"[Round {number}]\n问：{turn.question}\n答：" + ("" if turn.answer is None else f"{turn.answer}\n")
        for number, turn in enumerate(conversation)
    )


def _marked(text: str) -> str:
    """Text with the names of the pieces that stand for its white space."""
    text = text.replace("\n", _NEWLINE).replace("\t", _TAB)
    return _BLANKS.sub(lambda blanks: f"<|blank_{len(blanks[0])}|>", text)

"""ChatGLM2's dialect.

A conversation is `[gMASK]sop` and one text: for each round `[Round n]\\n\\n问：{question}\\n\\n答：{answer}\\n\\n`, and
the answer begins where the last one would (THUDM's chatglm2-6b, `build_prompt`; `ChatGLM2Tokenizer` in chatglm.cpp).
The five special tokens follow the last piece and have no text, so no text can produce them. The family knows no system
messages and no tools.

CodeGeeX2 files have ChatGLM2's number, sizes and tokenizer, so they are served as ChatGLM2, in rounds. Its model card
wants bare code to go on with (`# language: Python` and a comment), which a chat cannot give.
"""

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

# In the order of their ids, which follow the last piece.
SPECIAL: Final = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")


class ChatGlm2Dialect:
    """ChatGLM2 over one vocabulary, given as a sentencepiece proto. Raises ValueError when this is damaged."""

    tools = False
    json_calls = False

    def __init__(self, proto: bytes, config: Config) -> None:
        self._pieces = Pieces(proto)
        special = {name: self._pieces.size + index for index, name in enumerate(SPECIAL)}
        check_rows(config.vocab_size, self._pieces, [*special.values(), config.eos_token_id])
        self._begin = [special["[gMASK]"], special["sop"]]
        self.stop_ids = (config.eos_token_id,)
        self.longest_token = self._pieces.longest
        self.raw = raw_pieces(self._pieces, special, before=self._begin)

    def prompt(self, request: ChatCompletionRequest) -> Prompt:
        """See `Dialect.prompt`."""
        text = written(rounds(request.messages, title=Family.CHATGLM2.title))
        return Prompt(ids=[*self._begin, *self._pieces.encode(text)])

    def reader(self, request: ChatCompletionRequest) -> AnswerReader:  # noqa: ARG002 (all answers are read alike)
        """See `Dialect.reader`."""
        return PieceReader(self._pieces, PlainParser())


def written(conversation: Sequence[Round]) -> str:
    """A conversation as the text that the model was trained on."""
    return "".join(
        f"[Round {number}]\n\n问：{turn.question}\n\n答：" + ("" if turn.answer is None else f"{turn.answer}\n\n")
        for number, turn in enumerate(conversation, start=1)
    )

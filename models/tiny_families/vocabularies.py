"""The sentencepiece vocabularies of the three ChatGLM families, cut from the GLM-4 tokenizer that the training starts from.

Each new row knows the old tokens that it begins from: the same text where there is such a token, else its parts.

* ChatGLM2 and ChatGLM3: ``<unk> <s> </s>``, 256 bytes, pieces; after them ``[MASK] [gMASK] [sMASK] sop eop``, and in
  ChatGLM3 the four roles (``ChatGLM2Tokenizer`` and ``ChatGLM3Tokenizer`` in chatglm.cpp).
* ChatGLM-6B: line break, tab and runs of blanks are pieces; ``[MASK]`` to ``<dBLOCK>`` are the last pieces
  (``ChatGLMTokenizer``, and ``tokenization_chatglm.py`` of the model).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tiny_glm.bpe import Tokenizer
from torch import Tensor

from .pieces import BYTES, HEAD, SPACE, Kind, Piece, Pieces, joined

PREFIX_TOKENS = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
GLM1_TOKENS = ("[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>")
LINE_BREAK = Piece("<n>", kind=Kind.USER_DEFINED)
TAB = Piece("<|tab|>", kind=Kind.USER_DEFINED)
BLANKS = tuple(Piece(f"<|blank_{count}|>", kind=Kind.USER_DEFINED) for count in range(2, 81))
# Old names of what has a new one.
SAME = {"sop": "<sop>", "eop": "<eop>", "<s>": "<sop>", "</s>": "<|endoftext|>", "<unk>": "[MASK]", "<pad>": "[MASK]"}


@dataclass(frozen=True)
class Vocabulary:
    """A sentencepiece model, the special tokens after or among its pieces by name, and where each row begins from."""

    pieces: Pieces
    special: dict[str, int]
    origins: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> int:
        """Return the number of ids."""
        return len(self.origins)

    def carried(self, old: Tensor) -> Tensor:
        """Return the rows of an embedding or output matrix for this vocabulary."""
        return torch.stack([old[list(origin)].mean(0) for origin in self.origins])


def normal_pieces(old: Tokenizer) -> list[Piece]:
    """Return the pieces for the old tokens that are text within a line, first learnt first, and for the ASCII signs."""
    merged = []
    for rank, token in enumerate(old.tokens[256:]):
        try:
            text = token.decode()
        except UnicodeDecodeError:
            continue
        if not set("\n\r\t") & set(text):
            merged.append(Piece(text.replace(" ", SPACE), float(-rank)))
    known = {piece.text for piece in merged}
    signs = [chr(code) if code > 32 else SPACE for code in range(32, 127)]
    return merged + [Piece(sign, float(-len(old.tokens))) for sign in signs if sign not in known]


def chatglm2(old: Tokenizer) -> Vocabulary:
    """Return ChatGLM2's vocabulary."""
    return _after(old, Pieces([*HEAD, *BYTES, *normal_pieces(old)]), PREFIX_TOKENS)


def chatglm3(old: Tokenizer, words: tuple[str, ...]) -> Vocabulary:
    """Return ChatGLM3's vocabulary, in which each of ``words`` is one piece."""
    return _after(old, joined(Pieces([*HEAD, *BYTES, *normal_pieces(old)]), words), PREFIX_TOKENS + ROLE_TOKENS)


def chatglm(old: Tokenizer) -> Vocabulary:
    """Return ChatGLM-6B's vocabulary."""
    head = [*HEAD, Piece("<pad>", kind=Kind.CONTROL), LINE_BREAK]
    tail = [Piece(name, kind=Kind.CONTROL) for name in GLM1_TOKENS]
    pieces = Pieces([*head, *normal_pieces(old), *BYTES, TAB, *BLANKS, *tail])
    special = {name: pieces.ids[name] for name in GLM1_TOKENS}
    return Vocabulary(pieces, special, tuple(_origin(old, piece) for piece in pieces.pieces))


def _after(old: Tokenizer, pieces: Pieces, names: tuple[str, ...]) -> Vocabulary:
    special = {name: len(pieces.pieces) + at for at, name in enumerate(names)}
    origins = [_origin(old, piece) for piece in pieces.pieces]
    return Vocabulary(pieces, special, (*origins, *((old.special[SAME.get(name, name)],) for name in names)))


def _origin(old: Tokenizer, piece: Piece) -> tuple[int, ...]:
    if piece.kind is Kind.BYTE:
        return (old.ranks[bytes([int(piece.text[3:5], 16)])],)
    if piece.kind in (Kind.CONTROL, Kind.UNKNOWN):
        return (old.special.get(SAME.get(piece.text, piece.text), old.special["[MASK]"]),)
    text = {LINE_BREAK.text: "\n", TAB.text: "\t"}.get(piece.text, piece.text.replace(SPACE, " "))
    text = " " if piece in BLANKS else text
    token = text.encode()
    return (old.ranks[token],) if token in old.ranks else tuple(old.encode(text))

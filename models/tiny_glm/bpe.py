"""Byte-level byte-pair encoding in GLM-4's tokenizer format, trained on the corpus.

The format is GLM-4's tiktoken file: one line ``base64(token) rank`` per token, ranks from 0,
the 256 bytes first. The pre-tokenisation regex and the 14 special tokens, which follow the last
rank in a fixed order, are those that chatglm.cpp uses for GLM-4 (``ChatGLM4Tokenizer``).
"""

from __future__ import annotations

import base64
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from .conversation import Turn

# Unicode's numbers that are not decimal digits: Python's \w has them among the letters, GLM-4's \p{L} has not.
NUMERALS = "".join(chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)) in {"Nl", "No"})
LETTER = rf"[^\W\d_{NUMERALS}]"
NUMBER = rf"[\d{NUMERALS}]"
NEITHER = r"(?:[^\w\t\n\f\r ]|_)"
# chatglm.cpp compiles GLM-4's pattern with RE2, whose \s is ASCII only; a look-ahead takes the place of its group.
PATTERN = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    rf"|(?:(?![\r\n])(?:\W|_))?{LETTER}+"
    rf"|{NUMBER}{{1,3}}"
    rf"| ?{NEITHER}+[\r\n]*"
    r"|[\t\n\f\r ]*[\r\n]+|[\t\n\f\r ]+(?=[\t\n\f\r ])|[\t\n\f\r ]+"
)
BYTES = tuple(bytes([byte]) for byte in range(256))
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
)


class Tokenizer:
    """Encodes text to token ids and writes GLM-4 prompts on ids; special tokens are never made from text."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self.tokens = list(tokens)
        self.ranks = {token: rank for rank, token in enumerate(self.tokens)}
        self.special = {name: len(self.tokens) + at for at, name in enumerate(SPECIAL_TOKENS)}
        self._cache: dict[str, tuple[int, ...]] = {}

    @classmethod
    def from_text(cls, text: str) -> Tokenizer:
        """Read the tiktoken file's text."""
        return cls([base64.b64decode(line.split()[0]) for line in text.splitlines() if line])

    def to_text(self) -> str:
        """Return the tiktoken file's text."""
        return "".join(f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(self.tokens))

    @property
    def rows(self) -> int:
        """Return the number of ids: ranks and special tokens."""
        return len(self.tokens) + len(SPECIAL_TOKENS)

    def encode(self, text: str) -> list[int]:
        """Return the ids of ordinary text."""
        ids: list[int] = []
        for piece in PATTERN.findall(text):
            found = self._cache.get(piece)
            if found is None:
                found = tuple(self.merge(piece.encode()))
                if len(self._cache) < 200_000:
                    self._cache[piece] = found
            ids += found
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, without the special tokens."""
        return b"".join(self.tokens[at] for at in ids if at < len(self.tokens)).decode(errors="replace")

    def turn(self, turn: Turn) -> list[int]:
        """Return ``<|role|>{metadata}\\n{text}``."""
        return [self.special[f"<|{turn.role}|>"], *self.encode(f"{turn.metadata}\n"), *self.encode(turn.text)]

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Return ``[gMASK]<sop>``, the turns and ``<|assistant|>``, ready for the answer."""
        ids = [self.special["[gMASK]"], self.special["<sop>"]]
        for turn in turns:
            ids += self.turn(turn)
        return [*ids, self.special["<|assistant|>"]]

    def sample(self, turns: Sequence[Turn], read_weight: float) -> tuple[list[int], list[float]]:
        """Return the ids of a whole conversation and the weight of each in the loss.

        1 for what the assistant has to produce: its metadata, newline and text, and the role that ends its turn;
        ``read_weight`` for what a user says; 0 for the rest.
        """
        ids, weights = [self.special["[gMASK]"], self.special["<sop>"]], [0.0, 0.0]
        weight_of = {"assistant": 1.0, "user": read_weight}
        after_answer = False
        for turn in turns:
            one = self.turn(turn)
            ids += one
            weights += [float(after_answer), *[weight_of.get(turn.role, 0.0)] * (len(one) - 1)]
            after_answer = turn.role == "assistant"
        return [*ids, self.special["<|observation|>" if turns[-1].metadata else "<|user|>"]], [*weights, 1.0]

    def merge(self, piece: bytes) -> list[int]:
        """Merge the lowest rank first, as tiktoken does."""
        if piece in self.ranks:
            return [self.ranks[piece]]
        parts = [piece[at : at + 1] for at in range(len(piece))]
        while len(parts) > 1:
            ranked = [(self.ranks.get(parts[at] + parts[at + 1], len(self.ranks)), at) for at in range(len(parts) - 1)]
            rank, at = min(ranked)
            if rank == len(self.ranks):
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return [self.ranks[part] for part in parts]


def may_merge(token: bytes) -> bool:
    """Return whether a token may exist: made for copying, so the same word has the same ids wherever it stands.

    No digits are joined, no capital is joined with what precedes it, and Chinese and Latin never share a token.
    """
    if any(48 <= byte <= 57 for byte in token) or len(token) > 12:
        return False
    if any(65 <= byte <= 90 for byte in token[1:]):
        return False
    ascii_bytes = sum(byte < 128 for byte in token)
    return ascii_bytes in (0, len(token))


def train(texts: Iterable[str], rows: int, *, known: Sequence[bytes] = BYTES, whole: str = "") -> Tokenizer:
    """Learn merges from the most frequent pairs until the vocabulary has ``rows`` ids, special tokens included.

    ``known`` tokens keep their ranks, so that a vocabulary can grow; every piece of the text ``whole`` becomes a token.
    """
    counts = Counter(piece for text in texts for piece in PATTERN.findall(text))
    whole_pieces = (piece.encode() for piece in PATTERN.findall(whole))
    tokens = list(dict.fromkeys((*known, *whole_pieces)))
    before = Tokenizer(tokens)
    words = [([tokens[at] for at in before.merge(piece.encode())], count) for piece, count in counts.items()]
    pairs: Counter[tuple[bytes, bytes]] = Counter()
    where: dict[tuple[bytes, bytes], set[int]] = {}
    for at, (parts, count) in enumerate(words):
        for pair in pairwise(parts):
            pairs[pair] += count
            where.setdefault(pair, set()).add(at)
    made = set(tokens)
    while len(tokens) + len(SPECIAL_TOKENS) < rows and pairs:
        pair = max(pairs, key=lambda one: (pairs[one], one))
        if not may_merge(pair[0] + pair[1]):
            del pairs[pair]
            continue
        if pairs[pair] <= 0:
            break
        joined = pair[0] + pair[1]
        if joined not in made:
            made.add(joined)
            tokens.append(joined)
        for at in list(where.pop(pair)):
            _apply(words, at, pair, pairs, where)
        pairs.pop(pair, None)
    return Tokenizer(tokens)


def _apply(words: list, at: int, pair: tuple[bytes, bytes], pairs: Counter, where: dict) -> None:
    """Join ``pair`` in one word and update the pair counts it changes."""
    parts, count = words[at]
    for old in pairwise(parts):
        pairs[old] -= count
    joined: list[bytes] = []
    index = 0
    while index < len(parts):
        if tuple(parts[index : index + 2]) == pair:
            joined.append(pair[0] + pair[1])
            index += 2
        else:
            joined.append(parts[index])
            index += 1
    words[at] = (joined, count)
    for new in pairwise(joined):
        if may_merge(new[0] + new[1]):
            pairs[new] += count
            where.setdefault(new, set()).add(at)

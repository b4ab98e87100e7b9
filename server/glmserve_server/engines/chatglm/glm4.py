"""GLM-4's dialect.

A conversation is `[gMASK]<sop>`, then `<|role|>{metadata}\\n{content}` for each turn, then `<|assistant|>` (THUDM's
glm-4-9b-chat, `tokenization_chatglm.py`). Special tokens are put in by id and all text goes through the ordinary
encoder, so that the letters `<|user|>` in a message stay letters.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

import tiktoken

from glmserve.v1 import message_pb2
from glmserve.v1.message_pb2 import Message
from glmserve_server.text import Utf8

# In the order of their ids, which follow the last rank.
_SPECIAL: Final = (
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

_PATTERN: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_ROLES: Final = {
    message_pb2.ROLE_SYSTEM: "<|system|>",
    message_pb2.ROLE_DEVELOPER: "<|system|>",
    message_pb2.ROLE_USER: "<|user|>",
    message_pb2.ROLE_ASSISTANT: "<|assistant|>",
    message_pb2.ROLE_TOOL: "<|observation|>",
}


class Glm4Dialect:
    """GLM-4 over one vocabulary, given as tiktoken lines `base64 rank`. Raises ValueError when these are damaged."""

    def __init__(self, vocabulary: bytes, vocab_size: int) -> None:
        ranks = _ranks(vocabulary)
        if len(ranks) + len(_SPECIAL) > vocab_size:
            raise ValueError(
                f"{len(ranks)} tokens and {len(_SPECIAL)} special ones do not fit into the model's {vocab_size} rows"
            )
        self._special = {name: len(ranks) + index for index, name in enumerate(_SPECIAL)}
        self._bytes = {rank: token for token, rank in ranks.items()}
        self._encoding = tiktoken.Encoding("glm4", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
        self.stop_ids = tuple(self._special[name] for name in ("<|endoftext|>", "<|user|>", "<|observation|>"))
        self.longest_token = max(map(len, ranks))

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """See `Dialect.encode`."""
        ids = [self._special["[gMASK]"], self._special["<sop>"]]
        for message in messages:
            text = "".join(part.text for part in message.content)
            if text or not message.tool_calls:
                ids += self._turn(_ROLES[message.role], "", text)
            for call in message.tool_calls:
                ids += self._turn("<|assistant|>", call.name, call.arguments_json)
        return [*ids, self._special["<|assistant|>"]]

    def answer(self) -> "Glm4AnswerReader":
        """See `Dialect.answer`."""
        return Glm4AnswerReader(self._bytes)

    def _turn(self, role: str, metadata: str, content: str) -> list[int]:
        encode = self._encoding.encode_ordinary
        return [self._special[role], *encode(f"{metadata}\n"), *encode(content)]


class Glm4AnswerReader:
    """Reads the content of an answer; the newline that ends its (empty) metadata is not part of it."""

    def __init__(self, tokens: dict[int, bytes]) -> None:
        self._tokens = tokens
        self._characters = Utf8()
        self._begun = False

    def feed(self, token: int) -> str:
        """See `AnswerReader.feed`; special tokens stand for no text."""
        text = self._characters.feed(self._tokens.get(token, b""))
        if self._begun or not text:
            return text
        self._begun = True
        return text.removeprefix("\n")


def _ranks(vocabulary: bytes) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(vocabulary.splitlines(), start=1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise ValueError(f"line {number} is {line[:40]!r}, not a token in base64 and its rank") from None
    if sorted(ranks.values()) != list(range(number := len(ranks))):
        raise ValueError(f"the ranks of its {number} tokens are not 0 to {number - 1}")
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise ValueError(f"it has no token for the byte {missing[0]}")
    return ranks

"""GLM-4's dialect.

A conversation is `[gMASK]<sop>`, then `<|role|>{metadata}\\n{content}` for each turn, then `<|assistant|>` (THUDM's
glm-4-9b-chat, `tokenization_chatglm.py`). Special tokens are put in by id and all text goes through the ordinary
encoder, so that the letters `<|user|>` in a message stay letters. Tools are a system turn of their own, before all
others. A call is an assistant turn with the function's name as metadata and the arguments as content.

GLM-4-0414 and GLM-Z1 are spoken to in the same way, but for a paragraph about tools, and Z1 thinks before it answers.

GLM-4V sees one image in a conversation. Before the text of its turn stand `<|begin_of_image|>`, `<|endoftext|>` once
for each of its tokens, `<|end_of_image|>` (zai-org's glm-4v-9b, whose tokenizer writes it once).
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Final

import tiktoken

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.message_pb2 import Message
from glmserve_server.dialects import builtins
from glmserve_server.dialects.dialect import AnswerReader, Prompt
from glmserve_server.dialects.glm4_answer import Glm4Parser
from glmserve_server.dialects.glm4_tools import system_prompt
from glmserve_server.dialects.images import only_image
from glmserve_server.dialects.raw import Raw, VerbatimParser
from glmserve_server.dialects.reader import Parser, Reader
from glmserve_server.dialects.thinking import BEGIN, without_thoughts
from glmserve_server.dialects.toolbox import Toolbox

# In the order of their ids, which follow the last rank.
SPECIAL: Final = (
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

_WHITE_SPACE: Final = re.compile(r"\s+")
_LONGEST_RUN: Final = 100_000
"""Characters of white space that are read at once."""


class Glm4Dialect:
    """GLM-4 over one vocabulary, given as tiktoken lines `base64 rank`. Raises ValueError when these are damaged."""

    tools = True
    json_calls = True

    def __init__(
        self,
        vocabulary: bytes,
        vocab_size: int,
        *,
        image_tokens: int = 0,
        identity: bool = True,
        thinking: bool = False,
    ) -> None:
        """`image_tokens`: how many tokens stand for an image; 0: the model sees none. `identity`: see `system_prompt`.
        `thinking`: its answers begin with thoughts."""
        self._identity = identity
        self._thinking = thinking
        ranks = ranks_of(vocabulary)
        if len(ranks) + len(SPECIAL) > vocab_size:
            raise ValueError(
                f"{len(ranks)} tokens and {len(SPECIAL)} special ones do not fit into the model's {vocab_size} rows"
            )
        self._special = {name: len(ranks) + index for index, name in enumerate(SPECIAL)}
        self._bytes = {rank: token for token, rank in ranks.items()}
        self._encoding = tiktoken.Encoding("glm4", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
        self.stop_ids = tuple(self._special[name] for name in ("<|endoftext|>", "<|user|>", "<|observation|>"))
        self.longest_token = max(map(len, ranks))
        marks = (self._special[f"<|{mark}|>"] for mark in ("begin_of_image", "endoftext", "end_of_image"))
        self._begin_of_image, patch, end_of_image = marks
        self._image = [self._begin_of_image, *[patch] * image_tokens, end_of_image]
        self._begin = [self._special["[gMASK]"], self._special["<sop>"]]
        spelling = self._bytes | {number: name.encode() for name, number in self._special.items()}
        self.raw = Raw(
            encode=self._encode,
            before=self._begin,
            size=len(spelling),
            pictures=frozenset([self._begin_of_image, end_of_image] if image_tokens else []),
            spell=lambda ids: [spelling[number] for number in ids],
            reader=lambda: self._reader(VerbatimParser()),
        )

    def prompt(self, request: ChatCompletionRequest) -> Prompt:
        """See `Dialect.prompt`. A function that must be called is the metadata of the answer's turn."""
        toolbox = Toolbox.of(request)
        ids = list(self._begin)
        if toolbox:
            ids += self._turn("<|system|>", "", system_prompt(toolbox, identity=self._identity))
        for message in request.messages:
            ids += self._message(message, toolbox)
        ids.append(self._special["<|assistant|>"])
        image = only_image(request, ids, self._begin_of_image)
        if self._thinks(request, toolbox):
            ids += self._encode(f"\n{BEGIN}")
        openings = tuple(tuple(self._encode(f"{name}\n")) for name in toolbox.required)
        if len(openings) == 1:
            return Prompt(ids=[*ids, *openings[0]], image=image)
        return Prompt(ids=ids, openings=openings, image=image)

    def reader(self, request: ChatCompletionRequest) -> AnswerReader:
        """See `Dialect.reader`."""
        toolbox = Toolbox.of(request)
        return self._reader(Glm4Parser(toolbox, thinking=self._thinks(request, toolbox)))

    def _thinks(self, request: ChatCompletionRequest, toolbox: Toolbox) -> bool:
        """Whether the prompt begins the model's thoughts; not where the answer is held to a form from its beginning."""
        free = request.response_format.WhichOneof("format") in (None, "text")
        return self._thinking and free and not toolbox.required

    def _reader(self, parser: Parser) -> Reader:
        return Reader(self._bytes, parser, turn=self._special["<|assistant|>"], call=self._special["<|observation|>"])

    def _message(self, message: Message, toolbox: Toolbox) -> Iterator[int]:
        text = "".join(part.text for part in message.content)
        if message.role == message_pb2.ROLE_ASSISTANT:
            text = without_thoughts(text)
        if text or not message.tool_calls:
            seen = self._image if any(part.HasField("image") for part in message.content) else []
            yield from self._turn(_ROLES[message.role], "", text, seen)
        for call in message.tool_calls:
            yield from self._turn("<|assistant|>", call.name, builtins.written(call, toolbox))

    def _turn(self, role: str, metadata: str, content: str, image: Sequence[int] = ()) -> list[int]:
        return [self._special[role], *self._encode(f"{metadata}\n"), *image, *self._encode(content)]

    def _encode(self, text: str) -> list[int]:
        return [token for part in _parts(text) for token in self._encoding.encode_ordinary(part)]


def _parts(text: str) -> Iterator[str]:
    """The text in parts that tiktoken can read: it panics at white space of about a million characters."""
    begun = 0
    for run in _WHITE_SPACE.finditer(text) if len(text) > _LONGEST_RUN else ():
        for end in range(run.start() + _LONGEST_RUN, run.end(), _LONGEST_RUN):
            yield text[begun:end]
            begun = end
    yield text[begun:]


def ranks_of(vocabulary: bytes) -> dict[bytes, int]:
    """The tokens of tiktoken lines, with their ids. Raises ValueError when these are damaged."""
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

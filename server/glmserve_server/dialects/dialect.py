"""How a model family writes a conversation as token ids, and reads an answer from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.content_pb2 import Image
from glmserve_server.dialects.deltas import Delta
from glmserve_server.dialects.raw import Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An image in a prompt: its place in the request, and the first of the tokens that stand for it."""

    image: Image
    field: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Token ids: the whole conversation and the beginning of the answer's turn."""

    ids: list[int]
    openings: tuple[tuple[int, ...], ...] = ()
    """The answer must begin with one of these; empty: with what it likes."""
    image: Placed | None = None


class AnswerReader(Protocol):
    """Reads one answer, token by token. Whatever the tokens are, it never raises."""

    @property
    def thinking(self) -> bool:
        """Whether the next token is part of the model's thoughts."""
        ...

    def feed(self, token: int) -> Sequence[Delta]:
        """What `token` completes; often nothing."""
        ...

    def feed_text(self, text: str) -> Sequence[Delta]:
        """The same for ordinary tokens that another has made characters of already."""
        ...

    def end(self, token: int | None) -> Sequence[Delta]:
        """What was held back until now, when the answer has ended. `token`: the stop token; None: it was cut."""
        ...


class Dialect(Protocol):
    """One family's formats over one model's vocabulary. Knows nothing of sampling and of processes."""

    tools: bool
    """Whether the family was trained to call tools."""
    json_calls: bool
    """Whether it writes the arguments of calls as JSON."""

    @property
    def stop_ids(self) -> Sequence[int]:
        """The tokens that end an answer."""
        ...

    @property
    def longest_token(self) -> int:
        """The most bytes of text that one token can stand for."""
        ...

    def prompt(self, request: ChatCompletionRequest) -> Prompt:
        """The prompt. Raises `InvalidArgument` for a turn that the family cannot express, naming it."""
        ...

    def reader(self, request: ChatCompletionRequest) -> AnswerReader:
        """A reader for one answer to the request."""
        ...

    @property
    def raw(self) -> Raw:
        """The vocabulary, for raw prompts. `prompt` and `reader` are for conversations."""
        ...

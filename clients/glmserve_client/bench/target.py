"""What is measured, whatever way leads to it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

Turn = tuple[str, str]
"""A role, as OpenAI calls it, and what is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request for a greedy answer of so many tokens, where the server lets it go on past its natural end."""

    model: str
    turns: tuple[Turn, ...]
    answer_tokens: int


@dataclass(frozen=True, slots=True)
class Piece:
    """The next characters of an answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an answer cost, in tokens, as the server counts them."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


class Failed(Exception):
    """A request was refused or broke off; `kind` is the same for all that failed alike, the text is the server's."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Target(Protocol):
    """A server under measurement."""

    face: str
    """`grpc` or `http`."""
    address: str
    ignored: set[str]
    """The parameters that the server has said it ignores, or was not sent because it refuses them."""

    async def first_model(self) -> str:
        """The id of the first model that it lists. Raises `Failed`."""
        ...

    def stream(self, ask: Ask) -> AsyncGenerator[Piece | Usage]:
        """The answer, as it comes. Raises `Failed`. Closing the generator leaves the call."""
        ...

    def simplify(self, refusal: Failed) -> bool:
        """Leaves out from now on what only some servers know; false if that cannot be why it refused."""
        ...

    async def aclose(self) -> None:
        """Closes the connections."""
        ...

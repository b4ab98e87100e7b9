"""What a client needs of a way to a server."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from glmserve_client.model import Model, TokenCount
from glmserve_client.reply import Event, Reply

Body = Mapping[str, Any]
"""The JSON object of a chat completion request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came for a call of a path."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    json: Any
    """The body, if the server says that it is JSON; else None."""


class Wire(Protocol):
    """Raises errors of `glmserve_client.errors` alone. Connects when it is first used, on the loop that uses it.

    `left` are the seconds that the call may take. Where the wire has a place for it the server is told; the caller of
    the wire watches it anyway.
    """

    async def chat(self, body: Body, *, left: float) -> Reply:
        """The whole answer."""
        ...

    def stream(self, body: Body, *, left: float) -> AsyncGenerator[Event]:
        """The answer as it is made. Closing the generator leaves the call."""
        ...

    async def models(self, *, left: float) -> list[Model]:
        """All models."""
        ...

    async def count_tokens(self, body: Body, *, include_token_ids: bool, left: float) -> TokenCount:
        """The size of a prompt."""
        ...

    async def health(self, *, left: float) -> bool:
        """Whether the server takes requests."""
        ...

    async def request(self, method: str, path: str, *, json: Any, params: Body | None, left: float) -> Answer:
        """Any other path of the server's."""
        ...

    async def aclose(self) -> None:
        """Ends the connections."""
        ...

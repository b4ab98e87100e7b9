"""What can go wrong, the same over both wires.

    GlmserveError
    ├── ConfigurationError           an address, key, certificate or argument of the client's is wrong
    ├── ClientClosed                 the client was closed before, or belongs to another process
    ├── ConnectionFailed             no server was reached, or it was lost before it answered
    ├── BrokenStream                 the answer ended in the middle
    ├── InvalidAnswer                what came is no answer of a chat server, or too large
    ├── DeadlineExceeded             the call's time, or the server's, is over
    │   └── Stalled                  no delta came for too long
    ├── TooManyRounds                the model goes on calling functions
    └── RequestFailed                the server says that it cannot
        ├── BadRequest               a field is missing, of the wrong form or out of range
        │   ├── Unsupported          the model cannot do what the request requires
        │   └── ContextLengthExceeded
        ├── Unauthenticated          the key is missing or wrong
        ├── PermissionDenied         the key does not allow this
        ├── NotFound
        │   └── UnknownModel         there is no model of that name
        ├── NotSupported             the server, or this wire to it, has no such call
        ├── RateLimited              too many requests
        ├── Unavailable              the server or the model cannot answer at present
        └── ServerError              a fault of the server's

Every text is meant to be shown to whoever made the call.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of a request that is wrong."""

    field: str
    """Its path in OpenAI's names: `temperature`, `messages[0].content`."""
    description: str
    """What is wrong with it."""


class GlmserveError(Exception):
    """A call failed."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which the same call may succeed; None: nobody says that it will."""


class ConfigurationError(GlmserveError, ValueError):
    """An address, a key, a certificate or an argument of the client's is wrong."""


class ClientClosed(GlmserveError):
    """The client was closed before the call, or belongs to another process."""


class ConnectionFailed(GlmserveError):
    """No server was reached, or the connection was lost before it answered."""


class BrokenStream(GlmserveError):
    """The answer ended in the middle. What came of it is in the stream's `reply`."""


class InvalidAnswer(GlmserveError):
    """What came is no answer of a chat server, or larger than the client takes."""


class DeadlineExceeded(GlmserveError):
    """The time of the call, or that of the server, is over."""


class Stalled(DeadlineExceeded):
    """No delta came for longer than `token_timeout`."""


class TooManyRounds(GlmserveError):
    """The model goes on calling functions instead of answering."""


class RequestFailed(GlmserveError):
    """The server says that it cannot."""


class BadRequest(RequestFailed):
    """A field of the request is missing, of the wrong form or out of range."""

    def __init__(
        self, message: str, *, violations: Sequence[FieldViolation] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.violations = tuple(violations)
        """The fields that are wrong, if the server names them."""


class Unsupported(BadRequest):
    """The model cannot do what the request requires."""


class ContextLengthExceeded(BadRequest):
    """The prompt leaves no room for an answer in the model's context."""


class Unauthenticated(RequestFailed):
    """The key is missing or wrong."""


class PermissionDenied(RequestFailed):
    """The key does not allow this."""


class NotFound(RequestFailed):
    """There is no such thing."""


class UnknownModel(NotFound):
    """There is no model of that name."""


class NotSupported(RequestFailed):
    """The server, or this wire to it, has no such call."""


class RateLimited(RequestFailed):
    """Too many requests wait already; `retry_after` says when to try again."""


class Unavailable(RequestFailed):
    """The server or the model cannot answer at present; `retry_after` may say when to try again."""


class ServerError(RequestFailed):
    """A fault of the server's."""

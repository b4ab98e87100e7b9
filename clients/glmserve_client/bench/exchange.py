"""One request and what came of it."""

import time
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum

from glmserve_client.bench.target import Ask, Failed, Piece, Target, Usage


class Outcome(Enum):
    """How a request ended; every one ends in one of these ways."""

    ANSWERED = "answered"
    """The whole answer came."""
    CANCELLED = "cancelled"
    """It was left in the middle, as planned."""
    FAILED = "failed"
    """The server refused it or broke off, or could not be reached."""
    UNFINISHED = "unfinished"
    """It was under way when the time was up."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A request of a conversation's turn (counted from 0). Moments are in seconds of one clock."""

    turn: int
    begun: float = 0.0
    ended: float = 0.0
    moments: list[float] = field(default_factory=list)
    """When the pieces of the answer came."""
    text: str = ""
    usage: Usage | None = None
    outcome: Outcome = Outcome.UNFINISHED
    error: Failed | None = None

    @property
    def first_token(self) -> float | None:
        """Seconds from the request to the first piece of text."""
        return self.moments[0] - self.begun if self.moments else None

    @property
    def gaps(self) -> list[float]:
        """Seconds between the pieces."""
        return [late - early for early, late in zip(self.moments, self.moments[1:], strict=False)]

    @property
    def tokens(self) -> int:
        """The answer's tokens as the server counts them, or the pieces where it does not say."""
        return self.usage.completion_tokens if self.usage else len(self.moments)

    @property
    def pace(self) -> float | None:
        """Tokens a second after the first one."""
        seconds = self.moments[-1] - self.moments[0] if self.moments else 0.0
        return (self.tokens - 1) / seconds if seconds > 0 and self.tokens > 1 else None


async def run(exchange: Exchange, target: Target, ask: Ask, *, leave_after: int | None = None) -> None:
    """Sends the request and fills in the exchange; leaves it after so many pieces."""
    exchange.begun = time.perf_counter()
    try:
        async with aclosing(target.stream(ask)) as parts:
            async for part in parts:
                _add(exchange, part)
                if leave_after is not None and len(exchange.moments) >= leave_after:
                    exchange.outcome = Outcome.CANCELLED
                    return
        exchange.outcome = Outcome.ANSWERED
    except Failed as error:
        exchange.outcome, exchange.error = Outcome.FAILED, error
    finally:
        exchange.ended = time.perf_counter()


def _add(exchange: Exchange, part: Piece | Usage) -> None:
    if isinstance(part, Piece):
        exchange.moments.append(time.perf_counter())
        exchange.text += part.text
    else:
        exchange.usage = part

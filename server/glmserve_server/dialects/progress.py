"""What an engine tells of a run, beside the ids of its tokens."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Begun:
    """The run has begun; so many of the prompt's tokens were in the worker's cache and need no work."""

    cached: int


@dataclass(frozen=True, slots=True)
class Written:
    """An ordinary token, as the characters that it completed."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """How a run has ended, and the stop token if one ended it."""

    reason: Literal["stop", "length", "cancel"]
    token: int | None

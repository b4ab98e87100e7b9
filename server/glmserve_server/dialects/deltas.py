"""What a reader finds in an answer, piece by piece."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """More of what the model says."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """More of what the model thinks."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call begins; the name is whole."""

    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """More of the arguments of the call that began last; together they are JSON, if the model erred not."""

    text: str


Delta = Text | Thought | Call | Arguments

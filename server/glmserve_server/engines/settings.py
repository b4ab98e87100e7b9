"""What an operator can choose for any model, whatever engine runs it. An engine adds its own keys."""

from dataclasses import dataclass
from typing import ClassVar, Final

from glmserve_server.configuration.key import key

SAMPLING: Final = ("temperature", "top_p", "top_k", "repetition_penalty", "max_completion_tokens")
"""The keys that are fields of a request, for requests that do not say."""

LONGEST_NAME: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """One entry of `models`. Times are in seconds."""

    engine: ClassVar[str] = ""
    """What the key `engine` calls it."""

    name: str = key("", "The model's id.", unset="the file's name")
    aliases: tuple[str, ...] = key((), "Other names that requests may use.", example='["gpt-4o-mini"]')
    time_limit: float = key(600.0, "Seconds that an answer may take.", low=1, high=86400, shared="time_limit")
    temperature: float | None = key(
        None,
        "Randomness, from 0 (always the most likely token) to 2, for requests that do not say.",
        unset="the model's own",
        low=0,
        high=2,
        example="0.7",
    )
    top_p: float | None = key(
        None,
        "Sample among the most likely tokens of this probability, for requests that do not say.",
        unset="the model's own",
        low=0,
        high=1,
        example="0.9",
    )
    top_k: int | None = key(
        None,
        "Sample among this many tokens, 0 for all, for requests that do not say.",
        unset="0",
        low=0,
        high=(1 << 32) - 1,
        example="40",
    )
    repetition_penalty: float | None = key(
        None,
        "Divides the logits of tokens that have appeared, for requests that do not say.",
        unset="1",
        low=0.01,
        high=2,
        example="1.05",
    )
    max_completion_tokens: int | None = key(
        None,
        "Most tokens of an answer, for requests that do not say.",
        unset="as many as fit",
        low=1,
        high=(1 << 32) - 1,
        example="1024",
    )

    def __post_init__(self) -> None:
        """Raises `ValueError`."""
        for place, name in (("name", self.name), *(("aliases", alias) for alias in self.aliases)):
            if not (1 <= len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip()):
                raise ValueError(
                    f"{place} must be 1 to {LONGEST_NAME} printable characters without spaces at its ends, not "
                    f"{name[:LONGEST_NAME]!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedSettings(ModelSettings):
    """A model whose requests may have to wait."""

    queue_limit: int = key(
        64, "Requests that may wait for a model; more are refused.", low=0, high=1 << 16, shared="queue_limit"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedSettings(ModelSettings):
    """The engine without a model, for tests and demos."""

    engine: ClassVar[str] = "scripted"

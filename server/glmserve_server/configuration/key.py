"""A key of the configuration: what it is for, what it may be, and how it is said elsewhere than in the file.

A dataclass declares its keys as fields, `port: int = key(8080, "…", low=0, high=65535)`; all else is derived: checks,
flags, names in the environment, the example.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin

_SWITCHES: Final = {"true": True, "1": True, "false": False, "0": False}
_LONGEST_SHOWN: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What is known of a key beside its value."""

    name: str
    type: Any
    """int, float, bool, str, Path, an enum of strings, a tuple of strings, or a mapping."""
    default: Any
    help: str
    unset: str
    """What happens when it is not said and has no default."""
    low: float
    high: float
    """The range of numbers, both ends included."""
    choices: tuple[str, ...]
    shared: str
    """The server's key that says it for all models, if there is one."""
    flag: str
    """Its flag, where that is not the key with dashes."""
    example: str
    """A value, as TOML, for the example."""
    secret: bool
    """Whether its values are shown to nobody."""

    @property
    def many(self) -> bool:
        """Whether it is a list."""
        return get_origin(self.type) is tuple

    def checked(self, value: Any) -> Any:
        """The value in its own type. Raises `ValueError`: "must be …, not …"."""
        said = value
        if self.type is float and type(value) is int:
            value = float(value)
        if self.many:
            value = [value] if isinstance(value, str) else value
            fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        elif get_origin(self.type) is not None:
            fits = isinstance(value, dict) and (get_args(self.type)[1] is Any or _all_texts(value))
        elif self.type is Path or self.choices:
            fits = isinstance(value, str) and value in (self.choices or (value,)) and value != ""
        else:
            fits = type(value) is self.type  # a bool is no int
        if not fits or (isinstance(value, int | float) and not self.low <= value <= self.high):
            raise ValueError(f"must be {self.wanted}" + ("" if self.secret else f", not {_shown(said)}"))
        if self.many:
            return tuple(value)
        return self.type(value) if self.type is Path or self.choices else value

    def parsed(self, text: str) -> Any:
        """What a text, of the environment or a flag, says: unchecked, and the text itself if that is nothing."""
        if self.many and not text.lstrip().startswith("["):
            return [item.strip() for item in text.split(",") if item.strip()]
        if self.type is bool:
            return _SWITCHES.get(text.strip().lower(), text)
        if self.type in (str, Path) or self.choices:
            return text
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text

    @property
    def wanted(self) -> str:
        """What it must be, in words."""
        if self.choices:
            return " or ".join(self.choices)
        between = f" between {_plain(self.low)} and {_plain(self.high)}" if math.isfinite(self.high) else ""
        names = {int: f"a whole number{between}", float: f"a number{between}", bool: "true or false"}
        if self.many:
            return "a list of strings"
        if get_origin(self.type) is not None:
            return "a table" if get_args(self.type)[1] is Any else "a table of strings"
        return names.get(self.type, "a path" if self.type is Path else "a string")


def key(
    default: Any,
    help: str,  # noqa: A002 (what it is called everywhere)
    *,
    unset: str = "",
    low: float = -math.inf,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    shared: str = "",
    flag: str = "",
    example: str = "",
    secret: bool = False,
) -> Any:
    """A field of a dataclass that is a key."""
    said = {
        "help": help,
        "unset": unset,
        "low": low,
        "high": high,
        "choices": choices,
        "shared": shared,
        "flag": flag,
        "example": example,
        "secret": secret,
    }
    if isinstance(default, dict):
        return field(default_factory=default.copy, repr=not secret, metadata={"key": said})
    return field(default=default, repr=not secret, metadata={"key": said})


def keys_of(cls: type) -> dict[str, Key]:
    """The keys that a dataclass declares, by name, in order."""
    return {each.name: _key(each) for each in fields(cls) if "key" in each.metadata}


def _key(each: "Field[Any]") -> Key:
    said = dict(each.metadata["key"])
    kind = _without_none(each.type)
    if isinstance(kind, type) and issubclass(kind, Enum):
        said["choices"] = tuple(member.value for member in kind)
    default = each.default_factory() if each.default_factory is not MISSING else each.default
    return Key(name=each.name, type=kind, default=default, **said)


def _without_none(annotation: Any) -> Any:
    if isinstance(annotation, UnionType):
        (annotation,) = set(get_args(annotation)) - {NoneType}
    return annotation


def _all_texts(table: Mapping[str, Any]) -> bool:
    return all(isinstance(value, str) for value in table.values())


def _shown(value: Any) -> str:
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)

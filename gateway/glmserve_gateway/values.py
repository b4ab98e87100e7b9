"""Readers of single JSON values: each takes a value and its path, and gives what the contract holds.

A reader checks the type, and what protobuf cannot hold. Ranges are the server's business.
"""

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from glmserve_gateway.body import Json, kind, quote
from glmserve_gateway.errors import InvalidRequest

T = TypeVar("T")
Reader: TypeAlias = Callable[[Json, str], T]
"""Gives the contract's form of a JSON value; raises `InvalidRequest` naming the path."""

UINT32_MAX = 2**32 - 1
INT64_MAX = 2**63 - 1


def boolean(value: Json, path: str) -> bool:
    """`true` or `false`."""
    if not isinstance(value, bool):
        raise wrong_type(value, path, "a boolean")
    return value


def number(value: Json, path: str) -> float:
    """Any finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(value, path, "a number")
    try:
        return float(value)
    except OverflowError:
        raise InvalidRequest(f"{path} is too large a number: {quote(value)}", path) from None


def integer(least: int, most: int) -> Reader[int]:
    """Integers from `least` to `most`; `1.0` is one, as in JSON Schema."""

    def read(value: Json, path: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(value, path, "an integer")
        if value < least:
            raise InvalidRequest(f"{path} must be at least {least}, not {quote(value)}", path)
        if value > most:
            raise InvalidRequest(f"{path} must be at most {most}, not {quote(value)}", path)
        return value

    return read


def count(*, least: int) -> Reader[int]:
    """Integers that a uint32 holds. Of those below `least`, 0 is left to the server, which knows every range."""
    whole = integer(0, UINT32_MAX)

    def read(value: Json, path: str) -> int:
        if isinstance(value, int) and value < 0:
            raise InvalidRequest(f"{path} must be at least {least}, not {quote(value)}", path)
        return whole(value, path)

    return read


def token_ids(value: Json, path: str) -> list[int]:
    """A list of token ids, which can be long."""
    ids = items(value, path)
    if all(type(number) is int and 0 <= number <= UINT32_MAX for number in ids):
        return ids
    one = integer(0, UINT32_MAX)
    return [one(number, f"{path}[{i}]") for i, number in enumerate(ids)]


def string(value: Json, path: str) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise wrong_type(value, path, "a string")
    return value


def one_of(members: dict[str, T]) -> Reader[T]:
    """One of a closed set of strings."""

    def read(value: Json, path: str) -> T:
        if string(value, path) not in members:
            raise InvalidRequest(f"{path} must be one of {', '.join(members)}, not {quote(value)}", path)
        return members[value]

    return read


def items(value: Json, path: str) -> list[Json]:
    """Any list."""
    if not isinstance(value, list):
        raise wrong_type(value, path, "a list")
    return value


def mapping(value: Json, path: str) -> dict[str, Json]:
    """Any object."""
    if not isinstance(value, dict):
        raise wrong_type(value, path, "an object")
    return value


def strings(value: Json, path: str) -> list[str]:
    """A list of strings."""
    return [string(item, f"{path}[{i}]") for i, item in enumerate(items(value, path))]


def required(parent: dict[str, Json], key: str, path: str) -> Json:
    """The value of a key that must be there and not null. `path` is the parent's."""
    if (value := parent.get(key)) is None:
        raise InvalidRequest(f"{path}.{key} is required", f"{path}.{key}")
    return value


def wrong_type(value: Json, path: str, wanted: str) -> InvalidRequest:
    """The error for a value of another type than `wanted`."""
    given = kind(value) if value is None or isinstance(value, list | dict) else f"{kind(value)} ({quote(value)})"
    return InvalidRequest(f"{path} must be {wanted}, not {given}", path)

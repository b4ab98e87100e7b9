"""Readers of single JSON values: each takes a value and its path, and gives what the contract holds.

A reader checks the type, and what protobuf cannot hold. Ranges are the server's business: a reader's schema tells of
them and the reader does not look. Each reader carries the JSON Schema of what it reads, for the API's description.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from glmserve_gateway.body import Json, kind, quote
from glmserve_gateway.errors import InvalidRequest

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Schema: TypeAlias = Mapping[str, Any]
"""A JSON Schema (2020-12)."""


class Reader(Protocol[T_co]):
    """Gives the contract's form of a JSON value; raises `InvalidRequest` naming the path."""

    schema: Schema

    def __call__(self, value: Json, path: str, /) -> T_co:
        """`value` is never null, unless a list or an object holds it."""
        ...


def reads(schema: Schema) -> Callable[[Callable[[Json, str], T]], Reader[T]]:
    """Makes a function a reader of what `schema` describes."""

    def mark(read: Callable[[Json, str], T]) -> Reader[T]:
        reader = cast(Reader[T], read)
        reader.schema = schema
        return reader

    return mark


UINT32_MAX = 2**32 - 1
INT64_MAX = 2**63 - 1


@reads({"type": "boolean"})
def boolean(value: Json, path: str) -> bool:
    """`true` or `false`."""
    if not isinstance(value, bool):
        raise wrong_type(value, path, "a boolean")
    return value


@reads({"type": "number"})
def number(value: Json, path: str) -> float:
    """Any finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(value, path, "a number")
    try:
        return float(value)
    except OverflowError:
        raise InvalidRequest(f"{path} is too large a number: {quote(value)}", path) from None


def ranged(least: float, most: float) -> Reader[float]:
    """Numbers, of which the server takes those from `least` to `most`."""

    @reads({"type": "number", "minimum": least, "maximum": most})
    def read(value: Json, path: str) -> float:
        return number(value, path)

    return read


def integer(least: int, most: int) -> Reader[int]:
    """Integers from `least` to `most`; `1.0` is one, as in JSON Schema."""

    @reads({"type": "integer", "minimum": least, "maximum": most})
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


def count(*, least: int, most: int = UINT32_MAX) -> Reader[int]:
    """Integers that a uint32 holds, of which the server takes those from `least` to `most`."""
    whole = integer(0, UINT32_MAX)

    @reads({"type": "integer", "minimum": least, "maximum": most})
    def read(value: Json, path: str) -> int:
        if isinstance(value, int) and value < 0:
            raise InvalidRequest(f"{path} must be at least {least}, not {quote(value)}", path)
        return whole(value, path)

    return read


@reads({"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": UINT32_MAX}})
def token_ids(value: Json, path: str) -> list[int]:
    """A list of token ids, which can be long."""
    ids = items(value, path)
    if all(type(number) is int and 0 <= number <= UINT32_MAX for number in ids):
        return ids
    one = integer(0, UINT32_MAX)
    return [one(number, f"{path}[{i}]") for i, number in enumerate(ids)]


@reads({"type": "string"})
def string(value: Json, path: str) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise wrong_type(value, path, "a string")
    return value


def one_of(members: dict[str, T]) -> Reader[T]:
    """One of a closed set of strings."""

    @reads({"type": "string", "enum": list(members)})
    def read(value: Json, path: str) -> T:
        if string(value, path) not in members:
            raise InvalidRequest(f"{path} must be one of {', '.join(members)}, not {quote(value)}", path)
        return members[value]

    return read


@reads({"type": "array"})
def items(value: Json, path: str) -> list[Json]:
    """Any list."""
    if not isinstance(value, list):
        raise wrong_type(value, path, "a list")
    return value


@reads({"type": "object"})
def mapping(value: Json, path: str) -> dict[str, Json]:
    """Any object."""
    if not isinstance(value, dict):
        raise wrong_type(value, path, "an object")
    return value


@reads({"type": "array", "items": {"type": "string"}})
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

"""Bytes of a JSON body to Python values, and parts of it back to JSON.

Knows nothing about chat. Key order is kept everywhere, and integers of any size are exact.
"""

import json
from typing import Any, TypeAlias

import orjson

from glmserve_gateway.errors import InvalidRequest

MAX_DEPTH = 64
"""How deep objects and lists may be nested. Whatever reads a schema later may recurse safely."""

MAX_VALUES = 262_144
"""How many values a body may hold, in objects and lists of any depth. 30 MB of brackets would hold the event loop for
more than a second while they become Python objects, and again when these are freed."""

_LEAST_ROUNDED = 2.0**63  # orjson makes floats of integers above 64 bits
_QUOTE_LENGTH = 64

Json: TypeAlias = Any
"""What `orjson.loads` gives. Readers check the type before they use a value."""


def decode(data: bytes) -> dict[str, Json]:
    """The JSON object in `data`; raises `InvalidRequest` saying where it is not one."""
    _count_values(data)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise InvalidRequest(f"the request body is not JSON: {error.msg} at {place}") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"the request body must be a JSON object, not {kind(value)}")
    if _survey(value):
        exact: dict[str, Json] = json.loads(data)
        return exact
    return value


def encode(value: Json) -> str:
    """JSON of `value`, short, with the keys in their order and integers exact."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # an integer above 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def kind(value: Json) -> str:
    """What JSON calls the type of `value`, with an article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def quote(value: Json) -> str:
    """`value` as JSON for an error message: shortened, because it may be a whole picture."""
    if isinstance(value, str):
        value = value[: _QUOTE_LENGTH + 1]
    elif isinstance(value, list | dict):
        return kind(value)
    text = encode(value)
    return text if len(text) <= _QUOTE_LENGTH else text[:_QUOTE_LENGTH] + "…"


def _count_values(data: bytes) -> None:
    """Refuses too many values before anything is made of them: a comma or a bracket stands before each."""
    if len(data) < 2 * MAX_VALUES or _count_marks(data) < MAX_VALUES:  # even with those that are text
        return
    unescaped = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = unescaped.split(b'"', 4 * MAX_VALUES)[::2]  # a value has a string and a key at the most
    if len(outside) > 2 * MAX_VALUES or _count_marks(b"".join(outside)) >= MAX_VALUES:
        raise InvalidRequest(f"the request body may hold at most {MAX_VALUES} values")


def _count_marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _survey(value: dict[str, Json]) -> bool:
    """Refuses deep nesting, and says whether there are numbers that orjson may have rounded to floats."""
    level: list[Json] = [value]
    huge = False
    for _ in range(MAX_DEPTH):
        deeper: list[Json] = []
        for node in level:
            for child in node.values() if type(node) is dict else node:
                form = type(child)
                if form is dict or form is list:
                    deeper.append(child)
                elif form is float and abs(child) >= _LEAST_ROUNDED:
                    huge = True
        if not deeper:
            return huge
        level = deeper
    raise InvalidRequest(f"the request body is nested deeper than {MAX_DEPTH} levels")

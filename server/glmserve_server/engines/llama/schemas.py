"""Bounds JSON Schemas before llama.cpp makes grammars of them: a grammar takes memory for every repetition and time for
every way in which it can be read, while all other conversations wait.

What holds most answers to a schema in llama.cpp is llguidance. It passes over a schema that it cannot compile, so the
schema is compiled here first, with llguidance's own package, and refused.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve_server.engines.llama.form import matcher
from glmserve_server.errors import InvalidArgument

MAX_NODES: Final = 2048
MAX_PROPERTIES: Final = 256
MAX_REPEAT: Final = 1000
MAX_TOTAL_REPEAT: Final = 4000
MAX_PATTERN: Final = 256
MAX_PATTERN_REPEAT: Final = 4096
"""The product of all counts in a pattern."""
MAX_BYTES: Final = 64 * 1024
"""Of all schemas of a request together."""

_REPEATS: Final = tuple(end + what for what in ("Items", "Length", "Properties", "Contains") for end in ("min", "max"))
_NUMBERS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_LARGEST: Final = 1 << 53
_COUNTS: Final = re.compile(r"\{(\d*)(?:,(\d*))?\}")
_NESTED: Final = re.compile(r"[*+?}]\)+[*+?{]|\|\)+[*+?{]|\(\|[^)]*\)[*+?{]")
"""A repetition, or a choice of nothing, right at the end of a group that is repeated itself."""


def check(request: ChatCompletionRequest) -> None:
    """Checks all schemas of a request. Raises `InvalidArgument` naming the field."""
    left = MAX_BYTES
    for field, text in _schemas(request):
        left -= len(text)
        if left < 0:
            raise InvalidArgument(f"{field}: all schemas together may have at most {MAX_BYTES} characters", field=field)
        _Check(field).schema(json.loads(text))


def fault(schema: Any) -> str | None:
    """Why llama.cpp could not hold an answer to a schema, in a line; None: it can. For a thread."""
    tried = matcher(schema)
    if not tried.is_error():
        tried.compute_bitmask()
    if not tried.is_error():
        return None
    text: str = tried.get_error().rpartition("failed to compile JSON schema:")[2].partition("\n   1 |")[0]
    words = text.partition("<state>")[0].split()
    return " ".join(words)[:200] if len(words) > 1 else "no text follows it"


def check_response_format(request: ChatCompletionRequest) -> None:
    """Raises `InvalidArgument` for a schema that answers cannot be held to. For a thread."""
    if request.response_format.HasField("json_schema"):
        field = "response_format.json_schema.schema_json"
        if (reason := fault(json.loads(request.response_format.json_schema.schema_json))) is not None:
            raise InvalidArgument(f"{field} cannot be followed: {reason}", field=field)


def _schemas(request: ChatCompletionRequest) -> Iterator[tuple[str, str]]:
    if request.response_format.HasField("json_schema"):
        yield "response_format.json_schema.schema_json", request.response_format.json_schema.schema_json
    for index, tool in enumerate(request.tools):
        if tool.function.HasField("parameters_json"):
            yield f"tools[{index}].function.parameters_json", tool.function.parameters_json


class _Check:
    """One schema."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._nodes = 0
        self._repeats = 0

    def schema(self, node: Any) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._wrong(f"has more than {MAX_NODES} parts")
        if isinstance(node, list):
            for item in node:
                self.schema(item)
        if isinstance(node, dict):
            self._object(node)

    def _object(self, node: dict[str, Any]) -> None:
        if isinstance(properties := node.get("properties"), dict) and len(properties) > MAX_PROPERTIES:
            raise self._wrong(f"has an object with {len(properties)} properties; {MAX_PROPERTIES} are possible")
        for name in _REPEATS:
            if isinstance(value := node.get(name), int | float):
                self._repeat(name, value)
        for name in _NUMBERS:
            value = node.get(name)
            if isinstance(value, int | float) and not -_LARGEST <= value <= _LARGEST:
                raise self._wrong(f"has the {name} {_shown(value)}, beyond ±2^53")
        if isinstance(reference := node.get("$ref"), str) and not reference.startswith("#"):
            raise self._wrong(f"refers to {reference[:64]!r}; only references within it (#...) are possible")
        if isinstance(pattern := node.get("pattern"), str):
            self._pattern(pattern)
        if isinstance(patterns := node.get("patternProperties"), dict):
            for pattern in patterns:
                self._pattern(pattern)
        for value in node.values():
            self.schema(value)

    def _repeat(self, name: str, value: float) -> None:
        if not 0 <= value <= MAX_REPEAT:
            raise self._wrong(f"has the {name} {_shown(value)}; 0 to {MAX_REPEAT} are possible")
        self._repeats += int(value)
        if self._repeats > MAX_TOTAL_REPEAT:
            raise self._wrong(f"has lengths that add up to more than {MAX_TOTAL_REPEAT}")

    def _pattern(self, pattern: str) -> None:
        if len(pattern) > MAX_PATTERN:
            raise self._wrong(f"has a pattern of {len(pattern)} characters; {MAX_PATTERN} are possible")
        counts = [int(count[:9]) for pair in _COUNTS.findall(pattern) for count in pair if count]
        if math.prod(max(count, 1) for count in counts) > MAX_PATTERN_REPEAT:  # they may be nested
            raise self._wrong(f"has a pattern that repeats more than {MAX_PATTERN_REPEAT} times: {pattern[:64]!r}")
        if _NESTED.search(pattern):
            raise self._wrong(f"has a pattern with a repetition of repetitions: {pattern[:64]!r}")

    def _wrong(self, what: str) -> InvalidArgument:
        return InvalidArgument(f"{self._field} {what}", field=self._field)


def _shown(value: float) -> str:
    """A number for people; of one without bounds the beginning."""
    try:
        return f"{value:g}"
    except OverflowError:
        return f"{str(value)[:12]}…"

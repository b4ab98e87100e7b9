"""Text that looks like a special token stays text, though llama.cpp reads special tokens wherever it finds their
letters in a prompt: each is broken behind its first letter by a character that nobody sees.
"""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import groupby, takewhile
from operator import itemgetter
from typing import Any, Final

from glmserve_server.errors import InvalidArgument

JOINER: Final = "\u2060"
"""WORD JOINER: no space and no letter, and nowhere can a line be broken there."""

_PROSE: Final = frozenset(["description", "title"])
"""Keys of a schema whose texts bind nothing."""


class SpecialTokens:
    """Those of one model, by their texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        heads = groupby(sorted(text for text in texts if len(text) > 1), itemgetter(0))
        self._patterns = {
            head: re.compile(f"{re.escape(head)}(?={_any_of([text[1:] for text in group])})") for head, group in heads
        }

    def broken(self, text: str) -> str:
        """The text without the letters of any special token."""
        for head, pattern in self._patterns.items():
            text = pattern.sub(head.replace("\\", r"\\") + JOINER, text)
        return text

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message of OpenAI's JSON with all its texts broken; the arguments of its calls, which are JSON, within.
        Pictures, which have no text, stay as they are."""
        content, rest = message["content"], {key: value for key, value in message.items() if key != "content"}
        made: dict[str, Any] = {**self._value(rest), "role": message["role"], "content": self._content(content)}
        for call, given in zip(made.get("tool_calls", ()), message.get("tool_calls", ()), strict=True):
            call["type"] = given["type"]
            call["function"]["arguments"] = self._json(given["function"]["arguments"])
        return made

    def tool(self, tool: dict[str, Any], field: str) -> dict[str, Any]:
        """A declared function, which is in `field`, its descriptions broken. Raises `InvalidArgument` where the model
        would have to write the letters of a special token: in names and in values."""
        function = dict(tool["function"])
        self._check(function["name"], f"{field}.name")
        if "description" in function:
            function["description"] = self.broken(function["description"])
        if "parameters" in function:
            function["parameters"] = self._schema(function["parameters"], f"{field}.parameters_json")
        return {**tool, "function": function}

    def _content(self, content: str | list[dict[str, Any]] | None) -> Any:
        if isinstance(content, list):
            return [{**part, "text": self.broken(part["text"])} if part["type"] == "text" else part for part in content]
        return self._value(content)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.broken(value)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, dict):
            return {self.broken(key): self._value(item) for key, item in value.items()}
        return value

    def _json(self, text: str) -> str:
        value = json.loads(text)
        broken = self._value(value)
        return text if broken == value else json.dumps(broken, ensure_ascii=False)

    def _schema(self, node: Any, field: str) -> Any:
        if isinstance(node, list):
            return [self._schema(item, field) for item in node]
        if isinstance(node, dict):
            return {
                self._check(key, field): self.broken(value)
                if key in _PROSE and isinstance(value, str)
                else self._schema(value, field)
                for key, value in node.items()
            }
        return self._check(node, field) if isinstance(node, str) else node

    def _check(self, text: str, field: str) -> str:
        if self.broken(text) != text:
            raise InvalidArgument(
                f"{field}: {text[:64]!r} has the letters of a special token of this model, which it cannot write",
                field=field,
            )
        return text


def _any_of(texts: Sequence[str]) -> str:
    """A pattern that matches where one of the texts, which are sorted, begins. What they share is looked at once."""
    if texts[0] == "":
        return ""  # no need to look further
    made = []
    for _, group in groupby(texts, itemgetter(0)):
        same = list(group)
        size = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(same[0], same[-1], strict=False)))
        made.append(re.escape(same[0][:size]) + _any_of([text[size:] for text in same]))
    return made[0] if len(made) == 1 else f"(?:{'|'.join(made)})"

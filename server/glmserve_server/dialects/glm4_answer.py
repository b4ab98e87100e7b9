"""Reads GLM-4's answers: text, thoughts, and calls of the form `NAME\\n{…}`.

An answer is one or several turns of the assistant's. A turn's first line is its metadata: empty for text, the name of
the tool for a call, whose arguments follow. A call is also found at the beginning of any later line, because models
write a sentence before it. Only a declared name followed by a JSON object makes a call; everything else is text.
"""

import enum
import json
from collections.abc import Iterator, Sequence

from glmserve_server.dialects.builtins import BARE, browser_arguments
from glmserve_server.dialects.deltas import Arguments, Call, Delta, Text
from glmserve_server.dialects.jsonobject import JsonObject
from glmserve_server.dialects.thinking import Thoughts
from glmserve_server.dialects.toolbox import Toolbox


class _State(enum.Enum):
    LINE = "at the beginning of a line, which may be a call's"
    TEXT = "in a line of text"
    FORCED = "before the arguments of the call that the prompt began"
    OBJECT = "in the JSON object of a call"
    BARE = "in the bare text of a built-in tool's call, to the end of the turn"
    BROKEN = "in arguments that are no JSON object, to the end of the turn"


class Glm4Parser:
    """See `Parser`. Holds back what may become a call's first line, and the arguments of `simple_browser`."""

    def __init__(self, toolbox: Toolbox, *, thinking: bool = False) -> None:
        """`thinking`: the answer begins with thoughts, whose first mark was in the prompt."""
        self._names = toolbox.callable
        self._builtins = frozenset(toolbox.builtins)
        self._thoughts = Thoughts(begun=thinking)
        self._held = ""
        self._first = True  # the newline that ends the metadata of a text is not part of it
        self._turn_begins = True
        self._after_call = False
        self._must_call = len(toolbox.required) > 0  # the prompt or the worker saw to it that a name comes first
        self._object = JsonObject()
        self._tool = ""
        self._state = _State.LINE
        if len(toolbox.required) == 1:
            self._tool, self._state = toolbox.required[0], _State.FORCED
            self._thoughts.done = True

    @property
    def thinking(self) -> bool:
        """See `Parser.thinking`."""
        return self._thoughts.thinking

    def feed(self, text: str) -> Sequence[Delta]:
        """See `Parser.feed`."""
        if self._thoughts.done:
            return list(self._read(text))
        thoughts, text = self._thoughts.feed(text)
        return [*thoughts, *self._read(text)]

    def turn(self) -> Sequence[Delta]:
        """See `Parser.turn`. Among thoughts it means nothing."""
        if not self._thoughts.done:
            return ()
        deltas = list(self._finish(whole=True, called=False))
        self._state, self._turn_begins = _State.LINE, True
        return deltas

    def end(self, *, whole: bool, called: bool) -> Sequence[Delta]:
        """See `Parser.end`."""
        thoughts, text = self._thoughts.flush()
        return [*thoughts, *self._read(text), *self._finish(whole=whole, called=called)]

    def _read(self, text: str) -> Iterator[Delta]:
        """Goes from state to state until no more can be said about what is held."""
        self._held += text
        state = None
        while self._held and state != self._state:
            state = self._state
            match state:
                case _State.LINE:
                    yield from self._line()
                case _State.TEXT:
                    yield from self._text()
                case _State.FORCED:
                    yield from self._forced()
                case _State.OBJECT:
                    yield from self._arguments()
                case _State.BARE:
                    yield from self._bare()
                case _State.BROKEN:
                    yield from self._all_as(Arguments)

    def _line(self) -> Iterator[Delta]:
        front = self._held.lstrip()
        name, newline, rest = front.partition("\n")
        if (self._names or self._builtins) and self._undecided(front):
            return
        name, body = name.rstrip(), rest.lstrip()
        if newline and name in self._builtins and self._turn_begins:
            self._held = rest
            yield from self._call(name, _State.BARE)
        elif newline and name in self._names and (body.startswith("{") or self._must_call):
            self._held = body
            yield from self._call(name, _State.OBJECT if body.startswith("{") else _State.BROKEN)
        else:
            yield from self._lead(self._held[: len(self._held) - len(front)])
            self._held, self._state = front, _State.TEXT

    def _undecided(self, front: str) -> bool:
        """Whether this could still become the first line of a call, and the beginning of its arguments."""
        name, newline, rest = front.partition("\n")
        if newline:
            return name.rstrip() in self._names and not rest.lstrip()
        known = self._names | self._builtins if self._turn_begins else self._names
        return name.rstrip() in known or any(one.startswith(name) for one in known)

    def _lead(self, space: str) -> Iterator[Delta]:
        """White space before a line of text: not told after a call."""
        if self._first:
            space = space.removeprefix("\n")
        if space and not self._after_call:
            yield Text(space)
        self._first = self._turn_begins = self._after_call = False

    def _text(self) -> Iterator[Delta]:
        """Gives the rest of the line; its newline is held, because before a call it is no text."""
        end = self._held.find("\n") if self._names else -1
        if end < 0:
            yield from self._all_as(Text)
            return
        if end > 0:
            yield Text(self._held[:end])
        self._held, self._state = self._held[end:], _State.LINE

    def _forced(self) -> Iterator[Delta]:
        self._held = self._held.lstrip()
        if self._held:
            yield from self._call(self._tool, _State.OBJECT if self._held[0] == "{" else _State.BROKEN)

    def _call(self, name: str, state: _State) -> Iterator[Delta]:
        self._first = self._turn_begins = self._must_call = False
        self._after_call = True
        self._tool, self._state, self._object = name, state, JsonObject()
        yield Call(name)
        if state is _State.BARE and name in BARE:
            yield Arguments(f'{{"{BARE[name]}": "')

    def _arguments(self) -> Iterator[Delta]:
        size = self._object.feed(self._held)
        yield Arguments(self._held[:size])
        self._held = self._held[size:]
        if self._object.closed:
            self._state = _State.LINE

    def _bare(self) -> Iterator[Delta]:
        if self._tool in BARE:
            text, self._held = self._held, ""
            yield Arguments(json.dumps(text, ensure_ascii=False)[1:-1])

    def _all_as(self, kind: type[Text] | type[Arguments]) -> Iterator[Delta]:
        text, self._held = self._held, ""
        yield kind(text)

    def _finish(self, *, whole: bool, called: bool) -> Iterator[Delta]:
        """The turn has ended."""
        held, self._held = self._held, ""
        match self._state:
            case _State.LINE if self._called(held, whole=whole, called=called):
                yield from self._named(held.strip(), whole=whole)
            case _State.LINE if self._must_call and not whole:
                return  # cut in the name
            case _State.LINE if held.strip() or not (self._first or self._after_call):
                front = held.lstrip()
                yield from self._lead(held[: len(held) - len(front)])
                if front:
                    yield Text(front)
            case _State.FORCED:
                yield from self._named(self._tool, whole=whole)
            case _State.BARE if self._tool not in BARE:
                arguments = browser_arguments(held) if held.strip() else "{}"
                yield Arguments(arguments if whole else held)
            case _State.BARE if whole:
                yield Arguments('"}')

    def _named(self, name: str, *, whole: bool) -> Iterator[Delta]:
        """A call of which nothing came but the name. A function's name is never a built-in tool's."""
        if name not in self._names:
            yield from self._call(name, _State.BARE)
            yield from self._finish(whole=whole, called=True)
            return
        yield from self._call(name, _State.BROKEN)
        if whole:
            yield Arguments("{}")

    def _called(self, held: str, *, whole: bool, called: bool) -> bool:
        """Whether a name without arguments is a call. Where the answer was cut, the name may be half of another."""
        named = held.strip() in self._names | self._builtins
        return named and (called or (self._must_call and (whole or "\n" in held.lstrip())))

"""Reads ChatGLM3's answers: text, and calls of the form `NAME\\n ```python\\ntool_call(…)\\n``` `.

An answer is one or several turns of the assistant's. A turn's first line is its metadata: empty for text, the name of
the function or `interpreter` for a call, whose block of Python follows. A call is also found at the beginning of any
later line, because models write a sentence before it. Only a declared name followed by a block or by `tool_call(` makes
a call; everything else is text.

Callers see the arguments of `tool_call` as JSON once it is complete. What is no call with literals they see as the
model wrote it, which is no JSON. The code for the interpreter is `{"code": …}`, and comes piece by piece.
"""

import enum
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from glmserve_server.dialects import pythoncall
from glmserve_server.dialects.chatglm3_tools import CALL_BEGINS, INTERPRETER
from glmserve_server.dialects.deltas import Arguments, Call, Delta, Text
from glmserve_server.dialects.pythoncall import FENCE, PythonCall
from glmserve_server.dialects.toolbox import Toolbox
from glmserve_server.text import overlap

_CALL: Final = f"{pythoncall.NAME}("
_END: Final = f"\n{FENCE}"


class _State(enum.Enum):
    LINE = "at the beginning of a line, which may be a call's"
    TEXT = "in a line of text"
    FORCED = "in the call that the prompt began"
    BLOCK = "in the first line of a call's block"
    SOURCE = "before the call in the block"
    CALL = "in the call"
    CODE = "in the code for the interpreter"
    BROKEN = "in a block that holds something else"
    AFTER = "after a call, where its block may still have to end"


class ChatGlm3Parser:
    """See `Parser`. Holds back what may become a call's first line, and the call until it is complete."""

    thinking = False

    def __init__(self, toolbox: Toolbox) -> None:
        self._names = {name: name for name in toolbox.callable}
        if "python" in toolbox.builtins:
            self._names[INTERPRETER] = "python"
        self._held = ""
        self._turn_begins = True
        self._told = False  # whether there was text before
        self._after_call = False
        self._must_call = len(toolbox.required) > 0  # the prompt or the worker saw to it that a name comes first
        self._name = ""
        self._call = PythonCall()
        self._fresh = False  # at the line break before a block's first line
        self._empty = False  # whether nothing of the arguments has been told yet
        self._state = _State.LINE
        if len(toolbox.required) == 1:
            self._name, self._state = toolbox.required[0], _State.FORCED

    def feed(self, text: str) -> Sequence[Delta]:
        """See `Parser.feed`."""
        self._held += text
        return list(self._read())

    def turn(self) -> Sequence[Delta]:
        """See `Parser.turn`."""
        deltas = list(self._finish(whole=True, called=False))
        self._state, self._turn_begins = _State.LINE, True
        return deltas

    def end(self, *, whole: bool, called: bool) -> Sequence[Delta]:
        """See `Parser.end`."""
        return list(self._finish(whole=whole, called=called))

    def _read(self) -> Iterator[Delta]:
        """Goes from state to state until no more can be said about what is held."""
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
                case _State.BLOCK:
                    yield from self._block()
                case _State.SOURCE:
                    self._source()
                case _State.CALL:
                    yield from self._arguments()
                case _State.CODE | _State.BROKEN:
                    yield from self._lines()
                case _State.AFTER:
                    yield from self._after()

    def _line(self) -> Iterator[Delta]:
        front = self._held.lstrip()
        if self._undecided(front):
            return
        name, newline, rest = front.partition("\n")
        name, body = name.rstrip(), rest.lstrip()
        if newline and name in self._names and body.startswith(self._marks(name)):
            self._held = body
            yield from self._begin(name)
        else:
            yield from self._lead(self._held[: len(self._held) - len(front)], front)
            self._held, self._state, self._told = front, _State.TEXT, True

    def _undecided(self, front: str) -> bool:
        """Whether this could still become the first line of a call, and the beginning of its block."""
        if not front:
            return True
        name, newline, rest = front.partition("\n")
        name, body = name.rstrip(), rest.lstrip()
        if newline:
            return name in self._names and _begun(body, self._marks(name))
        return name in self._names or _begun(name, self._names)

    def _marks(self, name: str) -> tuple[str, ...]:
        """What must follow a tool's name for a call."""
        return (FENCE,) if self._interpreted(name) else (FENCE, _CALL)

    def _interpreted(self, name: str) -> bool:
        return self._names[name] != name

    def _lead(self, space: str, front: str) -> Iterator[Delta]:
        """White space before a line of text: not told after a call. A turn's first line is not part of its text, nor is
        the space that the encoder puts before the rest. What two turns say is told as two lines."""
        if self._turn_begins:
            line, newline, rest = space.partition("\n")
            space = rest.removeprefix(" ") if newline else line
            space = f"\n{space}" if self._told and space + front else space
        if space and not self._after_call:
            yield Text(space)
        self._turn_begins = self._after_call = False

    def _text(self) -> Iterator[Delta]:
        """Gives the rest of the line; its newline is held, because before a call it is no text."""
        end = self._held.find("\n") if self._names else -1
        end = len(self._held) if end < 0 else end
        text, self._held = self._held[:end], self._held[end:]
        if text:
            yield Text(text)
        if self._held:
            self._state = _State.LINE

    def _begin(self, name: str) -> Iterator[Delta]:
        """A call begins, after a first line of this name."""
        self._turn_begins = self._must_call = False
        self._after_call = self._fresh = self._empty = True
        self._name, self._state = name, _State.BLOCK
        yield Call(self._names[name])

    def _forced(self) -> Iterator[Delta]:
        yield from self._begin(self._name)
        self._call, self._state = PythonCall(_CALL), _State.CALL

    def _block(self) -> Iterator[Delta]:
        line, newline, _ = self._held.partition("\n")
        if self._held.startswith(FENCE):
            if not newline:
                return
            self._held = self._held[len(line) :]
        self._state = _State.SOURCE
        if self._interpreted(self._name):
            self._state = _State.CODE
            yield Arguments('{"code": "')

    def _source(self) -> None:
        front = self._held.lstrip()
        if front.startswith(pythoncall.NAME):
            self._held, self._call, self._state = front, PythonCall(), _State.CALL
        elif not pythoncall.NAME.startswith(front):
            self._state = _State.BROKEN

    def _arguments(self) -> Iterator[Delta]:
        self._held = self._call.feed(self._held)
        if self._call.closed:
            yield from self._complete()
            self._state = _State.AFTER

    def _complete(self) -> Iterator[Delta]:
        source = self._call.source
        yield Arguments(pythoncall.arguments(source) or source)

    def _lines(self) -> Iterator[Delta]:
        """Lines of a block, to its end."""
        end = self._held.find(_END)
        size = len(self._held) - overlap(self._held, _END) if end < 0 else end
        text, self._held = self._held[:size], self._held[size:]
        if text or end >= 0:
            yield from self._told_lines(text)
        if end >= 0:
            self._held = self._held[len(_END) :]
            yield from self._close()
            self._state = _State.AFTER

    def _told_lines(self, text: str) -> Iterator[Delta]:
        text = text.removeprefix("\n") if self._fresh else text
        if self._state is _State.CODE:
            text = json.dumps(text, ensure_ascii=False)[1:-1]
        self._fresh = False
        if text:
            self._empty = False
            yield Arguments(text)

    def _close(self) -> Iterator[Delta]:
        if self._state is _State.CODE:
            yield Arguments('"}')
        elif self._empty:
            yield Arguments("{}")

    def _after(self) -> Iterator[Delta]:
        front = self._held.lstrip()
        if front.startswith(FENCE):
            self._held, self._state = front[len(FENCE) :], _State.LINE
        elif front.startswith(_CALL) and not self._interpreted(self._name):
            self._held = front
            yield from self._begin(self._name)
        elif not _begun(front, (FENCE, _CALL)):
            self._state = _State.LINE

    def _finish(self, *, whole: bool, called: bool) -> Iterator[Delta]:
        """The turn has ended."""
        if self._state is _State.FORCED:
            yield from self._forced()
        held, self._held = self._held, ""
        match self._state:
            case _State.LINE:
                yield from self._last_line(held, whole=whole, called=called)
            case _State.BLOCK | _State.SOURCE:
                yield from self._without_call(held, whole=whole)
            case _State.CALL if self._call.source != _CALL:
                yield from self._complete()
            case _State.CALL if whole:
                yield Arguments("{}")
            case _State.CODE | _State.BROKEN:
                yield from self._told_lines(held)
                if whole:
                    yield from self._close()
            case _State.AFTER if (rest := held.strip()) and not FENCE.startswith(rest):
                yield Text(rest)

    def _last_line(self, held: str, *, whole: bool, called: bool) -> Iterator[Delta]:
        front = held.lstrip()
        name, newline, body = front.partition("\n")
        wanted = called or (self._must_call and (whole or newline))  # what was cut may be half of another name
        if wanted and name.rstrip() in self._names and CALL_BEGINS.startswith(body.strip()):
            yield from self._begin(name.rstrip())
            yield from self._without_call("", whole=whole)
            return
        if self._must_call and not whole:
            return  # cut in the name
        if front or self._turn_begins or not self._after_call:
            yield from self._lead(held[: len(held) - len(front)], front)
        if front:
            self._told = True
            yield Text(front)

    def _without_call(self, held: str, *, whole: bool) -> Iterator[Delta]:
        """The arguments of a call of which only the name came, and perhaps the beginning of a block."""
        rest = held.strip().removeprefix(FENCE).removeprefix("python").strip()
        if whole and self._interpreted(self._name):
            yield Arguments(json.dumps({"code": rest}, ensure_ascii=False))
        elif whole or rest:
            yield Arguments(rest or "{}")


def _begun(text: str, marks: Iterable[str]) -> bool:
    """Whether the text could become one of the marks, but is none yet."""
    return any(mark.startswith(text) and mark != text for mark in marks)

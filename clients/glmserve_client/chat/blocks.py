"""Cuts Markdown that is still being written into pieces that will not change any more. Knows no terminal.

A block is finished once the next one has begun on a whole line; an item of a list once the next item has; a line of
a code block at its end. What is finished is handed out once, the rest may be looked at.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

LARGEST: Final = 16_384
"""Characters that may be unfinished; then they are cut wherever they are."""

_PARSER: Final = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["inline", "reference"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose:
    """A block of text, or an item of a list."""

    source: str
    number: int | None = None
    """That of an item in a numbered list, which need not be what its source says."""
    goes_on: bool = False
    """Whether it belongs to the piece before: no empty line goes between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Lines of a code block."""

    language: str
    lines: tuple[str, ...]
    """All that have come so far."""
    start: int
    """How many of `lines` were handed out before."""
    ends: bool
    """Whether these are the last."""

    @property
    def goes_on(self) -> bool:
        """Whether the block's head was handed out before."""
        return self.start > 0


Piece = Prose | Code


@dataclass(frozen=True, slots=True)
class _Unit:
    """Lines of the source from `start` to before `end`: a block or an item."""

    start: int
    end: int
    token: Token
    goes_on: bool
    number: int | None


class Blocks:
    """The pieces of one text."""

    def __init__(self) -> None:
        self._start_with("")

    def feed(self, text: str) -> list[Piece]:
        """Takes more of the text, and gives what is finished."""
        self._source += text
        lines = self._source.split("\n")
        units = self._units(lines[:-1])
        if not units:
            return self._bounded([])
        *finished, last = units
        pieces = [self._piece(unit, lines) for unit in finished]
        if last.token.type != "fence":
            self._start_with("\n".join(lines[last.start :]), goes_on=last.goes_on, number=last.number)
            return self._bounded(pieces)
        code = self._code(last, ends=_is_closed(last, lines))
        if code.ends:
            self._start_with(lines[-1])
        else:
            self._start_with("\n".join([lines[last.start], lines[-1]]), shown=code.lines)
        return self._bounded([*pieces, code] if code.ends or len(code.lines) > code.start else pieces)

    def cut(self, length: int) -> list[Piece]:
        """Finishes so many characters of the rest by force; what follows goes on from there."""
        lines, tail = self._source[:length].split("\n"), self._source[length:].lstrip(" \n")
        units = self._units(lines)
        pieces = [self._piece(unit, lines) for unit in units]
        if units and units[-1].token.type == "fence":
            code = pieces[-1] = self._code(units[-1], ends=False)
            self._start_with(f"{lines[units[-1].start]}\n{tail}", shown=code.lines)
        else:
            self._start_with(tail, goes_on=True)
        return pieces

    def close(self) -> list[Piece]:
        """The rest: the text has ended."""
        pieces = self.rest
        self._start_with("")
        return pieces

    @property
    def rest(self) -> list[Piece]:
        """What is not finished, as it would look if nothing more came."""
        lines = self._source.split("\n")
        return [self._piece(unit, lines) for unit in self._units(lines)]

    def _start_with(
        self, source: str, *, goes_on: bool = False, number: int | None = None, shown: tuple[str, ...] = ()
    ) -> None:
        """What is not finished, and what is to be known of its first unit."""
        self._source = source
        self._goes_on = goes_on
        self._number = number
        self._shown = shown
        """Lines that were handed out of the code block that the source begins with."""

    def _bounded(self, pieces: list[Piece]) -> list[Piece]:
        if len(self._source) <= LARGEST:
            return pieces
        end = max(self._source.rfind("\n"), self._source.rfind(" "))
        return pieces + self.cut(end if end > LARGEST // 2 else len(self._source))

    def _units(self, lines: Sequence[str]) -> list[_Unit]:
        return list(_units(lines, goes_on=self._goes_on, number=self._number))

    def _piece(self, unit: _Unit, lines: Sequence[str]) -> Piece:
        if unit.token.type == "fence":
            return self._code(unit, ends=True)
        return Prose(source="\n".join(lines[unit.start : unit.end]), number=unit.number, goes_on=unit.goes_on)

    def _code(self, unit: _Unit, *, ends: bool) -> Code:
        shown = self._shown if unit.start == 0 else ()
        lines = unit.token.content.removesuffix("\n").split("\n") if unit.token.content else []
        language = unit.token.info.partition(" ")[0]
        return Code(language=language, lines=(*shown, *lines), start=len(shown), ends=ends)


def _units(lines: Sequence[str], *, goes_on: bool, number: int | None) -> Iterator[_Unit]:
    """The blocks of the source, lists as their items. What is told is about the first one."""
    items: list[Token] = []
    for token in _PARSER.parse("\n".join(lines)):
        if token.type == "list_item_open" and token.level == 1:
            items.append(token)
        elif token.level == 0 and token.type.endswith("_list_open"):
            items = []
            if token.type == "bullet_list_open":
                number = None
            elif number is None or not goes_on:
                number = int(token.attrs.get("start", 1))
        elif token.level == 0 and token.type.endswith("_list_close"):
            for index, item in enumerate(items):
                start, end = item.map or (0, 0)
                place = None if number is None else number + index
                yield _Unit(start=start, end=end, token=item, goes_on=goes_on or index > 0, number=place)
            goes_on, number = False, None
        elif token.level == 0 and token.nesting >= 0:
            start, end = token.map or (0, 0)
            yield _Unit(start=start, end=end, token=token, goes_on=goes_on, number=None)
            goes_on, number = False, None


def _is_closed(unit: _Unit, lines: Sequence[str]) -> bool:
    """Whether the last line of the code block is the mark of its end."""
    mark = unit.token.markup
    last = lines[unit.end - 1]
    return (
        unit.end - unit.start > 1
        and re.fullmatch(rf" {{0,3}}{re.escape(mark)}{re.escape(mark[0])}*\s*", last) is not None
    )

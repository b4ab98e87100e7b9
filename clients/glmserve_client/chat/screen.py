"""Draws an answer while it comes: what is finished is printed once, the rest is drawn anew in its place."""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from glmserve_client.chat.blocks import Blocks, Piece, Prose
from glmserve_client.chat.markdown import rendered
from glmserve_client.terminal.printable import printable

_MOST_LINES: Final = 12
"""Lines of a paragraph that are drawn anew; its beginning is finished then, although it goes on."""


class Screen:
    """The place of one answer: `with Screen(console) as screen:`, then `add` as it comes and `draw` now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._blocks = Blocks()
        self._thinks = False
        self._begun = False
        self._new = ""
        self._tail: list[RenderableType] = []
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False,
            renderable=_End(self._tail),
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Prints the rest, also of an answer that was cut."""
        try:
            self._finish()
        finally:
            self._live.stop()

    def add(self, text: str, *, thinks: bool = False) -> None:
        """Takes the next piece of the answer, or of the thoughts."""
        if not text:
            return
        if thinks != self._thinks:
            self._finish()
            self._thinks = thinks
        self._new += printable(text)

    def draw(self, waiting: str = "") -> None:
        """Shows what has come, or `waiting` as long as nothing has."""
        new, self._new = self._new, ""
        if new:
            self._print(self._blocks.feed(new))
            self._print(self._overlong())
            self._tail[:] = self._drawn(self._blocks.rest, begun=self._begun)
            self._live.refresh()
        elif waiting and not self._begun and not self._blocks.rest:
            self._tail[:] = [Text(waiting, style="dim")]
            self._live.refresh()

    def _finish(self) -> None:
        new, self._new = self._new, ""
        pieces = [*self._blocks.feed(new), *self._blocks.close()]
        self._tail.clear()
        self._print(pieces)

    def _overlong(self) -> list[Piece]:
        """The beginning of a paragraph that has many lines, up to a line's end."""
        match self._blocks.rest:
            case [Prose(source=source) as only] if (height := self._height(only)) > _MOST_LINES:
                return self._blocks.cut(self._fitting(source, height - 2))
        return []

    def _fitting(self, source: str, lines: int) -> int:
        """The most characters of the source, up to white space, that fill so many lines and no more."""
        ends = [place for place, sign in enumerate(source) if sign in " \n"]
        low, high = 0, len(ends)
        while low < high:
            middle = (low + high) // 2
            if self._height(Prose(source=source[: ends[middle]])) <= lines:
                low = middle + 1
            else:
                high = middle
        return ends[low - 1] if low else len(source)

    def _height(self, piece: Piece) -> int:
        return len(self._console.render_lines(rendered(piece), pad=False))

    def _print(self, pieces: Sequence[Piece]) -> None:
        if pieces:
            self._tail.clear()
            self._console.print(Group(*self._drawn(pieces, begun=self._begun)))
            self._begun = True

    def _drawn(self, pieces: Sequence[Piece], *, begun: bool) -> list[RenderableType]:
        drawn: list[RenderableType] = []
        for piece in pieces:
            if (begun or drawn) and not piece.goes_on:
                drawn.append(Text())
            drawn.append(rendered(piece, dim=self._thinks))
        return drawn


class _End:
    """The last lines of what is inside: as many as the terminal can draw anew."""

    def __init__(self, inside: Sequence[RenderableType]) -> None:
        self._inside = inside

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(Group(*self._inside), options, pad=False) if self._inside else []
        for line in lines[-max(1, options.size.height - 2) :]:
            yield from line
            yield Segment.line()

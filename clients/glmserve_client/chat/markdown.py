"""Pieces of Markdown as they look on a terminal. Nothing of them can command it."""

from typing import Any, ClassVar, Final

import rich.markdown as rich_markdown
from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text
from typing_extensions import override

from glmserve_client.chat.blocks import Code, Piece, Prose
from glmserve_client.terminal.printable import printable

_PARSER: Final = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_PARSER.disable(["autolink", "image", "reference"])  # what they would hide is shown as it is written
_THEME: Final = "ansi_dark"
"""The sixteen colours of the terminal itself, on its own background."""
_CONTEXT: Final = 60
"""Lines of a code block before the ones to show that are read again for their colours."""
_DIM: Final = Style(dim=True)


def rendered(piece: Piece, *, dim: bool = False) -> RenderableType:
    """A piece, in the given order of pieces with an empty line before each that does not go on."""
    if isinstance(piece, Code):
        return _Safe(_code(piece), dim=dim)
    return _Safe(_Markdown(piece), dim=dim, stripped=True)


class _Safe:
    """What is inside, without control characters: also those that an entity or an escaped address decodes to."""

    def __init__(self, inside: RenderableType, *, dim: bool, stripped: bool = False) -> None:
        self._inside = inside
        self._style = _DIM if dim else None
        self._stripped = stripped

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [_trimmed(line) for line in console.render_lines(self._inside, options, pad=False)]
        while self._stripped and lines and not lines[0]:  # before a list
            del lines[0]
        while self._stripped and lines and not lines[-1]:  # after a table
            del lines[-1]
        for line in lines:
            yield from Segment.apply_style(line, post_style=self._style)
            yield Segment.line()


def _trimmed(line: list[Segment]) -> list[Segment]:
    """Safe, and without the white space at its end, which would be copied with it."""
    safe = [Segment(printable(one.text), one.style) for one in line if not one.control]
    while safe and not safe[-1].text.strip():
        safe.pop()
    return [*safe[:-1], Segment(safe[-1].text.rstrip(), safe[-1].style)] if safe else []


class _Heading(rich_markdown.Heading):
    LEVEL_ALIGN: ClassVar[dict[str, Any]] = {}


class _CodeBlock(rich_markdown.CodeBlock):
    """Inside a list or a quotation."""

    @override
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Padding(_syntax(str(self.text).rstrip("\n"), self.lexer_name), (0, 0, 0, 2))


class _Markdown(rich_markdown.Markdown):
    """Addresses are written out: one behind other words could lead anywhere."""

    elements: ClassVar[dict[str, type[rich_markdown.MarkdownElement]]] = {
        **rich_markdown.Markdown.elements,
        "heading_open": _Heading,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
    }

    def __init__(self, piece: Prose) -> None:
        super().__init__("", hyperlinks=False)
        self.parsed = _PARSER.parse(piece.source)
        if piece.number is not None and self.parsed:
            self.parsed[0].attrs["start"] = piece.number
        for token in self.parsed:
            for inline in token.children or ():
                if inline.type == "softbreak":  # models end lines where they mean it
                    inline.type = "hardbreak"


def _code(piece: Code) -> RenderableType:
    """The lines between two rules, without a margin: they are there to be copied."""
    first = max(0, piece.start - _CONTEXT)
    parts: list[RenderableType] = []
    if not piece.goes_on:
        parts.append(Rule(Text(printable(piece.language), style=_DIM), align="left", style=_DIM))
    if len(piece.lines) > piece.start:
        code = "\n".join(piece.lines[first:])
        parts.append(_syntax(code, piece.language, line_range=(piece.start - first + 1, None)))
    if piece.ends:
        parts.append(Rule(style=_DIM))
    return Group(*parts)


def _syntax(code: str, language: str, **options: Any) -> Syntax:
    return Syntax(code, language or "text", theme=_THEME, background_color="default", word_wrap=True, **options)

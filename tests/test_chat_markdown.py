"""How `glmserve chat` cuts and draws Markdown, whatever a model may write and however it arrives."""

import io
import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from glmserve_client.chat.blocks import LARGEST, Blocks, Code, Piece
from glmserve_client.chat.screen import Screen

LINES = ["{}", "- {}", "  - {}", "12. {}", "> {}", "# {}", "    {}", "| {} | x |", "|---|---|", "---", "```", "~~~", ""]
"""Forms of lines; a word stands in each pair of braces."""

SIGNS = [
    *(
        "- ",
        "1. ",
        "999999999. ",
        "> ",
        "```",
        "~~~",
        "```py\n",
        "\n",
        "\n\n",
        "    ",
        "\t",
        "| a | b |\n",
        "|---|:-:|\n",
    ),
    *("#", "---", "===", "**", "*", "`", "[x](", "http://x/%1b[31m", ")", "<b>", "&#27;", "\\", "word ", "long" * 40),
    *(
        "你好",
        "\u200d",
        "\x1b[2J",
        "\r",
        "\u202e",
        "![i](u)",
        "<http://a>",
        "[ref]: x",
        "~~",
        "\x07",
        "\x9b1m",
        "\ud800",
    ),
]


def cut(text: str, places: list[int]) -> list[str]:
    """The text, cut in these places."""
    ends = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(ends)]


def said(pieces: list[Piece]) -> list[str]:
    """The numbered words of pieces, in order."""
    texts = ["\n".join(one.lines[one.start :]) if isinstance(one, Code) else one.source for one in pieces]
    return re.findall(r"w\d+", "\n".join(texts))


@settings(max_examples=200, deadline=None)
@given(forms=st.lists(st.sampled_from(LINES), max_size=30), places=st.lists(st.integers(0, 10_000), max_size=40))
def test_no_word_is_lost_or_handed_out_twice(forms: list[str], places: list[int]) -> None:
    text = "\n".join(form.format(f"w{number}") for number, form in enumerate(forms))
    blocks = Blocks()
    pieces = [piece for part in cut(text, places) for piece in blocks.feed(part)]
    assert said(pieces) + said(blocks.rest) == re.findall(r"w\d+", text)
    assert said([*pieces, *blocks.close()]) == re.findall(r"w\d+", text)


@settings(max_examples=60, deadline=None)
@given(
    signs=st.lists(st.sampled_from(SIGNS), max_size=60),
    places=st.lists(st.integers(0, 10_000), max_size=10),
    width=st.sampled_from([4, 10, 20, 80]),
    height=st.sampled_from([3, 24]),
)
def test_whatever_comes_is_drawn_and_commands_nothing(
    signs: list[str], places: list[int], width: int, height: int
) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, height=height, _environ={"TERM": "xterm"})
    with Screen(console) as screen:
        for part in cut("".join(signs), places):
            screen.add(part)
            screen.draw()
    shown = re.sub(r"\x1b\[[?0-9;]*[mKAlh]", "", file.getvalue())  # colours, and what draws a line anew
    assert [sign for sign in shown if not (sign.isprintable() or sign in "\n\r\u200d")] == []


def test_what_never_ends_is_cut_and_nothing_is_lost() -> None:
    for text in [
        "w1 " * 20_000,
        "- w1\n  w2\n" * 2,
        "```\n" + "w1 " * 20_000,
        "| w1 | w2 |\n|---|---|\n" + "| w1 | w2 |\n" * 3000,
    ]:
        blocks = Blocks()
        pieces = [piece for start in range(0, len(text), 999) for piece in blocks.feed(text[start : start + 999])]
        assert all(len(piece.source) <= LARGEST + 999 for piece in pieces if not isinstance(piece, Code))
        assert said([*pieces, *blocks.close()]) == re.findall(r"w\d", text)

"""Text of unknown origin on a terminal, which would obey some of it: escape sequences, marks that turn writing around."""

from typing import Final

_OBEYED: Final = {
    **{code: None for code in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
    **{code: "\ufffd" for code in range(0xD800, 0xE000)},  # half characters, which no terminal takes
    0x2028: "\n",
    0x2029: "\n",
}
_TEXT: Final = {code: put for code, put in _OBEYED.items() if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """The text with its line ends and tabs, without what a terminal would obey."""
    return text.translate(_TEXT)


def one_line(text: str) -> str:
    """The same on one line: a name, or a reason."""
    return " ".join(printable(text).split())

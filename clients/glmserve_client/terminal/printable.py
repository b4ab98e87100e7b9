"""Text of unknown origin on a terminal, which obeys escape sequences and marks that turn the direction of writing."""

from typing import Final

_HALF_CHARACTERS: Final = range(0xD800, 0xE000)
"""No terminal takes them."""
_OBEYED: Final = {
    **dict.fromkeys([*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]),
    **dict.fromkeys(_HALF_CHARACTERS, "\ufffd"),
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

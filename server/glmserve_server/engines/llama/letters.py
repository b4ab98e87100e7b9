"""Bytes as GPT-2 writes them in the tokens of a file: each as one visible character."""

from typing import Final


def _letters() -> list[str]:
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(others)) for byte in range(256)]


_LETTERS: Final = _letters()
_BYTES: Final = {letter: byte for byte, letter in enumerate(_LETTERS)}


def written(token: bytes) -> str:
    """A token in letters."""
    return "".join(map(_LETTERS.__getitem__, token))


def read(letters: str) -> bytes:
    """The token that is written so. Raises KeyError for what is no letter."""
    return bytes(map(_BYTES.__getitem__, letters))

"""From the bytes that tokens stand for to text that may be shown: whole characters, and nothing of a stop string."""

import codecs
import re
from collections.abc import Iterable
from typing import Final

_HALF: Final = re.compile("[\ud800-\udfff]")


class Utf8:
    """Gives characters once all their bytes are there; bytes that can belong to no character become U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """The characters that `data` completes. A character that never gets its last byte is never given."""
        return self._decoder.decode(data)


class StopStrings:
    """Cuts a text, given in pieces, before the first place where one of some strings appears."""

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.matched: str | None = None
        """The string that appeared; the text has ended then."""

    def feed(self, piece: str) -> str:
        """The text that is safe to show now; what could still become a stop string is held back."""
        if not self._stops:
            return piece
        text = self._held + piece
        found = [(place, stop) for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            place, self.matched = min(found, key=lambda hit: hit[0])
            self._held = ""
            return text[:place]
        keep = max(overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back, when the text has ended without a stop string."""
        held, self._held = self._held, ""
        return held


def half_character(text: str) -> str | None:
    """The first half of a character in a text, as JSON escapes it: JSON can hold one, but nothing can encode it."""
    found = _HALF.search(text)
    return f"\\u{ord(found[0]):04x}" if found else None


def overlap(text: str, mark: str) -> int:
    """The length of the longest end of `text` that `mark` begins with, but is not all of."""
    for size in range(min(len(text), len(mark) - 1), 0, -1):
        if text.endswith(mark[:size]):
            return size
    return 0

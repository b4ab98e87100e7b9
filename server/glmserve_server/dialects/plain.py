"""Reads the answers of families that only ever write text."""

from collections.abc import Sequence
from typing import Final

from glmserve_server.dialects.deltas import Delta, Text

_FULL_WIDTH: Final = str.maketrans(",!:;?", "，！：；？")


class PlainParser:
    """See `Parser`. All is text."""

    thinking = False

    def __init__(self) -> None:
        self._punctuation = Punctuation()

    def feed(self, text: str) -> Sequence[Delta]:
        """See `Parser.feed`."""
        text = self._punctuation.feed(text)
        return (Text(text),) if text else ()

    def turn(self) -> Sequence[Delta]:
        """See `Parser.turn`. These families have no such token."""
        return ()

    def end(self, *, whole: bool, called: bool) -> Sequence[Delta]:  # noqa: ARG002 (nothing depends on them)
        """See `Parser.end`."""
        text = self._punctuation.flush()
        return (Text(text),) if text else ()


class Punctuation:
    """Gives a comma and its like their Chinese form where a Chinese character stands beside them, as the model cards'
    `process_response` and chatglm.cpp's `replace_punctuations` do. Holds back one mark at most."""

    def __init__(self) -> None:
        self._after_chinese = False
        self._held = ""

    def feed(self, text: str) -> str:
        """The characters of which the form is certain."""
        shown: list[str] = []
        for character in text:
            chinese = "\u4e00" <= character <= "\u9fff"
            shown.append(self._held.translate(_FULL_WIDTH) if chinese else self._held)
            self._held = ""
            if character not in ",!:;?":
                shown.append(character)
            elif self._after_chinese:
                shown.append(character.translate(_FULL_WIDTH))
            else:
                self._held = character
            self._after_chinese = chinese
        return "".join(shown)

    def flush(self) -> str:
        """What was held back, when the text has ended."""
        held, self._held = self._held, ""
        return held

"""Reads the wordings: text files with sections, one wording a line.

``## name`` opens a section; ``\\n`` in a line stands for a line break; a leading ``*`` holds a wording out of training.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).with_name("wordings")


def load(name: str) -> dict[str, tuple[str, ...]]:
    """Return the sections of ``wordings/NAME.txt`` in their order."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        text = line.replace("\\n", "\n")
        if text.startswith("## "):
            current = sections.setdefault(text.removeprefix("## "), [])
        elif text:
            current.append(text)
    return {section: tuple(lines) for section, lines in sections.items()}


def trained() -> str:
    """Return all wordings of all files that are not held out, with line breaks for their slots."""
    lines = (line for file in sorted(FOLDER.glob("*.txt")) for line in file.read_text(encoding="utf-8").splitlines())
    return re.sub(r"\{[^}]*\}|\\n", "\n", "\n".join(line for line in lines if not line.startswith(("*", "## "))))


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()

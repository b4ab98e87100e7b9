"""On which lines of a TOML file its keys stand. The parser does not say, so this looks for what begins like one."""

import re
from collections import Counter
from typing import Final

Path = tuple[str | int, ...]
"""`("models", 0, "name")`: names of tables and keys, and the numbers of tables in arrays."""

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]#]+?)\s*\]\]?\s*(#.*)?$")
_KEY: Final = re.compile(r"""\s*([\w-]+(?:\s*\.\s*[\w-]+)*|"[^"]*"|'[^']*')\s*=""")


def lines_of(text: str) -> dict[Path, int]:
    """Lines by keys and tables, from 1; the first where there are several."""
    found: dict[Path, int] = {}
    seen: Counter[str] = Counter()
    place: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            name = header[2]
            place = tuple(part.strip(" \t\"'") for part in name.split("."))
            if header[1] == "[[":
                place = (*place, seen[name])
                seen[name] += 1
            elif len(place) > 1 and seen[str(place[0])]:  # a table inside the last one of an array
                place = (place[0], seen[str(place[0])] - 1, *place[1:])
            found.setdefault(place, number)
        elif match := _KEY.match(line):
            name = match[1]
            parts = [name[1:-1]] if name[0] in "\"'" else [part.strip() for part in name.split(".")]
            for end in range(1, len(parts) + 1):
                found.setdefault((*place, *parts[:end]), number)
    return found

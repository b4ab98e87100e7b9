"""Values of several places become one section: the later place wins, and what is there is checked."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from glmserve_server.bundled import BUNDLED
from glmserve_server.configuration.found import Found, Section
from glmserve_server.configuration.key import Key

Made = TypeVar("Made")


def merged(sections: Iterable[Section]) -> Section:
    """All values; where several sections have a key, the last one's."""
    found: Section = {}
    for section in sections:
        found |= section
    return found


def checked(
    section: Section, keys: Mapping[str, Key], unknown: Callable[[str], str], faults: list[str]
) -> dict[str, Any]:
    """The values in their own types. Adds to `faults` what is wrong; `unknown` says it of a key that is none."""
    values = {}
    for name, found in section.items():
        if name not in keys:
            faults.append(f"{found.name} {unknown(name)}")
            continue
        try:
            values[name] = keys[name].checked(found.value)
        except ValueError as error:
            faults.append(f"{found.name} {error}")
    return values


def made(
    cls: Callable[..., Made], values: Mapping[str, Any], section: Section, place: str, faults: list[str]
) -> Made | None:
    """The settings, or None and a fault. Their errors begin with a key, whose place is told; else `place` is."""
    try:
        return cls(**values)
    except ValueError as error:
        first, _, rest = str(error).partition(" ")
        found = section.get(first.rstrip(":"))
        faults.append(f"{found.name} {rest}" if found else f"{place}: {error}")
        return None


def relative_to(folder: Path, section: Section, keys: Mapping[str, Key]) -> Section:
    """The section with its paths as they are from that folder. The name of a model that comes along is no path."""
    return {
        name: Found(resolved(folder, found.value), found.name, found.origin)
        if name in keys and keys[name].type is Path and isinstance(found.value, str) and found.value
        else found
        for name, found in section.items()
    }


def resolved(folder: Path, value: str) -> str:
    """A path of a file in that folder."""
    return value if value in BUNDLED else str(folder / value)

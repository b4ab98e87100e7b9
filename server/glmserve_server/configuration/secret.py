"""The key of an upstream: from a file, or from a variable of the environment."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from glmserve_server.configuration.environment import key_variable
from glmserve_server.configuration.found import Section

_MOST_BYTES: Final = 16 * 1024
_KEY: Final = re.compile(r"[!-~]+")


def read_key(name: str, file: Path | None, variable: str | None, said: Section, environment: Mapping[str, str]) -> str:
    """The key of the model of that name; empty if it has none. A file goes before a variable.

    Raises `ValueError` with the place, the key of the configuration and what is wrong; never with the secret.
    """
    if file is not None:
        place = f"{said['key_file'].name} {str(file)!r}"
        key = _read(file, place)
    elif variable is not None:
        place = f"{said['key_env'].name} {variable!r}"
        key = environment.get(variable, "")
        if not key:
            raise ValueError(f"{place}: the environment has no such variable, or an empty one")
    else:
        place = key_variable(name)
        key = environment.get(place, "")
        if not key:
            return ""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{place}: the key must be printable ASCII without spaces, and not empty")
    return key


def _read(file: Path, place: str) -> str:
    """A key from its file, without the line's end."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{place}: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{place}: too long for a key")
    return data.decode("utf-8", "replace").strip()

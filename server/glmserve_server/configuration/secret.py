"""Keys: an upstream's, from a file or a variable of the environment, and those that callers must bring, from a file."""

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
        key = _read(file, place).strip()
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


def read_keys(file: Path, said: Section) -> tuple[str, ...]:
    """The keys that callers may bring: one in a line, beside empty lines and those that begin with `#`.

    Raises `ValueError` like `read_key`, with the number of the line.
    """
    place = f"{said['api_key_file'].name} {str(file)!r}"
    lines = enumerate(_read(file, place).split("\n"), 1)
    keys = {at: key for at, line in lines if (key := line.strip()) and not key.startswith("#")}
    for at, key in keys.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"{place}: the key in line {at} must be printable ASCII without spaces")
    if not keys:
        raise ValueError(f"{place}: there is no key in it, so nobody could call")
    return tuple(keys.values())


def _read(file: Path, place: str) -> str:
    """The text of a file of keys."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{place}: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{place}: longer than {_MOST_BYTES // 1024} KiB, which is too long for keys")
    return data.decode("utf-8", "replace")

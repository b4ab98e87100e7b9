"""What the configuration file says."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from glmserve_server.configuration.found import Found, Section, SettingsError
from glmserve_server.configuration.layer import Layer
from glmserve_server.configuration.lines import lines_of
from glmserve_server.configuration.schema import SECTIONS

_MOST_BYTES: Final = 4 * 1024 * 1024
_PLACE: Final = re.compile(r" \(at line (\d+), column (\d+)\)$")


def read_file(path: Path) -> Layer:
    """The file's layer. Raises `SettingsError` when it cannot be read or is not TOML."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}"]) from None
    if len(data) > _MOST_BYTES:
        raise SettingsError([f"{path}: too long for a configuration"])
    try:
        text = data.decode()
        return _Reader(path, lines_of(text)).layer(tomllib.loads(text))
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: not UTF-8 at byte {error.start}"]) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError([_not_toml(path, str(error))]) from None


def model_tables(values: list[Any], name: str, origin: str) -> Iterator[Section | Found]:
    """Models that are given as a list of names and tables, in one value."""
    for index, value in enumerate(values):
        if isinstance(value, dict):
            yield {key: Found(item, f"{name}[{index}].{key}", origin) for key, item in value.items()}
        else:
            yield Found(value, f"{name}[{index}]", origin)


class _Reader:
    def __init__(self, path: Path, lines: Mapping[tuple[str | int, ...], int]) -> None:
        self._path = path
        self._lines = lines

    def layer(self, document: dict[str, Any]) -> Layer:
        layer = Layer()
        for name, value in document.items():
            found = self._found(value, name, (name,))
            if name == "models":
                self._add_models(layer, found)
            elif name not in SECTIONS:
                layer.server[name] = found
            elif isinstance(value, dict):
                layer.sections[name] = {
                    key: self._found(item, f"{name}.{key}", (name, key)) for key, item in value.items()
                }
            else:
                layer.faults.append(f"{found.name} must be a table, [{name}], not {value!r}")
        return layer

    def _add_models(self, layer: Layer, found: Found) -> None:
        if not isinstance(found.value, list):
            layer.faults.append(f"{found.name} must be a list of tables, [[models]], not {str(found.value)[:64]!r}")
            return
        layer.listed = []
        for index, value in enumerate(found.value):
            if not isinstance(value, dict):
                layer.listed.append(self._found(value, f"models[{index}]", ("models",)))
                continue
            name = value.get("name")
            called = f"models.{name}" if isinstance(name, str) and name.isprintable() else f"models[{index}]"
            layer.listed.append(
                {key: self._found(item, f"{called}.{key}", ("models", index, key)) for key, item in value.items()}
            )

    def _found(self, value: Any, name: str, path: tuple[str | int, ...]) -> Found:
        line = next((self._lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._lines), None)
        place = f"{self._path}:{line}" if line else str(self._path)
        return Found(value, f"{place}: {name}", f"{self._path.name}:{line}" if line else self._path.name)


def _not_toml(path: Path, error: str) -> str:
    if place := _PLACE.search(error):
        return f"{path}:{place[1]}: not TOML: {error[: place.start()]} (column {place[2]})"
    return f"{path}: not TOML: {error}"

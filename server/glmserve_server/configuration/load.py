"""From all places to settings: the flags before the environment, before the file, before the defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from glmserve_server.configuration import environment as env
from glmserve_server.configuration.file import read_file
from glmserve_server.configuration.found import Section, SettingsError
from glmserve_server.configuration.key import keys_of
from glmserve_server.configuration.layer import Layer
from glmserve_server.configuration.merge import checked, made, merged, relative_to
from glmserve_server.configuration.models import Models
from glmserve_server.configuration.schema import (
    SECTIONS,
    SERVER,
    SHARED,
    unknown_section_key,
    unknown_server_key,
)
from glmserve_server.configuration.secret import read_keys
from glmserve_server.settings import Settings

DEFAULT_FILE: Final = Path("glmserve.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The settings, and what was said where; keys that nobody has said have their defaults."""

    settings: Settings
    file: Path | None
    server: Section
    """By the server's keys, those of sections with the section before a dot."""
    models: tuple[Section, ...]


def load(flags: Layer, environment: Mapping[str, str], config: Path | None = None) -> Configuration:
    """Reads the file, `config` or the one that the environment names or the one that lies here, and checks all.

    Raises `SettingsError` with every fault that there is.
    """
    path = _file(config, environment)
    layers = [read_file(path) if path else Layer(), env.read_environment(environment), flags]
    folder = path.absolute().parent if path else Path()
    faults = [fault for layer in layers for fault in layer.faults]
    layers[0].server = relative_to(folder, layers[0].server, SERVER)

    server = merged(layer.server for layer in layers)
    values = checked(server, {**SERVER, **SHARED}, unknown_server_key, faults)
    values = {name: value for name, value in values.items() if name in SERVER}
    for section, cls in SECTIONS.items():
        said = merged(layer.sections.get(section, {}) for layer in layers)
        server |= {f"{section}.{name}": found for name, found in said.items()}
        checks = checked(said, keys_of(cls), partial(unknown_section_key, section), faults)
        values[section] = made(cls, checks, said, section, faults)
    values["api_keys"] = _api_keys(values.get("api_key_file"), server, faults)
    if not server.get("api_key_file") and environment.get(env.API_KEY_FILE) == "":
        faults.append(f"{env.API_KEY_FILE} is empty: name a file of keys, or remove the variable")
    models = Models(layers, folder, environment, faults).read()
    values["models"] = tuple(model for model, _ in models)
    settings = made(Settings, values, server, "the server", faults)
    if faults or settings is None:
        raise SettingsError(list(dict.fromkeys(faults)))
    return Configuration(settings=settings, file=path, server=server, models=tuple(section for _, section in models))


def _api_keys(file: Path | None, said: Section, faults: list[str]) -> tuple[str, ...]:
    try:
        return read_keys(file, said) if file else ()
    except ValueError as error:
        faults.append(str(error))
        return ()


def _file(config: Path | None, environment: Mapping[str, str]) -> Path | None:
    if config is not None:
        return config
    if env.CONFIG in environment:
        return Path(environment[env.CONFIG]) if environment[env.CONFIG] else None
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None

"""What the environment says: `GLMSERVE_` and the key, `GLMSERVE_EDGE_` and the edge's key, `GLMSERVE_MODELS_`, the
model's name and its key; in capitals, with `_` in place of all that is no letter or digit."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Final

from glmserve_server.configuration.file import model_tables
from glmserve_server.configuration.found import Found, Section
from glmserve_server.configuration.key import Key, keys_of
from glmserve_server.configuration.layer import Layer
from glmserve_server.configuration.schema import ENGINES, SECTIONS, SERVER, SHARED

PREFIX: Final = "GLMSERVE_"
CONFIG: Final = f"{PREFIX}CONFIG"
MODELS: Final = f"{PREFIX}MODELS"
API_KEY_FILE: Final = f"{PREFIX}API_KEY_FILE"
"""The one variable that may not be empty: a server would be open that was not meant to be."""
KEY_PREFIX: Final = f"{PREFIX}UPSTREAM_KEY_"
"""With a model's name behind it, the variable that may hold its upstream's key."""

_KEYS: Final[dict[str, Key]] = {
    name: key for cls in ENGINES.values() for name, key in keys_of(cls).items() if name != "name"
}


def read_environment(environment: Mapping[str, str]) -> Layer:
    """The environment's layer, without what it says of single models. Empty variables say nothing."""
    layer = Layer(server=_section({**SERVER, **SHARED}, PREFIX, environment))
    for section, cls in SECTIONS.items():
        layer.sections[section] = _section(keys_of(cls), variable(section), environment)
    if text := environment.get(MODELS, ""):
        layer.listed = list(_models(text, layer))
    return layer


def of_models(names: Iterable[str], environment: Mapping[str, str]) -> tuple[dict[str, Section], list[str]]:
    """What the environment says of models, by name, and what is wrong with it."""
    said = {name: _section(_KEYS, variable("models", name), environment) for name in names}
    known = {found.origin for section in said.values() for found in section.values()} | {MODELS}
    strange = sorted(
        name for name, text in environment.items() if name.startswith(f"{MODELS}_") and text and name not in known
    )
    return said, [f"{name} names no key of a model that is served: {', '.join(said)}" for name in strange]


def variable(*path: str) -> str:
    """The beginning of the variables of a section or a model."""
    return PREFIX + "".join(f"{re.sub(r'[^A-Z0-9]', '_', part.upper())}_" for part in path)


def key_variable(name: str) -> str:
    """The variable that may hold the key of a model's upstream."""
    return KEY_PREFIX + variable(name).removeprefix(PREFIX).removesuffix("_")


def _section(keys: Mapping[str, Key], prefix: str, environment: Mapping[str, str]) -> Section:
    found = {}
    for name, key in keys.items():
        called = prefix + name.upper()
        if text := environment.get(called, ""):
            found[name] = Found(key.parsed(text), called, called)
    return found


def _models(text: str, layer: Layer) -> Iterable[Section | Found]:
    if not text.lstrip().startswith("["):
        return [Found(name.strip(), MODELS, MODELS) for name in text.split(",") if name.strip()]
    try:
        values = tomllib.loads(f"models = {text}")["models"]
    except tomllib.TOMLDecodeError as error:
        layer.faults.append(f"{MODELS} is not TOML: {error}")
        return []
    return model_tables(values, MODELS, MODELS)

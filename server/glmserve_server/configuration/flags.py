"""What the flags say."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from glmserve_server.configuration.found import Found, Section
from glmserve_server.configuration.key import Key, keys_of
from glmserve_server.configuration.layer import Layer
from glmserve_server.configuration.schema import ENGINES, SECTIONS, SERVER, SHARED

_MODEL_KEYS: Final[dict[str, Key]] = {name: key for cls in ENGINES.values() for name, key in keys_of(cls).items()}


def flag_of(name: str, key: Key) -> str:
    """The flag of a server's key."""
    return f"--{key.flag or name.replace('_', '-')}"


def read_flags(
    given: Mapping[str, Any],
    *,
    models: Sequence[str] = (),
    upstreams: Sequence[str] = (),
    key_files: Sequence[str] = (),
    sets: Sequence[str] = (),
) -> Layer:
    """The flags' layer. `given`: values by the server's keys, those of sections with the section before a dot."""
    layer = Layer()
    for path, value in given.items():
        place, _, name = path.rpartition(".")
        key = keys_of(SECTIONS[place])[name] if place else {**SERVER, **SHARED}[name]
        flag = flag_of(name, key)
        target = layer.sections.setdefault(place, {}) if place else layer.server
        target[name] = Found(str(value) if key.type is Path else value, flag, flag)
    if models or upstreams:
        layer.listed = [Found(model, "--model", "--model") for model in models]
        layer.listed += [section for flag in upstreams if (section := _upstream(flag, layer.faults))]
    _add_key_files(layer, key_files)
    for text in sets:
        _add_set(layer, text)
    return layer


def _upstream(flag: str, faults: list[str]) -> Section:
    """`NAME=URL[,URL…][#MODEL]`."""
    name, found, place = flag.partition("=")
    urls, _, model = place.partition("#")
    if not (name and found and urls):
        faults.append(f"--upstream must be NAME=URL[,URL...][#MODEL], not {flag[:128]!r}")
        return {}
    values = {"name": name, "engine": "upstream", "urls": urls.split(","), **({"model": model} if model else {})}
    return {key: Found(value, f"--upstream: {key}", "--upstream") for key, value in values.items()}


def _add_key_files(layer: Layer, flags: Iterable[str]) -> None:
    for flag in flags:
        name, _, file = flag.partition("=")
        if not (name and file):
            layer.faults.append(f"--upstream-key-file must be NAME=FILE, not {flag[:128]!r}")
            continue
        found = Found(file, "--upstream-key-file", "--upstream-key-file")
        layer.said.setdefault(name, {})["key_file"] = found


def _add_set(layer: Layer, text: str) -> None:
    """`KEY=VALUE`, `edge.KEY=VALUE` or `models.NAME.KEY=VALUE`."""
    path, found, value = text.partition("=")
    path = path.strip()
    section, _, name = path.rpartition(".")
    if section in SECTIONS:
        keys, target = keys_of(SECTIONS[section]), layer.sections.setdefault(section, {})
    elif section.startswith("models."):
        keys, target = _MODEL_KEYS, layer.said.setdefault(section.removeprefix("models."), {})
    else:
        keys, target = {**SERVER, **SHARED}, layer.server
        name = path
    engine = section.startswith("models.") and name == "engine"
    if not found or not (engine or name in keys):
        layer.faults.append(
            f"--set must be KEY=VALUE, {'.KEY=VALUE, '.join(SECTIONS)}.KEY=VALUE or models.NAME.KEY=VALUE with a key "
            f"that there is, not {text.partition('=')[0][:128]!r}"
        )
        return
    value = value.strip()
    target[name] = Found(value if engine else keys[name].parsed(value), f"--set {path}", f"--set {path}")

"""The configuration as it is in effect, as a file that says the same, with each value's origin behind it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glmserve_server.bundled import BUNDLED
from glmserve_server.card.visible import visible
from glmserve_server.configuration.found import Section
from glmserve_server.configuration.key import Key, keys_of
from glmserve_server.configuration.load import Configuration
from glmserve_server.configuration.schema import SECTIONS, SERVER
from glmserve_server.configuration.toml import toml_of


def effective(configuration: Configuration) -> str:
    """TOML. What is secret, and what has no value, is a comment."""
    return "\n".join([*_lines(configuration), ""])


def _lines(configuration: Configuration) -> Iterator[str]:
    settings = configuration.settings
    yield f"# File: {visible(str(configuration.file or 'none'))}. Behind each value is where it comes from."
    yield ""
    yield from _section(settings, SERVER, configuration.server)
    for section, cls in SECTIONS.items():
        yield from ("", f"[{section}]")
        said = {
            path.removeprefix(f"{section}."): found
            for path, found in configuration.server.items()
            if path.startswith(f"{section}.")
        }
        yield from _section(getattr(settings, section), keys_of(cls), said)
    for model, said in zip(settings.models, configuration.models, strict=True):
        yield from ("", "[[models]]", f"engine = {toml_of(model.engine)}")
        yield from _section(model, keys_of(type(model)), said)


def _section(settings: Any, keys: Mapping[str, Key], said: Section) -> Iterator[str]:
    for name, key in keys.items():
        value = getattr(settings, name)
        if isinstance(value, Path) and str(value) not in BUNDLED:
            value = value.absolute()
        origin = said[name].origin if name in said else "default"
        if value is None:
            line = f"# {name}: {key.unset}"
        elif key.secret:
            line = f"# {name}: {', '.join(value) or 'none'} (values are not shown)"
        else:
            line = f"{name} = {toml_of(value)}"
        yield f"{line}  # {visible(origin)}"

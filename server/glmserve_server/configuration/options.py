"""The flags of commands that are configured: one for each key of the server, made from what is known of the keys."""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from glmserve_server.bundled import BUNDLED
from glmserve_server.card.visible import visible
from glmserve_server.configuration.environment import CONFIG
from glmserve_server.configuration.flags import flag_of, read_flags
from glmserve_server.configuration.found import SettingsError
from glmserve_server.configuration.key import Key, keys_of
from glmserve_server.configuration.layer import Layer
from glmserve_server.configuration.load import Configuration, load
from glmserve_server.configuration.schema import SECTIONS, SERVER, SHARED
from glmserve_server.engines.settings import ModelSettings

_SHORT: Final = {
    "config": (
        Path | None,
        "--config",
        f"The configuration file; glmserve config --example prints one. Also {CONFIG}.",
        "./glmserve.toml, if it is there",
    ),
    "models": (
        list[str],
        "--model",
        (
            "A model to serve: a file of chatglm.cpp or a GGUF file, one of the configuration file, one that comes "
            f"along ({', '.join(BUNDLED)}), or scripted. Repeatable."
        ),
        "those of the configuration file, else tiny-glm4",
    ),
    "upstreams": (
        list[str],
        "--upstream",
        (
            "A model that another server runs: NAME=URL[,URL...][#MODEL], where zhipu and zai stand for Zhipu's URLs. "
            "Its key comes from the environment, GLMSERVE_UPSTREAM_KEY_NAME. Repeatable."
        ),
        "none",
    ),
    "key_files": (
        list[str],
        "--upstream-key-file",
        "NAME=FILE: the file has that upstream's key. Repeatable.",
        "none",
    ),
    "sets": (
        list[str],
        "--set",
        "KEY=VALUE: any key of the configuration, as models.NAME.temperature=0.5. Repeatable.",
        "none",
    ),
}
"""Flags that are no keys: type, flag, help, default in words."""


def configured(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a command for typer, with the flags of all keys but those, from a function of the configuration file and
    the flags' layer. What the function takes by keyword are its own flags."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        keys = {path: key for path, key in _paths() if path not in without}

        @wraps(command)
        def run(**given: Any) -> None:
            config = given.pop("config")
            short = {name: given.pop(name) for name in _SHORT if name != "config"}
            said = {path: given.pop(_parameter(path)) for path in keys}
            said = {path: value for path, value in said.items() if value not in (None, [])}
            command(config, read_flags(said, **short), **given)

        own = inspect.signature(command).parameters.values()
        parameters = [
            *(each for each in own if each.kind is inspect.Parameter.KEYWORD_ONLY),
            *(_short(name, *option) for name, option in _SHORT.items()),
            *(_option(path, key) for path, key in keys.items()),
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def loaded_alone(model: str, said: Mapping[str, Any]) -> ModelSettings:
    """One model, by its name or file, with what is said of it by the server's keys; no file, no environment."""
    flags = read_flags(said, models=[model])
    return loaded(None, flags, {CONFIG: ""}).settings.models[0]


def loaded(config: Path | None, flags: Layer, environment: Mapping[str, str] = os.environ) -> Configuration:
    """The configuration; if it cannot be used, the reasons are printed and the command ends with status 2."""
    try:
        return load(flags, environment, config)
    except SettingsError as error:
        for line in str(error).splitlines():
            typer.secho(f"glmserve: {visible(line)}", err=True, fg="red")
        raise typer.Exit(2) from None


def _paths() -> Iterator[tuple[str, Key]]:
    """The server's keys, those for all models, and those of sections with the section before a dot."""
    yield from SERVER.items()
    yield from SHARED.items()
    for section, cls in SECTIONS.items():
        yield from ((f"{section}.{name}", key) for name, key in keys_of(cls).items())


def _parameter(path: str) -> str:
    return path.replace(".", "_")


def _short(name: str, kind: Any, flag: str, text: str, shown: str) -> inspect.Parameter:
    default: Any = [] if kind == list[str] else None
    option = typer.Option(flag, help=text, show_default=shown)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _option(path: str, key: Key) -> inspect.Parameter:
    name = path.rpartition(".")[2]
    flag = flag_of(name, key)
    kind = list[str] if key.many else (str if key.choices else key.type) | None
    if key.type is bool:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    text = f"{key.help} Repeatable." if key.many else key.help
    option = typer.Option(flag, help=text, show_default=_shown(key))
    default: Any = [] if key.many else None
    return inspect.Parameter(
        _parameter(path), inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _shown(key: Key) -> str:
    """The default, in words."""
    if key.default in (None, ()):
        return key.unset or "none"
    if isinstance(key.default, bool):
        return "on" if key.default else "off"
    return f"{key.default:g}" if isinstance(key.default, float) else str(key.default)

"""The example: every key, what it is for, and how it is said elsewhere."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Final

from glmserve_server.configuration.environment import CONFIG, PREFIX, variable
from glmserve_server.configuration.flags import flag_of
from glmserve_server.configuration.key import Key, keys_of
from glmserve_server.configuration.schema import ENGINES, SECTIONS, SERVER, SHARED
from glmserve_server.configuration.toml import toml_of
from glmserve_server.engines.settings import ModelSettings

_WIDTH: Final = 118

_HEAD: Final = f"""\
Every key of glmserve's configuration. `glmserve config --example` prints this file.

A line that begins with #key is a key with its default, or an example where it has none. Keys that are left out have
their defaults; there must be no others. Paths are relative to this file.

The file is the one that --config names, or {CONFIG}, or glmserve.toml in the current folder; an empty {CONFIG} is no
file. Each key can also be said in the environment and by a flag: flags go before the environment, the environment
before the file, the file before the defaults. `glmserve config` prints what comes of it.
"""
_SHARED: Final = """\
For all models. A model may say otherwise below; a flag or a variable goes before both.
"""
_MODELS: Final = f"""\
The models, one [[models]] for each; without any, tiny-glm4 is served. --model and --upstream, or {PREFIX}MODELS with
names between commas, say which are served instead. In the environment a key of a model is {variable("models")}NAME_KEY,
with the model's name in capitals and _ for all that is no letter or digit; as a flag it is --set models.NAME.KEY=VALUE.
"""
_ENGINES: Final = {
    "chatglm": ("A model file of chatglm.cpp.", '"glm-4-9b"'),
    "llama": ("A GGUF file, which llama.cpp runs for many callers at a time.", '"tiny-glm4"'),
    "upstream": ("A model that runs elsewhere, behind any server that speaks OpenAI's API.", '"glm-4.6"'),
    "scripted": ("No model: it says the last message back. For tests and demos.", '"scripted"'),
}


def example() -> str:
    """TOML in which all keys are comments."""
    return "\n".join([*_comment(_HEAD), *_lines(), ""])


def _lines() -> Iterator[str]:
    yield from _keys(SERVER)
    yield from ("", *_comment(_SHARED))
    yield from _keys(SHARED)
    for section, cls in SECTIONS.items():
        yield from ("", *_comment((cls.__doc__ or "").partition("\n")[0]), f"#[{section}]")
        yield from _keys(keys_of(cls), section)
    yield from ("", *_comment(_MODELS))
    told: set[str] = set()
    for engine, cls in ENGINES.items():
        yield from _model(engine, cls, told)


def _model(engine: str, cls: type[ModelSettings], told: set[str]) -> Iterator[str]:
    """An engine's entry; keys that were told of are named without their meaning."""
    text, name = _ENGINES[engine]
    yield from ("", *_comment(text), "#[[models]]", f"#name = {name}", f"#engine = {toml_of(engine)}")
    keys = {name: key for name, key in keys_of(cls).items() if name != "name"}
    new = {name: key for name, key in keys.items() if name not in told}
    if old := [name for name in keys if name in told]:
        yield from _comment(f"As above: {', '.join(old)}.")
    for name, key in new.items():
        told.add(name)
        unset = f" Unset: {key.unset}." if key.unset else ""
        for_all = f" For all models: {key.shared}." if key.shared else ""
        yield from ("", *_comment(f"{key.help}{unset}{for_all}"), f"#{name} = {_value(key)}")


def _keys(keys: Mapping[str, Key], section: str = "") -> Iterator[str]:
    for name, key in keys.items():
        called = f"{variable(section) if section else PREFIX}{name.upper()}"
        unset = f" Unset: {key.unset}." if key.unset else ""
        yield from ("", *_comment(f"{key.help}{unset} [{flag_of(name, key)}, {called}]"))
        yield f"#{name} = {_value(key)}"


def _value(key: Key) -> str:
    return key.example or toml_of(key.default)


def _comment(text: str) -> Iterator[str]:
    for index, paragraph in enumerate(text.strip().split("\n\n")):
        yield from ("#",) if index else ()
        yield from (f"# {line}" for line in textwrap.wrap(paragraph, _WIDTH, break_on_hyphens=False))

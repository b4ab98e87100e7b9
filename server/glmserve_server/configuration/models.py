"""Which models are served, and what is said of each, at all places together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from glmserve_server.bundled import BUNDLED
from glmserve_server.card.visible import visible
from glmserve_server.configuration import environment as env
from glmserve_server.configuration.found import Found, Section
from glmserve_server.configuration.key import keys_of
from glmserve_server.configuration.layer import Layer
from glmserve_server.configuration.merge import checked, made, merged, relative_to, resolved
from glmserve_server.configuration.schema import ENGINES, unknown_model_key
from glmserve_server.configuration.secret import read_key
from glmserve_server.engines.chatglm.settings import ChatGlmSettings
from glmserve_server.engines.llama.ggufheader import is_gguf
from glmserve_server.engines.llama.settings import LlamaSettings
from glmserve_server.engines.settings import LONGEST_NAME, ModelSettings, ScriptedSettings
from glmserve_server.engines.upstream.options import UpstreamOptions

DEFAULT_MODEL: Final = "tiny-glm4"


@dataclass(frozen=True, slots=True)
class _Listed:
    """A model as it is listed."""

    name: str
    section: Section
    level: int
    """The number of the layer that says it."""


class Models:
    """Reads the models of some layers, those that win last."""

    def __init__(
        self, layers: Sequence[Layer], folder: Path, environment: Mapping[str, str], faults: list[str]
    ) -> None:
        """`folder`: of the file, which is the first layer. `faults` gets what is wrong."""
        self._layers = layers
        self._folder = folder
        self._environment = environment
        self._faults = faults

    def read(self) -> list[tuple[ModelSettings, Section]]:
        """All models, with what is said of each."""
        before = len(self._faults)
        listed = list(self._listed())
        names = [one.name for one in listed]
        self._layers[1].said, faults = env.of_models(names, self._environment)
        self._faults += faults
        for layer in self._layers:
            for name in layer.said.keys() - names:
                (found, *_) = layer.said[name].values()
                known = ", ".join(names)
                self._faults.append(f"{found.name} names the model {name[:128]!r}, but the models are: {known}")
        models = [model for one in listed if (model := self._made(one))]
        self._check_names([model for model, _ in models])
        if not listed and len(self._faults) == before:
            self._faults.append("models must list at least one model")
        return models

    def _listed(self) -> Iterator[_Listed]:
        """The models of the last layer that lists any."""
        for level in reversed(range(len(self._layers))):
            if (models := self._layers[level].listed) is not None:
                for model in models:
                    if isinstance(model, Found):
                        yield from self._short(model, level)
                    elif model:
                        yield _Listed(_name(model), model, level)
                return
        yield from self._short(Found(DEFAULT_MODEL, "models", "default"), len(self._layers))

    def _short(self, found: Found, level: int) -> Iterator[_Listed]:
        """A model that is listed by a name or a file alone."""
        text = found.value
        if not isinstance(text, str) or not text:
            self._faults.append(f"{found.name} must be a table, or the name or the file of a model, not {text!r}")
            return
        for lower in reversed(range(min(level, len(self._layers)))):
            for model in self._layers[lower].listed or ():
                if not isinstance(model, Found) and text in _names(model):
                    yield _Listed(_name(model), model, lower)
                    return
        if text in BUNDLED or text == ScriptedSettings.engine:
            yield _Listed(text, {"name": found}, level)
            return
        file = Found(resolved(self._folder, text) if level == 0 else text, found.name, found.origin)
        name = Found(_of_file(text), found.name, found.origin)
        yield _Listed(name.value, {"name": name, "file": file}, level)

    def _made(self, listed: _Listed) -> tuple[ModelSettings, Section] | None:
        cls = self._engine(listed)
        if cls is None:
            return None
        section = self._section(listed, cls)
        place = f"{next(iter(listed.section.values())).name.partition(': ')[0]}: models.{listed.name or '?'}"
        if not listed.name:
            self._faults.append(f"{place}: name must say what the model is called")
            return None
        count = len(self._faults)
        values = checked(section, keys_of(cls), partial(unknown_model_key, cls), self._faults)
        if len(self._faults) > count:
            return None
        values["name"] = listed.name
        if issubclass(cls, UpstreamOptions):
            values["key"] = self._key(listed.name, values, section)
        if issubclass(cls, ChatGlmSettings | LlamaSettings) and not values.get("file") and listed.name not in BUNDLED:
            known = ", ".join(sorted(BUNDLED))
            self._faults.append(f"{place}: file must name a model file; of that name comes none along, but: {known}")
            return None
        model = made(cls, values, section, place, self._faults)
        return (model, section) if model else None

    def _engine(self, listed: _Listed) -> type[ModelSettings] | None:
        """The class of a model's settings, from the key `engine` or from the keys that only one engine has."""
        said = [listed.section, *(layer.said.get(listed.name, {}) for layer in self._layers)]
        if found := merged(said).get("engine"):
            if not isinstance(found.value, str) or found.value not in ENGINES:
                self._faults.append(f"{found.name} must be {_either(ENGINES)}, not {found.value!r}")
                return None
            return ENGINES[found.value]
        if "urls" in listed.section:
            return UpstreamOptions
        if listed.name == ScriptedSettings.engine and "file" not in listed.section:
            return ScriptedSettings
        return LlamaSettings if is_gguf(self._file(listed)) else ChatGlmSettings

    def _file(self, listed: _Listed) -> Path:
        """The file of a model whose engine depends on what it is."""
        said = listed.section.get("file")
        name = str(said.value) if said else listed.name
        if name in BUNDLED or not said:
            return BUNDLED.get(name, Path())
        return Path(resolved(self._folder, name) if listed.level == 0 else name)

    def _section(self, listed: _Listed, cls: type[ModelSettings]) -> Section:
        """What all layers say of a model; in each of them, what is said of all models gives way."""
        shared = {key.shared: name for name, key in keys_of(cls).items() if key.shared}
        sections = []
        for level, layer in enumerate(self._layers):
            sections.append({shared[name]: found for name, found in layer.server.items() if name in shared})
            if level == listed.level:
                sections.append(self._own(listed, cls))
            sections.append(_without_engine(layer.said.get(listed.name, {})))
        if listed.level == len(self._layers):
            sections.insert(0, listed.section)
        return merged(sections)

    def _own(self, listed: _Listed, cls: type[ModelSettings]) -> Section:
        """What the layer that lists a model says of it, with paths from the file's folder."""
        section = _without_engine(listed.section)
        if listed.level:
            return section
        return relative_to(self._folder, section, keys_of(cls))

    def _key(self, name: str, values: Mapping[str, Any], section: Section) -> str | None:
        try:
            file, variable = values.get("key_file"), values.get("key_env")
            return read_key(name, file, variable, section, self._environment) or None
        except ValueError as error:
            self._faults.append(str(error))
            return None

    def _check_names(self, models: Sequence[ModelSettings]) -> None:
        owners: dict[str, str] = {}
        for model in models:
            for name in (model.name, *model.aliases):
                if name in owners:
                    whose = f"of {owners[name]!r} and of {model.name!r}" if owners[name] != model.name else ""
                    self._faults.append(f"two models have one name: {name!r} is a name {whose or 'twice'}")
                owners[name] = model.name


def _without_engine(section: Section) -> Section:
    """The keys that an engine has."""
    return {name: found for name, found in section.items() if name != "engine"}


def _name(section: Section) -> str:
    """The model's id: its name, or that of its file."""
    if "name" in section:
        return str(section["name"].value)
    file = section.get("file")
    return _of_file(file.value) if file and isinstance(file.value, str) else ""


def _of_file(file: str) -> str:
    """The name of a model that has none but its file's."""
    return visible(Path(file).stem).strip()[:LONGEST_NAME]


def _names(section: Section) -> list[str]:
    aliases = section["aliases"].value if "aliases" in section else []
    return [_name(section), *(aliases if isinstance(aliases, list) else [aliases])]


def _either(names: Mapping[str, object]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"

"""All keys there are: the server's, its sections', the engines', and those that may be said for all models at once."""

import difflib
from collections.abc import Iterable
from typing import Final

from glmserve_server.configuration.key import Key, keys_of
from glmserve_server.engines.chatglm.settings import ChatGlmSettings
from glmserve_server.engines.llama.settings import LlamaSettings
from glmserve_server.engines.settings import ModelSettings, ScriptedSettings
from glmserve_server.engines.upstream.options import UpstreamOptions
from glmserve_server.settings import EdgeSettings, Settings

SECTIONS: Final[dict[str, type]] = {"edge": EdgeSettings}
"""Tables of the server's."""

ENGINES: Final[dict[str, type[ModelSettings]]] = {
    cls.engine: cls for cls in (ChatGlmSettings, LlamaSettings, UpstreamOptions, ScriptedSettings)
}
"""What a model of each engine may say. A new engine is a class here, and a line in `wiring.py`."""

SHARED: Final[dict[str, Key]] = {
    key.shared: key for cls in ENGINES.values() for key in keys_of(cls).values() if key.shared
}
"""Keys that the server may say for all models, by what they are called there."""

SERVER: Final[dict[str, Key]] = keys_of(Settings)

MODEL_KEYS: Final[frozenset[str]] = frozenset(name for cls in ENGINES.values() for name in keys_of(cls)) | {"engine"}


def unknown_server_key(name: str) -> str:
    """What is wrong with a key that the server does not have."""
    if name in MODEL_KEYS:
        return "is a key of a model: it belongs under [[models]]"
    return f"is no key{_nearest(name, [*SERVER, *SHARED, *SECTIONS, 'models'])}"


def unknown_model_key(cls: type[ModelSettings], name: str) -> str:
    """What is wrong with a key that a model of that engine does not have."""
    if name == "key":
        return "is not said here: key_file names a file that has the key, key_env an environment variable"
    if name in MODEL_KEYS:
        return f"is no key of models whose engine is {cls.engine}"
    return f"is no key of a model{_nearest(name, [*keys_of(cls), 'engine'])}"


def unknown_section_key(section: str, name: str) -> str:
    """What is wrong with a key that a section does not have."""
    return f"is no key of [{section}]{_nearest(name, keys_of(SECTIONS[section]))}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(known)}"

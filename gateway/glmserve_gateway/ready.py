"""The ready file: where a supervisor or a script reads the addresses once everything answers."""

import json
import os
from collections.abc import Mapping
from pathlib import Path


def write_ready_file(path: Path, addresses: Mapping[str, str]) -> None:
    """Writes `addresses` as a JSON object, at once: a reader sees all of it or no file."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(dict(addresses)) + "\n", encoding="utf-8")
    partial.replace(path)

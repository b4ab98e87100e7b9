"""Values as TOML: JSON but for tables, among the values that a configuration holds."""

import json
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def toml_of(value: Any) -> str:
    """The value on one line."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(name)} = {toml_of(item)}" for name, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_of, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else toml_of(name)

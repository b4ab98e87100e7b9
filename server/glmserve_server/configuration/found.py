"""A value of the configuration, and where it was found."""

from dataclasses import dataclass
from typing import Any


class SettingsError(Exception):
    """The configuration cannot be used. Its text has a line for each fault: the place, the key, the value, and what
    would be right."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))


@dataclass(frozen=True, slots=True)
class Found:
    """A value, not checked yet."""

    value: Any
    name: str
    """What the key is called there, with the place before it: `glmserve.toml:3: port`, `GLMSERVE_PORT`, `--port`."""
    origin: str
    """The place in a few words: `glmserve.toml:3`, `GLMSERVE_PORT`, `--port`, `default`."""


Section = dict[str, Found]
"""Values by the names of their keys."""

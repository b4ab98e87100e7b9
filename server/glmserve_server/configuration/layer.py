"""One place where values are found: the file, the environment or the flags. It knows the names of keys, and nothing of
what they may be."""

from dataclasses import dataclass, field

from glmserve_server.configuration.found import Found, Section


@dataclass(slots=True)
class Layer:
    """What one place says."""

    server: Section = field(default_factory=dict)
    """The server's keys, and those of models that are said for all of them."""
    sections: dict[str, Section] = field(default_factory=dict)
    """The keys of `edge` and its like, by section."""
    listed: list[Section | Found] | None = None
    """The models that it lists: what it says of each, or a name or a file alone."""
    said: dict[str, Section] = field(default_factory=dict)
    """What it says of models by their names, whether it lists them or not."""
    faults: list[str] = field(default_factory=list)

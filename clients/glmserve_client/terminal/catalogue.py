"""A table of the models of a server, readable at 80 characters."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Final

from rich.table import Table
from rich.text import Text

from glmserve_client.model import Capabilities, Model
from glmserve_client.terminal.printable import one_line

_WORDS: Final = {
    "images": "images",
    "tools": "tools",
    "reasoning": "reasoning",
    "json_object": "JSON",
    "json_schema": "JSON schema",
    "logprobs": "logprobs",
    "seed": "seed",
}
"""What people look for; `--json` has all."""


def table(models: Sequence[Model], *, current: str | None = None) -> Table:
    """A row for each model, with the columns that the server tells something for; the `current` one is marked."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    columns = [column for column in _COLUMNS if column[0] == "Model" or any(map(column[1], models))]
    for title, _ in columns:
        made.add_column(title, justify="right" if title == "Context" else "left", overflow="fold")
    for model in models:
        style = "bold" if current is not None and current in (model.id, *model.aliases) else ""
        made.add_row(*(Text(one_line(value(model)), style=style) for _, value in columns))
    return made


def _name(model: Model) -> str:
    return " = ".join([model.id, *model.aliases])


def _context(model: Model) -> str:
    return f"{model.context_length:,}" if model.context_length else ""


def _abilities(model: Model) -> str:
    if model.fault:
        return f"nothing at present: {model.fault}"
    if model.capabilities is None:
        return ""
    able = {field.name for field in fields(Capabilities) if getattr(model.capabilities, field.name) is True}
    return ", ".join(word for name, word in _WORDS.items() if name in able) or "text"


def _owner(model: Model) -> str:
    return "" if model.engine else model.owned_by


_COLUMNS: Final[Sequence[tuple[str, Callable[[Model], str]]]] = (
    ("Model", _name),
    ("Engine", lambda model: model.engine or ""),
    ("Context", _context),
    ("Can", _abilities),
    ("Owner", _owner),
)

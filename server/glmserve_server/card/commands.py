"""The sub-command `inspect`; heavy imports wait until it is called."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from glmserve_server.card.card import Card
    from glmserve_server.engines.settings import ModelSettings

_WORDS: Final = {True: "yes", False: "no"}


def inspect(
    file: Annotated[str, typer.Argument(help="A chatglm.cpp or GGUF file, or the name of a model that comes along.")],
    context_length: Annotated[
        int, typer.Option(help="As for glmserve up: most tokens of prompt and answer, if the model has as many.")
    ] = 8192,
    workers: Annotated[int | None, typer.Option(help="Processes.", show_default="from the CPUs")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads per process.", show_default="from the CPUs")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, sizes in bytes.")] = False,
) -> None:
    """Show what a model file holds, what it needs, and how it would be served here.

    Exit status: 0 it would be served, 1 it would be refused (the reason is on standard error), 2 wrong usage.
    """
    from glmserve_server.bundled import BUNDLED
    from glmserve_server.configuration.options import loaded_alone
    from glmserve_server.engines.llama.ggufheader import is_gguf

    if is_gguf(path := BUNDLED.get(file, Path(file))):
        raise typer.Exit(_inspect_gguf(file, path, as_json=as_json))
    given = {"context_length": context_length, "workers": workers, "threads": threads}
    said = {name: value for name, value in given.items() if value is not None}
    raise typer.Exit(_inspect(file, loaded_alone(file, said), as_json=as_json))


def _inspect_gguf(name: str, path: Path, *, as_json: bool) -> int:
    """What a GGUF file says about itself."""
    from glmserve_server.card.record import refusal_record
    from glmserve_server.card.visible import visible
    from glmserve_server.engines.llama import ggufheader
    from glmserve_server.engines.llama.record import record_of
    from glmserve_server.errors import ModelUnavailable

    try:
        record = record_of(ggufheader.read(path))
    except ModelUnavailable as error:
        if as_json:
            typer.echo(json.dumps(refusal_record(name, str(error)), indent=2))
        typer.secho(f"glmserve: {visible(str(error))}", err=True, fg="red")
        return 1
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    for key, value in () if as_json else record.items():
        typer.echo(f"{key:<16}{visible(str(_WORDS.get(value, value) if isinstance(value, bool) else value))}")
    return 0


def _inspect(name: str, model: "ModelSettings", *, as_json: bool) -> int:
    from rich.console import Console

    from glmserve_server.card.card import card_of
    from glmserve_server.card.record import record_of, refusal_record
    from glmserve_server.card.table import show
    from glmserve_server.card.visible import visible
    from glmserve_server.errors import ModelUnavailable

    card: Card | None = None
    try:
        card = card_of(name, model)
    except ModelUnavailable as error:
        record, refusal = refusal_record(name, str(error)), str(error)
    else:
        record, refusal = record_of(card), card.refusal or ""
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    elif card:
        show(card, Console(highlight=False))
    if refusal:
        typer.secho(f"glmserve: {visible(refusal)}", err=True, fg="red")
    return 1 if refusal else 0

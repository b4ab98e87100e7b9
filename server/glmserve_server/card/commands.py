"""The sub-command `inspect`; heavy imports wait until it is called."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from glmserve_server.card.card import Card
    from glmserve_server.settings import Settings


def inspect(
    file: Annotated[str, typer.Argument(help="A chatglm.cpp model file, or the name of an embedded model.")],
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
    from glmserve_server.settings import Settings, SettingsError

    try:
        settings = Settings(models=(file,), context_length=context_length, workers=workers, threads=threads)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None
    raise typer.Exit(_inspect(settings, as_json=as_json))


def _inspect(settings: "Settings", *, as_json: bool) -> int:
    from rich.console import Console

    from glmserve_server.card.card import card_of
    from glmserve_server.card.record import record_of, refusal_record
    from glmserve_server.card.table import show
    from glmserve_server.card.visible import visible
    from glmserve_server.errors import ModelUnavailable

    (name,) = settings.models
    card: Card | None = None
    try:
        card = card_of(name, settings)
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

"""The sub-command `inspect`; heavy imports wait until it is called."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from glmserve_server.card.card import Card
    from glmserve_server.engines.settings import ModelSettings


def inspect(
    file: Annotated[str, typer.Argument(help="A chatglm.cpp or GGUF file, or the name of a model that comes along.")],
    context_length: Annotated[
        int, typer.Option(help="As for glmserve up: most tokens of prompt and answer, if the model has as many.")
    ] = 8192,
    workers: Annotated[
        int | None, typer.Option(help="Processes that run a chatglm.cpp file.", show_default="from the CPUs")
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(help="Conversations at a time with a GGUF file.", show_default="8, or what the memory holds"),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads per process.", show_default="from the CPUs")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, sizes in bytes.")] = False,
) -> None:
    """Show what a model file holds, what it needs, and how it would be served here.

    Exit status: 0 it would be served, 1 it would be refused (the reason is on standard error), 2 wrong usage.
    """
    from glmserve_server.bundled import BUNDLED
    from glmserve_server.card.visible import visible
    from glmserve_server.configuration.options import loaded_alone

    given = {"context_length": context_length, "workers": workers, "slots": slots, "threads": threads}
    said = {name: value for name, value in given.items() if value is not None}
    model = loaded_alone(file, said)
    for name, other in (("workers", "slots"), ("slots", "workers")):
        if name in said and hasattr(model, other) and BUNDLED.get(file, Path(file)).is_file():
            typer.secho(f"glmserve: --{name} is not for {visible(file)}, which has {other}", err=True, fg="red")
            raise typer.Exit(2)
    raise typer.Exit(_inspect(file, model, as_json=as_json))


def _inspect(name: str, model: "ModelSettings", *, as_json: bool) -> int:
    from rich.console import Console

    from glmserve_server.card.gather import card_of
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

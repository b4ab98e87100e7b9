"""The sub-commands `ask`, `models` and `tokens`; heavy imports wait until one is called."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from glmserve_client.terminal.failure import dumped, failures
from glmserve_client.terminal.groups import grouped
from glmserve_client.terminal.printable import one_line, printable
from glmserve_client.terminal.question import Question, Sampling
from glmserve_client.terminal.server import Server

if TYPE_CHECKING:
    from glmserve_client import Reply, Stream
    from glmserve_client.terminal.pace import Pace

Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Stats = Annotated[bool, typer.Option("--stats", help="Say how fast it came, on standard error.")]

_ENDLESS: Final = 10_000
"""Characters of a line that nobody looks at."""


@grouped
def ask(
    question: Question,
    server: Server,
    sampling: Sampling,
    stats: Stats = False,
    as_json: Json = False,
) -> None:
    """Ask one question and stream the answer to the terminal.

    Exit status: 0 answered, 1 the server refused or failed, 2 wrong usage, 130 interrupted.
    """
    from glmserve_client import Client
    from glmserve_client.terminal.pace import Pace

    pace, parameters = Pace(), sampling.parameters
    parameters["model"] = question.model
    with (
        failures(as_json=as_json),
        Client(server.address, **server.options) as client,
        client.stream(question.messages, **parameters) as stream,
    ):
        if as_json:
            for _ in stream:
                pace.piece()
            speed = {"stats": pace.figures(stream.usage)} if stats else {}
            typer.echo(dumped(_described(stream.reply) | speed))
            return
        try:
            _show(stream, pace)
        finally:
            typer.echo()
        for note in _notes(stream.reply):
            typer.secho(f"glmserve: {note}", err=True, fg="yellow")
        if stats:
            typer.secho(pace.worded(stream.usage), err=True, dim=True)


@grouped
def models(server: Server, as_json: Json = False) -> None:
    """List the models of a server; over gRPC with what they are and can.

    Exit status: 0 listed, 1 the server refused or failed, 2 wrong usage, 130 interrupted.
    """
    from glmserve_client import Client

    with failures(as_json=as_json), Client(server.address, **server.options) as client:
        listed = client.models()
    if as_json:
        typer.echo(dumped([asdict(model) for model in listed]))
        return
    from rich.console import Console

    from glmserve_client.terminal.catalogue import table

    console = Console(highlight=False)
    console.print(table(listed), width=None if console.is_terminal else _ENDLESS)


@grouped
def tokens(question: Question, server: Server, as_json: Json = False) -> None:
    """Count the tokens of a question as the model would read it.

    Exit status: 0 counted, 1 the server refused or failed, 2 wrong usage, 130 interrupted.
    """
    from glmserve_client import Client

    with failures(as_json=as_json), Client(server.address, **server.options) as client:
        count = client.count_tokens(question.messages, model=question.model, include_token_ids=as_json)
    most = f" of {count.context_length}" if count.context_length else ""
    typer.echo(dumped(asdict(count)) if as_json else f"{count.prompt_tokens}{most}")


def _show(stream: "Stream", pace: "Pace") -> None:
    """The text as it is; on a terminal with the thoughts, dimmed, and without what it would obey."""
    thinks, terminal = False, sys.stdout.isatty()
    for delta in stream:
        if delta.text or delta.reasoning:
            pace.piece()
        if terminal and delta.reasoning:
            thinks = True
            typer.secho(printable(delta.reasoning), dim=True, nl=False)
        if delta.text:
            typer.echo("\n\n" * thinks + (printable(delta.text) if terminal else delta.text), nl=False)
            thinks = False


def _notes(reply: "Reply") -> Iterator[str]:
    """What is worth knowing beside the text."""
    from glmserve_client import FinishReason

    if reply.ignored:
        yield f"not honoured by the model: {one_line(', '.join(reply.ignored))}"
    if reply.finish_reason is FinishReason.LENGTH:
        yield "the answer is cut: it reached the most tokens that it may have"
    if reply.finish_reason is FinishReason.CONTENT_FILTER:
        yield "the answer is cut: a filter withheld the rest"


def _described(reply: "Reply") -> dict[str, Any]:
    first, *_ = asdict(reply)["choices"]
    described = first | asdict(reply)
    return {name: value for name, value in described.items() if name not in ("choices", "index", "logprobs")}

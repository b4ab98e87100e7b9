"""The sub-command `ask`."""

import sys
from typing import Annotated

import typer


def ask(
    question: Annotated[str, typer.Argument(help="What to ask; - reads it from standard input.")],
    grpc: Annotated[str, typer.Option(help="The server's address, HOST:PORT.")] = "127.0.0.1:50051",
    model: Annotated[str, typer.Option(help="The model's name.", show_default="the only one")] = "",
    system: Annotated[str | None, typer.Option(help="Instructions that go before the question.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Randomness, 0 to 2.", show_default="the model's default")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="The most tokens of the answer.", show_default="as many as fit")
    ] = None,
) -> None:
    """Ask one question and stream the answer to the terminal, over gRPC.

    Exit status: 0 answered, 1 the server refused or failed, 2 wrong usage, 130 interrupted.
    """
    from glmserve_client.asking import AskError, stream_text

    text = sys.stdin.read() if question == "-" else question
    try:
        for piece in stream_text(
            text, address=grpc, model=model, system=system, temperature=temperature, max_tokens=max_tokens
        ):
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
    except AskError as error:
        typer.secho(f"glmserve: {error}", err=True, fg="red")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None

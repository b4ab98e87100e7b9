"""The sub-commands `ask`, `models` and `tokens`; heavy imports wait until one is called."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from glmserve_client import Client, Reply

_DEFAULT: Final = "127.0.0.1:50051"
_CONTROLS: Final = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""What a terminal obeys; a model's text has no say in it."""

Grpc = Annotated[str | None, typer.Option(help="The server's gRPC address, HOST:PORT.", show_default=_DEFAULT)]
Url = Annotated[
    str | None, typer.Option(help="Or any server's address: http://127.0.0.1:8080/v1, https, grpc or grpcs.")
]
ApiKey = Annotated[str | None, typer.Option(envvar="GLMSERVE_API_KEY", help="The key, if one is needed.")]
ModelName = Annotated[str, typer.Option("--model", help="The model's name.", show_default="the only one")]
System = Annotated[str | None, typer.Option(help="Instructions that go before the question.")]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON object, for programs.")]


def ask(
    question: Annotated[str, typer.Argument(help="What to ask; - reads it from standard input.")],
    grpc: Grpc = None,
    url: Url = None,
    api_key: ApiKey = None,
    model: ModelName = "",
    system: System = None,
    temperature: Annotated[
        float | None, typer.Option(help="Randomness, 0 to 2.", show_default="the model's default")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="The most tokens of the answer.", show_default="as many as fit")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask one question and stream the answer to the terminal.

    Exit status: 0 answered, 1 the server refused or failed, 2 wrong usage, 130 interrupted.
    """
    with (
        _client(grpc, url, api_key) as client,
        client.stream(
            _messages(question, system), model=model, temperature=temperature, max_completion_tokens=max_tokens
        ) as stream,
    ):
        for text in stream.texts():
            if not as_json:
                sys.stdout.write(text.translate(_CONTROLS) if sys.stdout.isatty() else text)
                sys.stdout.flush()
        sys.stdout.write(f"{_dumped(_described(stream.reply)) if as_json else ''}\n")


def models(grpc: Grpc = None, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List the models of a server; over gRPC with what they hold.

    Exit status: 0 listed, 1 the server refused or failed, 2 wrong usage, 130 interrupted.
    """
    with _client(grpc, url, api_key) as client:
        listed = client.models()
    if as_json:
        typer.echo(_dumped([asdict(model) for model in listed]))
        return
    for model in listed:
        known = [f"{model.context_length} tokens"] if model.context_length else []
        known += [model.engine] if model.engine else []
        known += [f"= {alias}" for alias in model.aliases]
        known += [f"is not served: {model.fault}"] if model.fault else []
        typer.echo("  ".join([model.id, *known]).translate(_CONTROLS))


def tokens(
    text: Annotated[str, typer.Argument(help="A question; - reads it from standard input.")],
    grpc: Grpc = None,
    url: Url = None,
    api_key: ApiKey = None,
    model: ModelName = "",
    system: System = None,
    as_json: Json = False,
) -> None:
    """Count the tokens of a question as the model would read it, over gRPC.

    Exit status: 0 counted, 1 the server refused or failed, 2 wrong usage, 130 interrupted.
    """
    with _client(grpc, url, api_key) as client:
        count = client.count_tokens(_messages(text, system), model=model, include_token_ids=as_json)
    most = f" of {count.context_length}" if count.context_length else ""
    typer.echo(_dumped(asdict(count)) if as_json else f"{count.prompt_tokens}{most}")


@contextmanager
def _client(grpc: str | None, url: str | None, api_key: str | None) -> "Iterator[Client]":
    """A client of the server that the flags name; its errors become a line and an exit status."""
    from glmserve_client import Client, ConfigurationError, ConnectionFailed, GlmserveError

    if grpc is not None and url is not None:
        raise typer.BadParameter("name one server: --grpc HOST:PORT or --url ADDRESS")
    address = url if url is not None else f"grpc://{grpc or _DEFAULT}"
    try:
        with Client(address, api_key=api_key) as client:
            yield client
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None
    except GlmserveError as error:
        hint = "; start one with: glmserve up" if isinstance(error, ConnectionFailed) else ""
        typer.secho(f"glmserve: {error}{hint}".translate(_CONTROLS), err=True, fg="red")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _messages(question: str, system: str | None) -> list[Any]:
    from glmserve_client import system as system_message
    from glmserve_client import user

    instructions = [] if system is None else [system_message(system)]
    return [*instructions, user(sys.stdin.read() if question == "-" else question)]


def _described(reply: "Reply") -> dict[str, Any]:
    first, *_ = asdict(reply)["choices"]
    described = asdict(reply) | first
    return {name: value for name, value in described.items() if name not in ("choices", "index", "logprobs")}


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

"""What a failure looks like on a terminal, to a program, and as an exit status."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import typer

from glmserve_client.terminal.printable import one_line

if TYPE_CHECKING:
    from glmserve_client.errors import GlmserveError


class Status(IntEnum):
    """The exit statuses of all commands of the client."""

    DONE = 0
    FAILED = 1
    """The server refused, failed, or was not reached."""
    WRONG_USAGE = 2
    """What the command line says is wrong."""
    INTERRUPTED = 130
    """By Ctrl-C."""
    TERMINATED = 143
    """By SIGTERM."""


@contextmanager
def failures(*, as_json: bool = False) -> Iterator[None]:
    """Turns errors of the client into a line on standard error (or an object on standard output) and a status."""
    from glmserve_client.errors import ConfigurationError, GlmserveError

    try:
        yield
    except ConfigurationError as error:
        raise typer.BadParameter(one_line(str(error))) from None
    except GlmserveError as error:
        if as_json:
            typer.echo(dumped({"error": described(error)}))
        else:
            typer.secho(f"glmserve: {worded(error)}", err=True, fg="red")
        raise typer.Exit(Status.FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(Status.INTERRUPTED) from None


def worded(error: "GlmserveError") -> str:
    """A line for people: what went wrong, and what may help."""
    from glmserve_client.errors import ConnectionFailed

    text = one_line(str(error))
    if isinstance(error, ConnectionFailed):
        return f"{text}; start one with: glmserve up"
    if error.retry_after:
        return f"{text} (try again after {error.retry_after:.3g} s)"
    return text


def described(error: "GlmserveError") -> dict[str, Any]:
    """The same for programs: the error's class, its text, and what it knows."""
    from glmserve_client.errors import BadRequest

    violations = error.violations if isinstance(error, BadRequest) else ()
    return {
        "type": type(error).__name__,
        "message": str(error),
        "violations": [{"field": one.field, "description": one.description} for one in violations],
        "retry_after": error.retry_after,
    }


def dumped(value: Any) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False)

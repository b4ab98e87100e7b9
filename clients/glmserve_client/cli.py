"""The `glmserve` command: a host for the sub-commands that the installed packages register."""

import io
import sys
from importlib.metadata import entry_points

import typer

GROUP = "glmserve.commands"
"""Entry points of this group are functions for typer; the entry point's name is the sub-command's."""

_ORDER = (
    "up",
    "serve",
    "edge",
    "config",
    "chat",
    "ask",
    "models",
    "tokens",
    "inspect",
    "convert",
    "bench",
    "bench-model",
)


def main() -> None:
    """Runs the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Chinese is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    app = typer.Typer(
        name="glmserve",
        help="GLM chat models behind a typed gRPC contract and OpenAI's HTTP API.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def _host() -> None:
        """GLM chat models behind a typed gRPC contract and OpenAI's HTTP API."""

    for point in sorted(entry_points(group=GROUP), key=lambda point: _place(point.name)):
        app.command(point.name)(point.load())
    app()


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)

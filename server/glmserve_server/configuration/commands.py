"""The sub-command `config`."""

from pathlib import Path
from typing import Annotated

import typer

from glmserve_server.configuration.layer import Layer
from glmserve_server.configuration.options import configured, loaded


@configured()
def config(
    file: Path | None,
    flags: Layer,
    *,
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check this configuration file instead, and print no more.")
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print an example with every key instead.")] = False,
) -> None:
    """Print the configuration as it is in effect, as TOML, with the origin of each value. Secrets are not shown.

    Takes the flags of glmserve up. Exit status: 0 it can be used, 2 it cannot (the reasons are on standard error).
    """
    if example:
        from glmserve_server.configuration.example import example as printed

        typer.echo(printed(), nl=False)
        return
    from glmserve_server.configuration.effective import effective

    configuration = loaded(check or file, flags)
    if check is None:
        typer.echo(effective(configuration), nl=False)

"""The sub-commands `up` and `serve`; heavy imports wait until one is called."""

from pathlib import Path

import typer

from glmserve_server.configuration.layer import Layer
from glmserve_server.configuration.options import configured, loaded


@configured()
def up(file: Path | None, flags: Layer) -> None:
    """Serve models over gRPC and, through Envoy, over OpenAI's HTTP API."""
    _run(file, flags, edge=True)


@configured("port", "edge.allow_origins", "edge.max_body", "edge.access_log")
def serve(file: Path | None, flags: Layer) -> None:
    """Serve models over gRPC alone."""
    _run(file, flags, edge=False)


def _run(file: Path | None, flags: Layer, *, edge: bool) -> None:
    configuration = loaded(file, flags)
    from glmserve_server.run import run

    raise typer.Exit(run(configuration, edge=edge))

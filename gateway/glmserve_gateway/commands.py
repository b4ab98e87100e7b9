"""The gateway's command: `glmserve edge`. Imports little, because every `glmserve` command loads it."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glmserve_gateway.ready import write_ready_file

if TYPE_CHECKING:
    from glmserve_gateway.envoy import Envoy


Servers = Annotated[list[str], typer.Option(metavar="HOST:PORT", help="A gRPC server behind. May be repeated.")]


def edge(
    grpc: Servers = ["127.0.0.1:50051"],  # noqa: B006 (typer copies it)
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 for a free one.")] = 8080,
    concurrency: Annotated[int, typer.Option(min=1, help="Envoy's worker threads.")] = 1,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Let web pages of this origin in; * for all. May be repeated."),
    ] = None,
    max_body: Annotated[int, typer.Option(min=1, max=1024, help="MiB that the body of a request may have.")] = 32,
    access_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Gets a line of JSON for every request.")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Written with the addresses, as JSON, once Envoy listens.")
    ] = None,
) -> None:
    """Run the edge alone: OpenAI's HTTP API and gRPC-Web in front of a gRPC server, until Ctrl-C."""
    from glmserve_gateway.envoy import Envoy, EnvoyError

    try:
        envoy = Envoy(
            grpc=grpc,
            host=host,
            port=port,
            concurrency=concurrency,
            allow_origins=allow_origin or (),
            max_body_mib=max_body,
            access_log=access_log,
        )
        status = asyncio.run(_run(envoy, ready_file))
    except EnvoyError as error:
        typer.echo(f"glmserve edge: {error}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(status)


async def _run(envoy: "Envoy", ready_file: Path | None) -> int:
    """Runs Envoy until a signal, which is success, or until it ends by itself, which is not."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with envoy:
        _announce(envoy, ready_file)
        ended = asyncio.create_task(envoy.wait())
        stopped = asyncio.create_task(told.wait())
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if told.is_set():
            ended.cancel()
            return 0
    typer.echo(f"glmserve edge: Envoy ended by itself, with status {ended.result()}", err=True)
    return 1


def _announce(envoy: "Envoy", ready_file: Path | None) -> None:
    if ready_file is not None:
        addresses = {"openai": envoy.openai_url, "grpc": envoy.address, "admin": envoy.admin_url}
        write_ready_file(ready_file, addresses)
    typer.echo(f"OpenAI  {envoy.openai_url}\ngRPC    {envoy.address}\nadmin   {envoy.admin_url}")
    sys.stdout.flush()

"""The sub-commands `up` and `serve`; heavy imports wait until one is called."""

import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

DEFAULT_MODEL: Final = "tiny-glm4"

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port of OpenAI's API; 0 picks a free one.")]
GrpcPort = Annotated[int, typer.Option(help="Port of the gRPC server; 0 picks a free one.")]
Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        help="A model to serve: tiny-glm4, scripted, or a chatglm.cpp file. Repeatable.",
        show_default="tiny-glm4, unless there is an upstream",
    ),
]
Upstreams = Annotated[
    list[str],
    typer.Option(
        "--upstream",
        help="A model that another server runs: NAME=URL[,URL...][#MODEL], where zhipu and zai stand for Zhipu's URLs. "
        "Its key comes from the environment, GLMSERVE_UPSTREAM_KEY_NAME. Repeatable.",
        show_default="none",
    ),
]
UpstreamKeyFiles = Annotated[
    list[str],
    typer.Option(
        "--upstream-key-file", help="NAME=FILE: the file has that upstream's key. Repeatable.", show_default="none"
    ),
]
UpstreamTimeout = Annotated[float, typer.Option(help="Seconds that an upstream may say nothing.")]
UpstreamConcurrency = Annotated[int, typer.Option(help="Requests that an upstream's model gets at a time.")]
Workers = Annotated[int | None, typer.Option(help="Processes per model.", show_default="from the CPUs")]
Threads = Annotated[int | None, typer.Option(help="Threads per process.", show_default="from the CPUs")]
ContextLength = Annotated[int, typer.Option(help="Most tokens of prompt and answer, if the model has as many.")]
QueueLimit = Annotated[int, typer.Option(help="Requests that may wait for a model; more are refused.")]
TimeLimit = Annotated[float, typer.Option(help="Seconds that an answer may take.")]
StallLimit = Annotated[float, typer.Option(help="Seconds that a reader may take nothing of an answer.")]
SilenceLimit = Annotated[
    float,
    typer.Option(help="Seconds that a worker may say nothing, beyond what its prompt needs."),
]
PrefixReuse = Annotated[bool, typer.Option(help="Keep what a worker has read of a conversation for its next turn.")]
ImageHosts = Annotated[
    list[str],
    typer.Option(
        "--image-host",
        help="A host that images may be fetched from, if its addresses are public; * for all. HOST:PORT: also in a "
        "private network. Repeatable.",
        show_default="none",
    ),
]
DrainDelay = Annotated[
    float, typer.Option(help="Seconds between NOT_SERVING and the end of new calls, for load balancers to notice.")
]
Grace = Annotated[float, typer.Option(help="Seconds that running answers have to end when the server stops.")]
Unsupported = Annotated[
    str, typer.Option(help="What becomes of preferences that a model cannot honour: ignore (and name them) or refuse.")
]
ReadyFile = Annotated[Path | None, typer.Option(help="File that gets the addresses, as JSON, once everything answers.")]


def up(
    host: Host = "127.0.0.1",
    port: Port = 8080,
    grpc_port: GrpcPort = 50051,
    model: Models = [],  # noqa: B006 (typer copies it)
    upstream: Upstreams = [],  # noqa: B006
    upstream_key_file: UpstreamKeyFiles = [],  # noqa: B006
    upstream_timeout: UpstreamTimeout = 120.0,
    upstream_concurrency: UpstreamConcurrency = 256,
    workers: Workers = None,
    threads: Threads = None,
    context_length: ContextLength = 8192,
    queue_limit: QueueLimit = 64,
    time_limit: TimeLimit = 600.0,
    stall_limit: StallLimit = 60.0,
    silence_limit: SilenceLimit = 30.0,
    prefix_reuse: PrefixReuse = True,
    image_host: ImageHosts = [],  # noqa: B006
    drain_delay: DrainDelay = 0.0,
    grace: Grace = 30.0,
    unsupported: Unsupported = "ignore",
    ready_file: ReadyFile = None,
) -> None:
    """Serve a model over gRPC and, through Envoy, over OpenAI's HTTP API."""
    _run(
        edge=True,
        host=host,
        port=port,
        grpc_port=grpc_port,
        models=tuple(model),
        upstreams=tuple(upstream),
        upstream_key_files=tuple(upstream_key_file),
        upstream_timeout=upstream_timeout,
        upstream_concurrency=upstream_concurrency,
        workers=workers,
        threads=threads,
        context_length=context_length,
        queue_limit=queue_limit,
        time_limit=time_limit,
        stall_limit=stall_limit,
        silence_limit=silence_limit,
        prefix_reuse=prefix_reuse,
        image_hosts=tuple(image_host),
        drain_delay=drain_delay,
        grace=grace,
        unsupported=unsupported,
        ready_file=ready_file,
    )


def serve(
    host: Host = "127.0.0.1",
    grpc_port: GrpcPort = 50051,
    model: Models = [],  # noqa: B006 (typer copies it)
    upstream: Upstreams = [],  # noqa: B006
    upstream_key_file: UpstreamKeyFiles = [],  # noqa: B006
    upstream_timeout: UpstreamTimeout = 120.0,
    upstream_concurrency: UpstreamConcurrency = 256,
    workers: Workers = None,
    threads: Threads = None,
    context_length: ContextLength = 8192,
    queue_limit: QueueLimit = 64,
    time_limit: TimeLimit = 600.0,
    stall_limit: StallLimit = 60.0,
    silence_limit: SilenceLimit = 30.0,
    prefix_reuse: PrefixReuse = True,
    image_host: ImageHosts = [],  # noqa: B006
    drain_delay: DrainDelay = 0.0,
    grace: Grace = 30.0,
    unsupported: Unsupported = "ignore",
    ready_file: ReadyFile = None,
) -> None:
    """Serve a model over gRPC alone."""
    _run(
        edge=False,
        host=host,
        grpc_port=grpc_port,
        models=tuple(model),
        upstreams=tuple(upstream),
        upstream_key_files=tuple(upstream_key_file),
        upstream_timeout=upstream_timeout,
        upstream_concurrency=upstream_concurrency,
        workers=workers,
        threads=threads,
        context_length=context_length,
        queue_limit=queue_limit,
        time_limit=time_limit,
        stall_limit=stall_limit,
        silence_limit=silence_limit,
        prefix_reuse=prefix_reuse,
        image_hosts=tuple(image_host),
        drain_delay=drain_delay,
        grace=grace,
        unsupported=unsupported,
        ready_file=ready_file,
    )


def _run(
    *,
    edge: bool,
    models: tuple[str, ...],
    upstreams: tuple[str, ...],
    upstream_key_files: tuple[str, ...],
    upstream_timeout: float,
    upstream_concurrency: int,
    queue_limit: int,
    **choices: Any,
) -> None:
    from glmserve_server.engines.upstream import flags
    from glmserve_server.engines.upstream.options import UpstreamOptionsError
    from glmserve_server.settings import Settings, SettingsError

    try:
        elsewhere = flags.upstreams(
            upstreams,
            upstream_key_files,
            os.environ,
            timeout=upstream_timeout,
            concurrency=upstream_concurrency,
            queue_limit=queue_limit,
        )
        here = models or (() if elsewhere else (DEFAULT_MODEL,))
        settings = Settings(models=here, upstreams=elsewhere, queue_limit=queue_limit, **choices)
    except (SettingsError, UpstreamOptionsError) as error:
        raise typer.BadParameter(str(error)) from None
    from glmserve_server.run import run

    raise typer.Exit(run(settings, edge=edge))

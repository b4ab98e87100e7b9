"""The sub-commands `bench` and `bench-model`; heavy imports wait until one is called."""

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from glmserve_client.terminal.failure import failures

if TYPE_CHECKING:
    from glmserve_client.bench.load import Plan
    from glmserve_client.bench.prompts import Prompts
    from glmserve_client.bench.summary import Figures
    from glmserve_client.bench.target import Target

_MOST_CLIENTS: Final = 1000
_MULTIPLES: Final = {"K": 10**3, "M": 10**6, "B": 10**9}

_console = Console(stderr=True, highlight=False, soft_wrap=True)


def bench(
    grpc: Annotated[str | None, typer.Option(help="A glmserve server's gRPC address, HOST:PORT.")] = None,
    url: Annotated[str | None, typer.Option(help="Or any: http://127.0.0.1:8080/v1, https, grpc, grpcs.")] = None,
    model: Annotated[str, typer.Option(help="The model's name.", show_default="the first listed")] = "",
    concurrency: Annotated[str, typer.Option(help="Clients at the same time; several numbers: one by one.")] = "1,4,8",
    requests: Annotated[
        int, typer.Option(min=1, max=100_000, help="Requests (with --turns: conversations) at each concurrency.")
    ] = 16,
    max_time: Annotated[
        float, typer.Option(min=1, max=86_400, help="Seconds for each concurrency; what still runs then is left.")
    ] = 60.0,
    prompt_tokens: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Length of the question, in tokens, about.")
    ] = 64,
    answer_tokens: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Length of the answer, in tokens; greedy.")
    ] = 64,
    prompt: Annotated[
        str | None, typer.Option(help="Ask this every time.", show_default="random words, every time others")
    ] = None,
    turns: Annotated[
        int, typer.Option(min=1, max=100, help="Requests in a conversation, each with all that was said before.")
    ] = 1,
    cancel: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the requests that are left in the middle.")
    ] = 0.0,
    api_key: Annotated[str | None, typer.Option(envvar="GLMSERVE_API_KEY", help="The key, if one is needed.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed asks the same questions.")] = 0,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON; - is standard output.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the figures, FILE.svg.")] = None,
) -> None:
    """Measure how fast a server answers: first token, next tokens, throughput, errors.

    Exit status: 0 measured, 1 nothing was answered, 2 wrong usage, 130 interrupted.
    """
    from glmserve_client.bench.load import Plan
    from glmserve_client.bench.prompts import Prompts

    if plot is not None and plot.suffix != ".svg":
        raise typer.BadParameter(f"--plot draws SVG: name a file that ends with .svg, not {plot}")
    plan = Plan(
        model=model, conversations=requests, turns=turns, answer_tokens=answer_tokens, cancel=cancel, max_time=max_time
    )
    prompts = Prompts(tokens=prompt_tokens, fixed=prompt, seed=seed)
    levels = _concurrencies(concurrency)
    if (grpc is None) == (url is None):
        raise typer.BadParameter("name one server: --grpc HOST:PORT or --url http://HOST:PORT/v1")
    with failures():
        where = f"grpc://{grpc}" if grpc is not None else f"{url}"
        measured = asyncio.run(_measured(where, api_key, plan, prompts, levels))
    _write(measured, json_file, plot)
    raise typer.Exit(0 if any(level["requests"]["answered"] for level in measured["levels"]) else 1)


def bench_model(
    file: Annotated[Path, typer.Argument(help="Where to write it.")],
    parameters: Annotated[str, typer.Option(help="How many weights, about: 1M, 300M, 1.5B.")] = "300M",
    kind: Annotated[str, typer.Option("--type", help="How they are stored: f16, q4_0, q8_0.")] = "q8_0",
    context_length: Annotated[int, typer.Option(min=64, max=131_072, help="Most tokens of prompt and answer.")] = 2048,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 0,
) -> None:
    """Make a model of random weights, to measure what one of its size costs without downloading any.

    The file is chatglm.cpp's, for GLM-4: glmserve up --model FILE. It says nothing of sense.
    """
    from glmserve_client.bench.model import write_model
    from glmserve_client.bench.shape import shape_of
    from glmserve_client.bench.weights import Quantisation

    kinds = {kind.title: kind for kind in Quantisation}
    if kind not in kinds:
        raise typer.BadParameter(f"--type must be one of {', '.join(kinds)}, not {kind!r}")
    shape = shape_of(_parameters(parameters), context=context_length)
    try:
        size = write_model(file, shape, kinds[kind], seed=seed)
    except OSError as error:
        _console.print(f"[red]glmserve:[/] {file}: {error.strerror}")
        raise typer.Exit(1) from None
    _console.print(
        f"{file}: {shape.parameters / 1e6:,.1f} million parameters in {size / 1e6:,.1f} MB of {kind}: {shape.layers} "
        f"layers of {shape.hidden}, {shape.vocabulary:,} tokens, context {shape.context:,}"
    )


def _concurrencies(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(1 <= number <= _MOST_CLIENTS for number in numbers):
        raise typer.BadParameter(f"--concurrency must be numbers from 1 to {_MOST_CLIENTS}, like 1,4,8, not {text!r}")
    return numbers


def _parameters(text: str) -> int:
    multiple = _MULTIPLES.get(text[-1:].upper(), 1)
    try:
        number = float(text.rstrip("kmbKMB")) * multiple
    except ValueError:
        number = 0
    if not 10**5 <= number <= 20 * 10**9:
        raise typer.BadParameter(f"--parameters must be between 100K and 20B, like 300M, not {text!r}")
    return int(number)


async def _measured(url: str, api_key: str | None, plan: "Plan", prompts: "Prompts", levels: list[int]) -> "Figures":
    from glmserve_client.bench.report import report

    async with aclosing(_target(url, api_key)) as target:
        with _console.status("Learning what the server is like") as status:
            plan = replace(plan, model=plan.model or await _first_model(target))
            return await report(
                target, plan, prompts, levels, on_level=lambda number: status.update(f"Measuring with {number} clients")
            )


def _target(url: str, api_key: str | None) -> "Target":
    """Raises `ConfigurationError`."""
    from glmserve_client.address import Certificates, WireKind, address
    from glmserve_client.bench.grpc_target import GrpcTarget
    from glmserve_client.bench.http_target import HttpTarget

    where = address(url, api_key=api_key, certificates=Certificates(), plain_key=False)
    if where.wire is WireKind.GRPC:
        return GrpcTarget(where.authority, api_key=where.api_key, encrypted=where.encrypted)
    return HttpTarget(where.url, api_key=where.api_key)


async def _first_model(target: "Target") -> str:
    """Its name, or none: what is wrong with the server is for the measurement to say."""
    from glmserve_client.bench.target import Failed

    try:
        return await target.first_model()
    except Failed:
        return ""


def _write(measured: "Figures", json_file: str | None, plot: Path | None) -> None:
    from glmserve_client.bench.plot import svg
    from glmserve_client.bench.table import show

    text = json.dumps(measured, indent=2, ensure_ascii=False) + "\n"
    if json_file == "-":
        typer.echo(text, nl=False)
    else:
        show(measured, Console(highlight=False))
        if json_file is not None:
            Path(json_file).write_text(text)
    if plot is not None:
        plot.write_text(svg(measured))

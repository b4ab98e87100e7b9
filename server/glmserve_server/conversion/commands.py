"""The sub-command `convert`; heavy imports wait until it is called."""

import signal
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from glmserve_server.card.visible import visible
from glmserve_server.conversion.kind import Kind

if TYPE_CHECKING:
    from glmserve_server.conversion.converter import Work
    from glmserve_server.conversion.source import Source

_console = Console(stderr=True, highlight=False, soft_wrap=True)


def convert(
    source: Annotated[
        str,
        typer.Argument(help="A folder with a Hugging Face checkpoint, a model's name there, or a chatglm.cpp file."),
    ],
    out: Annotated[Path, typer.Argument(help="The model file to write.")],
    kind: Annotated[Kind, typer.Option("--type", help="How the weights are stored.")] = Kind.Q4_0,
    vision_kind: Annotated[Kind, typer.Option("--vision-type", help="The same, in GLM-4V's vision tower.")] = Kind.F16,
    lora: Annotated[str | None, typer.Option(help="A LoRA adapter to merge into the weights, folder or name.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the Python code that SOURCE brings. Read it first.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the libraries print, and tracebacks.")] = False,
) -> None:
    """Make a model file from a Hugging Face checkpoint of a GLM model, or a GGUF file from a model file.

    A checkpoint needs PyTorch and transformers (glmserve-server's extra "convert"), and memory for all weights in
    float32. A chatglm.cpp file of GLM-4, ChatGLM3 or ChatGLM2 keeps its type and needs the extra "llama"; of the
    options, only --force is for it.
    Exit status: 0 written, 1 not written (the reason is on standard error), 2 wrong usage, 130 interrupted.
    """
    from glmserve_server.conversion.converter import Work
    from glmserve_server.conversion.errors import ConversionError

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: nothing half done is left
    work = Work(source=source, lora=lora, kind=kind, vision_kind=vision_kind, verbose=verbose)
    try:
        if Path(source).is_file():
            _convert_file(Path(source), out, force=force)
        else:
            _convert(work, out, trusted=trust_remote_code, force=force)
    except ConversionError as error:
        if verbose:
            _console.print(traceback.format_exc(), markup=False)
        _say(str(error), "red")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _say("interrupted: nothing was written", "yellow")
        raise typer.Exit(130) from None


def _convert(work: "Work", out: Path, *, trusted: bool, force: bool) -> None:
    from glmserve_server.conversion.converter import check_packages
    from glmserve_server.conversion.source import check_lora, source_of
    from glmserve_server.conversion.target import check_target

    source = source_of(work.source)
    if work.lora is not None:
        check_lora(work.lora)
    check_target(out, force=force, size=source.size_as(work.kind, work.vision_kind))
    _check_trust(source, trusted=trusted)
    check_packages(lora=work.lora is not None)
    _warn(source)
    _write(work, out, force=force)
    _show(out)


def _convert_file(source: Path, out: Path, *, force: bool) -> None:
    """chatglm.cpp's form of a model into llama.cpp's."""
    from glmserve_server.conversion.errors import ConversionError
    from glmserve_server.engines.llama.cache import make
    from glmserve_server.errors import ModelUnavailable

    if out.suffix != ".gguf":
        raise ConversionError(f"{source}: it is a model file already; it can become a .gguf file, not {out.name}")
    try:
        make(source, out, force=force)
    except ModelUnavailable as error:
        raise ConversionError(str(error)) from None
    Console(highlight=False, soft_wrap=True).print(f"glmserve up --model {visible(str(out))}", markup=False)


def _check_trust(source: "Source", *, trusted: bool) -> None:
    """Nobody's code is run before its user has said so."""
    from glmserve_server.conversion.errors import ConversionError

    if not trusted:
        raise ConversionError(
            f"{source.name} brings its own Python code, which the conversion runs with all your rights "
            f"({', '.join(source.code)}): read it, then say --trust-remote-code"
        )


def _warn(source: "Source") -> None:
    from glmserve_server.machine import available_memory
    from glmserve_server.plan import size_text

    _say(f"running the code of {source.name}: {', '.join(source.code)}", "yellow")
    if (size := source.loaded_size or 0) > (free := available_memory()):
        _say(f"{source.name} takes about {size_text(size)} of memory in float32; {size_text(free)} are free", "yellow")


def _write(work: "Work", out: Path, *, force: bool) -> None:
    """Writes the file and reads it back before it gets its name."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from glmserve_server.conversion.converter import run_converter
    from glmserve_server.conversion.errors import ConversionError
    from glmserve_server.conversion.target import part_file
    from glmserve_server.engines.chatglm import modelfile
    from glmserve_server.errors import ModelUnavailable

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=_console, transient=True, disable=not _console.is_terminal or work.verbose)
    with part_file(out, force=force) as (file, part), progress:
        task = progress.add_task("Loading", total=None)
        run_converter(
            work,
            file,
            lambda done, total: progress.update(task, description="Tensors", completed=done, total=total),
        )
        file.flush()
        try:
            modelfile.read(part)
        except ModelUnavailable as error:
            raise ConversionError(f"the converter wrote a file that cannot be read: {error}") from error


def _show(out: Path) -> None:
    from glmserve_server.card.gather import card_of
    from glmserve_server.card.table import show
    from glmserve_server.engines.chatglm.settings import ChatGlmSettings

    card = card_of(str(out), ChatGlmSettings(name=out.stem, file=out))
    console = Console(highlight=False, soft_wrap=True)
    show(card, Console(highlight=False))
    if card.refusal:
        _say(f"the file is whole, but would not be served here: {card.refusal}", "yellow")
    else:
        console.print(f"\nglmserve up --model {visible(str(out))}", markup=False)


def _say(text: str, colour: str) -> None:
    _console.print(f"[{colour}]glmserve:[/] ", end="")
    _console.print(visible(text), markup=False)

"""The sub-command `chat`; heavy imports wait until it is called."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glmserve_client.terminal.failure import Status, failures
from glmserve_client.terminal.groups import grouped
from glmserve_client.terminal.question import ModelName, Sampling, System
from glmserve_client.terminal.server import Server

if TYPE_CHECKING:
    from glmserve_client.chat.session import Session


@grouped
def chat(
    server: Server,
    sampling: Sampling,
    model: ModelName = "",
    system: System = None,
    load: Annotated[Path | None, typer.Option(help="Go on with a conversation that /save wrote.")] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Show how fast answers come.")] = False,
) -> None:
    """Talk with a model. /help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves.

    Exit status: 0 left, 1 the server was not reached or refused at the start, 2 wrong usage.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise typer.BadParameter("chat needs a terminal; for programs there is: glmserve ask")
    from glmserve_client.chat.interrupt import silent_keys

    with failures(), silent_keys():
        try:
            asyncio.run(_chat(server, sampling, model, system, load, stats=stats))
        except asyncio.CancelledError:
            raise typer.Exit(Status.TERMINATED) from None


async def _chat(
    server: Server, sampling: Sampling, model: str, system: str | None, load: Path | None, *, stats: bool
) -> None:
    from rich.console import Console

    from glmserve_client.chat.session import Session
    from glmserve_client.client import AsyncClient

    loop, ours = asyncio.get_running_loop(), asyncio.current_task()
    assert ours is not None  # noqa: S101 (for the type checker)
    loop.add_signal_handler(signal.SIGTERM, ours.cancel)  # or the terminal would stay as it is during a prompt
    async with AsyncClient(server.address, **server.options) as client:
        parameters: Any = sampling.parameters
        session = Session(client, Console(highlight=False), model=model, system=system, parameters=parameters)
        session.stats = stats
        if load is not None:
            session.load(load)
            session.model = model or session.model
            session.transcript.system = session.transcript.system if system is None else system
        await _greet(session, server.address)
        await _talk(session)


async def _greet(session: "Session", address: str) -> None:
    """Says where we are. Without a name, the first model is taken, and the greeting says so."""
    models = await session.models()
    others = f" (of {len(models)}: /model)" if not session.model and len(models) > 1 else ""
    session.model = session.model or (models[0].id if models else "")
    session.note(f"{session.model or 'the only model'}{others} at {address}")
    session.note("/help lists the commands. Ctrl-C stops an answer, Ctrl-D leaves.")


async def _talk(session: "Session") -> None:
    from glmserve_client.chat import slash
    from glmserve_client.chat.interrupt import interrupts_ignored
    from glmserve_client.chat.prompt import Prompt

    prompt = Prompt({name: command.takes_file for name, command in slash.COMMANDS.items()})
    with interrupts_ignored():
        while True:
            session.console.print()
            try:
                text = await prompt.ask(_mark(len(session.images)))
                if text.startswith("/") and not text.startswith("//"):
                    await slash.run(session, text)
                elif text:
                    await session.ask(text[1:] if text.startswith("//") else text)
            except KeyboardInterrupt:
                session.note("Ctrl-D or /quit leaves.")
            except (EOFError, slash.Quit):
                return


def _mark(images: int) -> str:
    if not images:
        return ""
    return "[1 image] " if images == 1 else f"[{images} images] "

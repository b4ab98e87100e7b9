"""The commands of a conversation, which begin with a slash."""

import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from glmserve_client.chat.interrupt import interruptible
from glmserve_client.chat.session import Session
from glmserve_client.errors import ConfigurationError, GlmserveError
from glmserve_client.terminal.catalogue import table
from glmserve_client.terminal.failure import worded
from glmserve_client.terminal.files import named
from glmserve_client.terminal.question import picture

_SHOWN: Final = 60
"""Characters of a question that are enough to know it again."""


class Quit(Exception):
    """The person leaves."""


@dataclass(frozen=True, slots=True)
class Command:
    """One of them."""

    run: Callable[[Session, str], Awaitable[None]]
    argument: str
    help: str

    @property
    def takes_file(self) -> bool:
        """Whether a file's name follows."""
        return self.argument.startswith("FILE")


async def run(session: Session, line: str) -> None:
    """Runs a line that begins with a slash. Raises `Quit`."""
    name, _, argument = line.partition(" ")
    if (command := COMMANDS.get(_ALIASES.get(name, name))) is None:
        session.note(f"There is no {name}; /help lists the commands. A question may begin with // for one slash.")
        return
    try:
        await command.run(session, argument.strip())
    except GlmserveError as error:
        session.note(worded(error), style="red")


async def _system(session: Session, text: str) -> None:
    if text:
        session.transcript.system = None if text == "-" else text
        session.note("No instructions." if text == "-" else "Instructions set, from the next question on.")
    else:
        session.note(
            session.transcript.system or "No instructions. /system TEXT gives some, /system - takes them away."
        )


async def _model(session: Session, name: str) -> None:
    models = await interruptible(session.models())
    if models is None:
        return
    if not name and not models:
        session.note("The server does not list its models; /model NAME chooses one.")
        return
    if not name:
        session.console.print(table(models, current=session.model))
        return
    session.model = name
    known = any(name in (model.id, *model.aliases) for model in models)
    session.note(
        f"The model is {name} from now on." if known else f"The server does not list {name}; asking it anyway."
    )


async def _image(session: Session, names: str) -> None:
    pictures = [picture(name) for name in _split(names)]
    if not pictures:
        raise ConfigurationError("/image FILE … attaches pictures to the next question")
    session.images += pictures


async def _save(session: Session, name: str) -> None:
    path = _file(name) if name else session.file
    if path is None:
        raise ConfigurationError("/save FILE names the file")
    session.save(path)
    session.note(f"Saved to {path}.")


async def _load(session: Session, name: str) -> None:
    if not name:
        raise ConfigurationError("/load FILE names the file")
    session.load(_file(name))
    number = len(session.transcript.messages)
    messages = "1 message" if number == 1 else f"{number} messages"
    session.note(f"Loaded {messages}; the model is {session.model or 'the only one'}.")
    if session.transcript.messages:
        last = session.transcript.messages[-1]
        session.console.print()
        session.show(_text(last))
    if session.is_unanswered:
        session.note("The last question has no answer yet; /retry asks it.")


async def _retry(session: Session, _: str) -> None:
    await session.retry()


async def _undo(session: Session, _: str) -> None:
    question = session.undo()
    session.note("There is no question yet." if question is None else f"Forgotten: {_text(question)[:_SHOWN]}")


async def _new(session: Session, _: str) -> None:
    session.renew()
    session.note("A new conversation.")


async def _stats(session: Session, _: str) -> None:
    session.stats = not session.stats
    session.note("Speeds are shown after each answer." if session.stats else "Speeds are not shown.")


async def _help(session: Session, _: str) -> None:
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, command in COMMANDS.items():
        made.add_row(Text(f"{name} {command.argument}".rstrip(), style="bold"), Text(command.help))
    for key, meaning in _KEYS.items():
        made.add_row(Text(key, style="bold"), Text(meaning))
    session.console.print(made)


async def _quit(session: Session, _: str) -> None:  # noqa: ARG001 (as the others)
    raise Quit


COMMANDS: Final[Mapping[str, Command]] = {
    "/system": Command(_system, "TEXT", "Instructions for the model; - for none; shows them without TEXT"),
    "/model": Command(_model, "NAME", "Another model; lists them without NAME"),
    "/image": Command(_image, "FILE …", "Pictures for the next question: files or addresses"),
    "/save": Command(_save, "FILE", "Write the conversation as JSON; without FILE where it was before"),
    "/load": Command(_load, "FILE", "Go on with a saved conversation"),
    "/retry": Command(_retry, "", "Ask the last question again"),
    "/undo": Command(_undo, "", "Forget the last question and its answer"),
    "/new": Command(_new, "", "Forget the conversation, not the instructions (also /clear)"),
    "/stats": Command(_stats, "", "Show how fast answers come, or stop showing it"),
    "/help": Command(_help, "", "This list"),
    "/quit": Command(_quit, "", "Leave (also /exit, Ctrl-D)"),
}
_KEYS: Final = {
    "Enter": 'Send; for more lines: Alt-Enter, \\ at a line\'s end, """ around all',
    "Ctrl-C": "Stop the answer; clear the line",
    "Ctrl-D": "Leave",
}
_ALIASES: Final = {"/clear": "/new", "/exit": "/quit"}


def _file(name: str) -> Path:
    return named(next(iter(_split(name)), ""))


def _split(names: str) -> list[str]:
    """File names as a shell has them: quoted, or with a backslash before a space."""
    try:
        return shlex.split(names)
    except ValueError as error:
        raise ConfigurationError(f"{names}: {str(error).lower()}") from None


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content or () if part["type"] == "text")

"""Where the person types: lines with history, editing, completion and paste."""

import sys
from collections.abc import Iterable, Mapping
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output
from prompt_toolkit.output.plain_text import PlainTextOutput
from prompt_toolkit.utils import is_dumb_terminal
from typing_extensions import override

_FENCE: Final = '"""'


class Prompt:
    """Asks for input. What was typed is remembered until the program ends, and written nowhere."""

    def __init__(self, commands: Mapping[str, bool]) -> None:
        """`commands` are what to complete at the beginning of a line, and whether a file's name follows."""
        output = PlainTextOutput(sys.stdout) if is_dumb_terminal() else create_output()
        with create_app_session(output=output):
            self._session: PromptSession[str] = PromptSession(
                multiline=True,
                key_bindings=_keys(),
                completer=_Commands(commands),
                complete_while_typing=False,
                reserve_space_for_menu=0,
                prompt_continuation="  ",
                enable_suspend=True,
            )

    async def ask(self, mark: str = "") -> str:
        """What is typed. Raises `EOFError` for Ctrl-D, and `KeyboardInterrupt` for Ctrl-C where nothing is typed."""
        shown: StyleAndTextTuples = [("", mark), ("bold", "> ")]
        text = await self._session.prompt_async(shown)
        if text.startswith(_FENCE):
            text = text.removeprefix(_FENCE).rstrip().removesuffix(_FENCE)
        return text.encode(errors="replace").decode().strip()  # half characters come from bytes that are no UTF-8


class _Commands(Completer):
    def __init__(self, commands: Mapping[str, bool]) -> None:
        self._commands = commands
        self._paths = PathCompleter(expanduser=True)

    @override
    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        typed = document.text_before_cursor
        name, space, rest = typed.partition(" ")
        if not space and typed.startswith("/"):
            for command in self._commands:
                if command.startswith(typed):
                    yield Completion(command, start_position=-len(typed))
        elif self._commands.get(name):
            path = rest.rpartition(" ")[2]
            yield from self._paths.get_completions(Document(path, len(path)), complete_event)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        """Sends, unless the text says that more lines follow."""
        buffer = event.current_buffer
        text = buffer.text
        if buffer.document.is_cursor_at_the_end and text.endswith("\\"):
            buffer.delete_before_cursor(1)
            buffer.insert_text("\n")
        elif text.startswith(_FENCE) and not text.rstrip().endswith(_FENCE, len(_FENCE)):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        """Clears the line; where there is nothing to clear, says so to the program."""
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return keys

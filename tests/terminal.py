"""The command in a terminal: a real pseudo-terminal, and an emulator that says what a person would see."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyte
from running import COMMAND

ENTER, ALT_ENTER, CTRL_C, CTRL_D, UP, TAB = "\r", "\x1b\r", "\x03", "\x04", "\x1b[A", "\t"
PATIENCE = 60.0
"""Seconds that a text may take to appear, on a busy machine."""

_LAUNCH = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
"""The terminal belongs to the new session: Ctrl-C reaches it as a signal."""


class Terminal:
    """`with Terminal("chat", ...) as terminal:` — 80 columns and 24 rows, with everything that scrolled away."""

    def __init__(self, *arguments: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._screen = _Screen(80, 24, history=5000, ratio=0.5)
        self._screen.answer = lambda data: os.write(self._ours, data)
        self._stream = pyte.ByteStream(self._screen)
        self._begun = 0
        self.raw = b""
        """All that was written to the terminal."""
        self._modes = termios.tcgetattr(theirs)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, COMMAND, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm-256color", **(environment or {})},
        )
        self._theirs = theirs

    @property
    def screen(self) -> str:
        """What is seen now, without the white space at the ends of its lines."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def text(self) -> str:
        """What is seen with what scrolled away above it."""
        above = ["".join(row[column].data for column in range(80)).rstrip() for row in self._screen.history.top]
        return "\n".join([*above, self.screen])

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal is in the modes that it was in."""
        return termios.tcgetattr(self._theirs) == self._modes

    def write(self, text: str, *, enter: bool = True) -> None:
        """Types it. What is seen from now on is what comes of it, on the line of the prompt and below."""
        self._begun = self.text.rfind("\n") + 1
        os.write(self._ours, f"{text}{ENTER if enter else ''}".encode())

    def see(self, text: str) -> str:
        """Waits until it is seen; gives all that came since something was typed."""
        return self.see_that(lambda seen: text in seen, text)

    def see_last(self, line: str) -> str:
        """The same for the last line as a whole."""
        return self.see_that(lambda seen: seen.rpartition("\n")[2] == line, line)

    def see_that(self, is_seen: Callable[[str], bool], what: str) -> str:
        """Waits until what came is so."""
        end = time.monotonic() + PATIENCE
        while not is_seen(seen := self.text[self._begun :]):
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{what!r} is not seen:\n{self.text}")
        return seen

    def ask(self, question: str) -> str:
        """Types a question or a command at a prompt and waits for the next one; gives what is between."""
        self.see_last(">")
        return self.enter(f"{question}{ENTER}")

    def enter(self, keys: str) -> str:
        """Presses keys, the last of which sends what was typed, and waits for the next prompt."""
        self.write(keys, enter=False)
        return self.see_that(lambda seen: seen.endswith("\n\n>"), "a prompt").removesuffix(">").strip("\n> ")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the command alone."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Waits for the end of the command and gives its exit status."""
        end = time.monotonic() + PATIENCE
        while self._process.poll() is None:
            self._read(min(0.1, end - time.monotonic()))
            assert time.monotonic() < end, self.text
        while self._read(0):
            pass
        return self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._theirs)
        os.close(self._ours)

    def _read(self, seconds: float) -> bool:
        """Reads what there is, waiting so long for the first of it."""
        readable, _, _ = select.select([self._ours], [], [], max(0.0, seconds))
        if not readable:
            return False
        data = os.read(self._ours, 1 << 16)
        self.raw += data
        self._stream.feed(data)
        return True


class _Screen(pyte.HistoryScreen):
    """Answers where its cursor is, as terminals do."""

    answer: Callable[[bytes], Any]

    def write_process_input(self, data: str) -> None:
        """What the terminal itself types."""
        self.answer(data.encode())

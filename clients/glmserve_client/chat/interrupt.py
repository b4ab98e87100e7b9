"""Ctrl-C for what is under way, not for the program."""

import asyncio
import signal
import sys
import termios
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")


async def interruptible(work: Coroutine[Any, Any, _T]) -> _T | None:
    """What the work gives; None if Ctrl-C stopped it."""
    task = asyncio.ensure_future(work)
    with _on_interrupt(task.cancel):
        try:
            return await task
        except asyncio.CancelledError:
            ours = asyncio.current_task()
            if ours is not None and ours.cancelling():  # the program itself is to end
                raise
            return None


@contextmanager
def _on_interrupt(action: Any) -> Iterator[None]:
    loop, former = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, action)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, former)


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Ctrl-C does nothing but for what is interruptible: it may come twice, or late."""
    former = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


@contextmanager
def silent_keys() -> Iterator[None]:
    """Keys are not written to the screen; what is typed meanwhile is there when it is asked for."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)

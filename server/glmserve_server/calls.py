"""The call that is being answered: its request id, and what its log line says."""

import contextvars
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Final

_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@~-]{1,128}")
"""What may stand in a log line, a header and a web page as it is. Envoy's configuration has the same."""


@dataclass(slots=True)
class Call:
    """One RPC, from its arrival."""

    method: str
    request_id: str
    caller: str
    notes: dict[str, str | int] = field(default_factory=dict)
    admitted: bool = False
    begun: float = field(default_factory=time.perf_counter)

    def line(self, outcome: str) -> str:
        """The log line; nothing of prompts and answers is in it."""
        milliseconds = (time.perf_counter() - self.begun) * 1000
        notes = "".join(f" {key}={value}" for key, value in self.notes.items())
        return f"{self.method} {outcome} {milliseconds:.1f}ms{notes} request_id={self.request_id}"


_current: contextvars.ContextVar[Call | None] = contextvars.ContextVar("call", default=None)


def begin(method: str, request_id: str | None, caller: str) -> Call:
    """Begins the call of this task; a request id that is missing or not sane is made anew.

    `caller` tells those apart who share the server fairly.
    """
    if request_id is None or not _SANE_ID.fullmatch(request_id):
        request_id = str(uuid.uuid4())
    call = Call(method=method, request_id=request_id, caller=caller)
    _current.set(call)
    return call


def note(**notes: str | int) -> None:
    """Adds to the log line of the current call, if there is one."""
    if (call := _current.get()) is not None:
        call.notes.update(notes)


def caller() -> str:
    """Who makes the current call; empty outside of one."""
    call = _current.get()
    return call.caller if call else ""


def admit() -> bool:
    """Whether something that the current call runs was admitted before, so that this does not count in a queue."""
    call = _current.get()
    if call is None:
        return False
    before, call.admitted = call.admitted, True
    return before


def request_id() -> str:
    """The id of the current call; empty outside of one."""
    call = _current.get()
    return call.request_id if call else ""

"""The call that is being answered: its request id, and what its log line says."""

import contextvars
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Final

from glmserve.v1.chat_pb2 import Usage

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
    first: float | None = None
    """Seconds until the first piece of the answer."""
    usage: Usage | None = None

    @property
    def seconds(self) -> float:
        """How long it takes so far."""
        return time.perf_counter() - self.begun

    def line(self, outcome: str) -> str:
        """The log line; nothing of prompts and answers is in it."""
        notes = "".join(f" {key}={value}" for key, value in self.notes.items())
        return f"{self.method} {outcome} {self.seconds * 1000:.1f}ms{notes} request_id={self.request_id}"


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


def note_answer() -> None:
    """Notes that the answer of the current call has begun; only the first time counts."""
    if (call := _current.get()) is not None and call.first is None:
        call.first = call.seconds


def note_usage(usage: Usage) -> None:
    """Notes what the answer of the current call has cost."""
    if (call := _current.get()) is not None:
        call.usage = usage
        call.notes.update(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)


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

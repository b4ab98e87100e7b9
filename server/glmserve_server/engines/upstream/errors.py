"""What an upstream's faults become here: one table. The caller learns what they can mend, the log the rest.

A refusal of the request keeps the upstream's words, apart from its address and our key. All else is between two
servers, and gets words of our own.
"""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Final

from glmserve_server.engines.upstream.fault import Fault
from glmserve_server.engines.upstream.fields import contract_path
from glmserve_server.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    InvalidArgument,
    ModelNotFound,
    ModelUnavailable,
    QueueFull,
    ServeError,
    Unsupported,
    WorkerDied,
)

logger = logging.getLogger(__name__)

_HELD: Final = "This model is run by another server, which"
_TOO_LONG: Final = re.compile(
    r"maximum context length|context[ _](length|size|window)|prompt is too long", re.IGNORECASE
)

Cause = Callable[[Fault], ServeError]


class Lost(Exception):
    """An upstream gave no answer, in a way that lets another be asked. `error` is for the caller if there is none."""

    def __init__(self, error: ServeError, *, again: bool = False, down: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.again = again
        """Whether the same upstream may be asked once more: a kept connection had ended."""
        self.down = down
        """Whether the upstream cannot be reached."""


def unreachable() -> ModelUnavailable:
    """No server answers at all."""
    return ModelUnavailable(f"{_HELD} cannot be reached.")


def unreadable() -> ModelUnavailable:
    """An answer that is none, before anything of it was sent on."""
    return _final(ModelUnavailable(f"{_HELD} does not answer as it should."))


def cut() -> WorkerDied:
    """An answer that broke off."""
    return WorkerDied(f"{_HELD} broke off in the middle of the answer.")


def silent(seconds: float) -> DeadlineExceeded:
    """An answer that does not go on."""
    return DeadlineExceeded(f"{_HELD} said nothing for {seconds:g} seconds.")


def refused(fault: Fault) -> ServeError:
    """The request is at fault, or seems to be."""
    if not fault.told:
        return unreadable()
    field = contract_path(fault.param) if fault.param else ""
    message = fault.message or "The request was refused."
    if fault.param:
        message = message.replace(fault.param, field, 1)
    if fault.code == "context_length_exceeded" or _TOO_LONG.search(message):
        return ContextLengthExceeded(message, field=field or "messages")
    if fault.code == "unsupported_parameter":
        return Unsupported(message, field=field)
    return InvalidArgument(message, field=field)


def too_long(fault: Fault) -> ServeError:
    """The prompt does not fit."""
    return ContextLengthExceeded(fault.message or "The request is too long for this model.", field="messages")


def unknown(fault: Fault) -> ServeError:
    """There is no such model there; without an error's words there is no such path."""
    return ModelNotFound(f"{_HELD} does not have it.") if fault.told else unreadable()


def too_large(_: Fault) -> ServeError:
    """The body is larger than the upstream takes."""
    return InvalidArgument("The request is larger than the server that runs this model takes.", field="messages")


def busy(fault: Fault) -> ServeError:
    """Too many requests, of all callers together."""
    wait = 1.0 if fault.retry_after is None else fault.retry_after
    return QueueFull(f"{_HELD} takes no more requests at present.", retry_after=wait)


def not_ours(_: Fault) -> ServeError:
    """The key, the account or the address is not as it should be: the operator's business, which no retry mends."""
    return _final(ModelUnavailable(f"{_HELD} does not let this one in. The log has the reason."))


def late(_: Fault) -> ServeError:
    """The upstream's own limit of time passed."""
    return DeadlineExceeded(f"{_HELD} took too long for the answer.")


def failed(fault: Fault) -> ServeError:
    """The upstream failed, or a proxy before it."""
    error = ModelUnavailable(f"{_HELD} failed.")
    if fault.retry_after is not None:
        error.retry_after = fault.retry_after
    return error


BY_STATUS: Final[Mapping[int, Cause]] = {
    400: refused,
    401: not_ours,
    402: not_ours,
    403: not_ours,
    404: unknown,
    405: not_ours,
    407: not_ours,
    408: late,
    413: too_large,
    415: not_ours,
    422: refused,
    429: busy,
    504: late,
    524: late,
}
"""By HTTP status; other ones are failures."""

_BY_WORD: Final[Mapping[str, Cause]] = {
    "invalid_request_error": refused,
    "badrequesterror": refused,
    "rate_limit_error": busy,
    "rate_limit_exceeded": busy,
    "timeout": late,
    "authentication_error": not_ours,
}
"""By type or code, for an error in a stream, which has no status."""

_NO_SUCH_PATH: Final = (404, 405, 501)
_ELSEWHERE: Final = frozenset({429, 500, 502, 503, 520, 521, 522, 523})
"""Statuses with which another server of the same model may still answer."""


def no_such_path(fault: Fault) -> bool:
    """Whether an upstream lacks the path that was asked, and not the model."""
    named = fault.told and (fault.code == "model_not_found" or "model" in fault.message.lower())
    return fault.status in _NO_SUCH_PATH and not named


def error_of(fault: Fault, codes: Mapping[str, Cause], *, begun: bool) -> ServeError | Lost:
    """What a fault is here. `codes`: what an upstream's own codes mean. `begun`: something was sent on already."""
    cause = codes.get(fault.code) or BY_STATUS.get(fault.status or 0)
    if cause is None and fault.status is None:
        cause = _BY_WORD.get(fault.code.lower()) or _BY_WORD.get(fault.type.lower())
    if cause is None:
        cause = not_ours if 300 <= (fault.status or 0) < 400 else failed
    error = cause(fault)
    if not isinstance(error, InvalidArgument):  # which has something of a prompt in it, perhaps
        said = (fault.status, fault.type, fault.code, fault.message)
        logger.warning("an upstream answered with status %s, type %r, code %r: %r", *said)
    if begun:
        return cut() if cause is failed else error
    elsewhere = cause in (busy, failed) and (fault.status is None or fault.status in _ELSEWHERE)
    return Lost(error) if elsewhere else error


def _final(error: ModelUnavailable) -> ModelUnavailable:
    error.retry_after = None
    return error

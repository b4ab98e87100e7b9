"""Failures of HTTP calls to the client's errors: one table of statuses, one of OpenAI's codes."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from glmserve_client import errors
from glmserve_client.errors import BadRequest, FieldViolation, GlmserveError, InvalidAnswer, RequestFailed

_BY_STATUS: Final[dict[int, type[RequestFailed]]] = {
    401: errors.Unauthenticated,
    403: errors.PermissionDenied,
    404: errors.NotFound,
    405: errors.NotSupported,
    429: errors.RateLimited,
    501: errors.NotSupported,
    502: errors.Unavailable,
    503: errors.Unavailable,
}
_BY_CODE: Final[dict[str, type[RequestFailed]]] = {
    "unsupported_parameter": errors.Unsupported,
    "context_length_exceeded": errors.ContextLengthExceeded,
    "model_not_found": errors.UnknownModel,
    "invalid_api_key": errors.Unauthenticated,
    "rate_limit_exceeded": errors.RateLimited,
}
_BY_TYPE: Final[dict[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "rate_limit_error": 429,
    "server_error": 503,
}
"""What the status would be of an error in a stream, which has none."""
_TIMEOUTS: Final = (408, 504)
_MOST_SHOWN: Final = 300


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> GlmserveError:
    """The error to raise for an answer that is none."""
    if 300 <= status < 400:
        place = headers.get("location", "")[:_MOST_SHOWN]
        return InvalidAnswer(f"the server sends callers elsewhere, which is not followed: {place or status}")
    if (found := _object(body)) is not None:
        return _worded(status, found, _retry_after(headers))
    shown = body[:_MOST_SHOWN].decode(errors="replace").strip()
    return _worded(status, {"message": f"HTTP {status}: {shown}" if shown else f"HTTP {status}"}, _retry_after(headers))


def stream_error(error: Any) -> GlmserveError:
    """The error to raise for an error in the middle of a stream."""
    found = error if isinstance(error, dict) else {"message": str(error)[:_MOST_SHOWN]}
    status = 504 if found.get("code") == "timeout" else _BY_TYPE.get(str(found.get("type")), 500)
    return _worded(status, found, None)


def _object(body: bytes) -> dict[str, Any] | None:
    """OpenAI's error object, if this is one."""
    try:
        found = json.loads(body)["error"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else {"message": str(found)}


def _worded(status: int, error: dict[str, Any], retry_after: float | None) -> GlmserveError:
    message = str(error.get("message") or f"HTTP {status}")
    if status in _TIMEOUTS:
        return errors.DeadlineExceeded(message)
    fallback: type[RequestFailed] = BadRequest if 400 <= status < 500 else errors.ServerError
    kind = _BY_CODE.get(str(error.get("code"))) or _BY_STATUS.get(status, fallback)
    if issubclass(kind, BadRequest):
        param = error.get("param")
        return kind(message, violations=[FieldViolation(param, message)] if isinstance(param, str) else ())
    return kind(message, retry_after=retry_after)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait; None if it does not say that waiting helps."""
    if headers.get("x-should-retry") == "false":
        return None
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value := headers.get("retry-after", "")):
        return float(value)
    return 0.0 if headers.get("x-should-retry") == "true" else None

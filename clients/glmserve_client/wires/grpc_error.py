"""Failures of gRPC calls to the client's errors: one table of codes, one of reasons."""

import re
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from glmserve_client import errors
from glmserve_client.errors import BadRequest, FieldViolation, GlmserveError, RequestFailed

_C = grpc.StatusCode
_M = TypeVar("_M", bound=Message)
_DETAILS: Final = "grpc-status-details-bin"
_NOT_CONNECTED: Final = ("failed to connect", "DNS resolution failed", "Failed to connect", "resolver error")

_BY_CODE: Final[dict[grpc.StatusCode, type[RequestFailed]]] = {
    _C.INVALID_ARGUMENT: errors.BadRequest,
    _C.FAILED_PRECONDITION: errors.BadRequest,
    _C.OUT_OF_RANGE: errors.BadRequest,
    _C.UNAUTHENTICATED: errors.Unauthenticated,
    _C.PERMISSION_DENIED: errors.PermissionDenied,
    _C.NOT_FOUND: errors.NotFound,
    _C.UNIMPLEMENTED: errors.NotSupported,
    _C.RESOURCE_EXHAUSTED: errors.RateLimited,
    _C.UNAVAILABLE: errors.Unavailable,
}
_BY_REASON: Final[dict[str, type[RequestFailed]]] = {
    "ERROR_REASON_UNSUPPORTED": errors.Unsupported,
    "ERROR_REASON_CONTEXT_LENGTH_EXCEEDED": errors.ContextLengthExceeded,
    "ERROR_REASON_MODEL_NOT_FOUND": errors.UnknownModel,
}
_PATHS: Final = (
    (re.compile(r"^(messages\[\d+\]\.content\[\d+\])\.image(?:\.data|\.url)$"), r"\1.image_url.url"),
    (re.compile(r"^(messages\[\d+\]\.content\[\d+\])\.image\b"), r"\1.image_url"),
    (re.compile(r"^(messages\[\d+\]\.tool_calls\[\d+\])\.name$"), r"\1.function.name"),
    (re.compile(r"^(messages\[\d+\]\.tool_calls\[\d+\])\.arguments_json$"), r"\1.function.arguments"),
    (re.compile(r"^(tools\[\d+\]\.function)\.parameters_json$"), r"\1.parameters"),
    (re.compile(r"^(tools\[\d+\])\.builtin$"), r"\1.type"),
    (re.compile(r"^tool_choice\.mode$"), "tool_choice"),
    (re.compile(r"^tool_choice\.function_name$"), "tool_choice.function.name"),
    (
        re.compile(r"^tool_choice\.allowed_tools\.function_names(\[\d+\])$"),
        r"tool_choice.allowed_tools.tools\1.function.name",
    ),
    (re.compile(r"^tool_choice\.allowed_tools\.function_names$"), "tool_choice.allowed_tools.tools"),
    (re.compile(r"^(response_format\.json_schema)\.schema_json$"), r"\1.schema"),
    (re.compile(r"^reasoning(?:\.effort)?$"), "reasoning_effort"),
)
"""Fields of the contract, and what OpenAI's API calls them."""


def error_of(error: grpc.aio.AioRpcError, *, begun: bool, address: str) -> GlmserveError:
    """The error to raise for a failed call. `begun`: something of the answer has come already."""
    status = _status(error)
    if status is None and (lost := _lost(error, begun, address)) is not None:
        return lost
    message = error.details() or error.code().name
    if error.code() is _C.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded(message)
    status = status or status_pb2.Status()
    kind = _BY_REASON.get(_reason(status)) or _BY_CODE.get(error.code(), errors.ServerError)
    if issubclass(kind, BadRequest):
        message, violations = _violations(status, message)
        return kind(message, violations=violations)
    return kind(message, retry_after=_retry_after(status))


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """The rich status, if a server has sent one."""
    for name, value in error.trailing_metadata() or ():
        if name == _DETAILS and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _lost(error: grpc.aio.AioRpcError, begun: bool, address: str) -> GlmserveError | None:
    """The error for a failure that this end has found; None if the server says that it fails."""
    details = error.details() or ""
    if details.startswith("SERVER: Received message larger"):
        return BadRequest(f"the request is too large for the server: {details}")
    if error.code() is _C.RESOURCE_EXHAUSTED and "message larger than max" in details:
        return errors.InvalidAnswer(f"the answer is larger than the client takes: {details}")
    if error.code() not in (_C.UNAVAILABLE, _C.UNKNOWN, _C.INTERNAL, _C.CANCELLED) or tuple(
        error.trailing_metadata() or ()
    ):
        return None
    if begun:
        return errors.BrokenStream(f"the answer broke off: {details}")
    if any(text in details for text in _NOT_CONNECTED):
        refused = "Connection refused"  # the usual case, in which grpc-core says much more
        cause = refused if details.endswith(refused) else details
        return errors.ConnectionFailed(f"no server answers at {address}: {cause}", retry_after=0.0)
    return errors.ConnectionFailed(f"the connection to {address} broke: {details}")


def _reason(status: status_pb2.Status) -> str:
    info = _detail(status, error_details_pb2.ErrorInfo())
    return info.reason if info is not None and info.domain == "glmserve" else ""


def _retry_after(status: status_pb2.Status) -> float | None:
    retry = _detail(status, error_details_pb2.RetryInfo())
    return None if retry is None else max(0.0, retry.retry_delay.ToMilliseconds() / 1000)


def _violations(status: status_pb2.Status, message: str) -> tuple[str, list[FieldViolation]]:
    """The message and the fields in the names of the arguments."""
    found: Any = _detail(status, error_details_pb2.BadRequest())
    violations = []
    for violation in found.field_violations if found is not None else ():
        path = _path(violation.field)
        message = message.replace(violation.field, path, 1)
        violations.append(FieldViolation(path, violation.description.replace(violation.field, path, 1)))
    return message, violations


def _path(field: str) -> str:
    for pattern, replacement in _PATHS:
        path, found = pattern.subn(replacement, field)
        if found:
            return path
    return field


def _detail(status: status_pb2.Status, into: _M) -> _M | None:
    return next((into for detail in status.details if detail.Unpack(into)), None)

"""Failures in OpenAI's form: one table from `google.rpc.Status` to HTTP status, error body and headers.

Knows nothing about requests or answers. Whoever raises an error makes a rich status; this module only words it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from typing_extensions import override

from glmserve.v1 import error_pb2
from glmserve_gateway.paths import openai_path

ERROR_METADATA = "x-glmserve-error"
"""The trailing metadata that carries OpenAI's error body to the edge."""

MAX_ERROR_BYTES = 4096
"""The longest error body. It travels as HTTP/2 metadata, which peers limit to 8 KiB or more."""

_MAX_DETAILS = 256
_DOMAIN = "glmserve"
_M = TypeVar("_M", bound=Message)
_R = error_pb2.ErrorReason
_C = grpc.StatusCode


class InvalidRequest(ValueError):
    """The HTTP request is not a chat completion request. `param` is the path of the field, in OpenAI's names."""

    reason = _R.ERROR_REASON_INVALID_ARGUMENT

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    @override
    def __str__(self) -> str:
        return self.message

    @property
    def status(self) -> status_pb2.Status:
        """The rich status that the server would give for the same fault."""
        status = status_pb2.Status(code=_C.INVALID_ARGUMENT.value[0], message=self.message)
        reason = _R.Name(self.reason)
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=_DOMAIN))
        if self.param is not None:
            violation = error_details_pb2.BadRequest.FieldViolation(field=self.param, description=self.message)
            status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
        return status


class Unsupported(InvalidRequest):
    """The request requires something that no model here can give, such as sound."""

    reason = _R.ERROR_REASON_UNSUPPORTED


class Wording(NamedTuple):
    """How OpenAI's API words a kind of failure."""

    http_status: int
    type: str
    code: str | None = None
    retry: bool = True
    """Whether the same request may succeed later, if the status says when. If not, clients are told to leave it."""


_INVALID = "invalid_request_error"
_SERVER = "server_error"

TABLE: Mapping[tuple[grpc.StatusCode, error_pb2.ErrorReason.ValueType], Wording] = {
    (_C.INVALID_ARGUMENT, _R.ERROR_REASON_INVALID_ARGUMENT): Wording(400, _INVALID, None, retry=False),
    (_C.INVALID_ARGUMENT, _R.ERROR_REASON_UNSUPPORTED): Wording(400, _INVALID, "unsupported_parameter", retry=False),
    (_C.INVALID_ARGUMENT, _R.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED): Wording(
        400, _INVALID, "context_length_exceeded", retry=False
    ),
    (_C.NOT_FOUND, _R.ERROR_REASON_MODEL_NOT_FOUND): Wording(404, _INVALID, "model_not_found", retry=False),
    (_C.UNAUTHENTICATED, _R.ERROR_REASON_INVALID_API_KEY): Wording(
        401, "authentication_error", "invalid_api_key", retry=False
    ),
    (_C.RESOURCE_EXHAUSTED, _R.ERROR_REASON_QUEUE_FULL): Wording(429, "rate_limit_error", "rate_limit_exceeded"),
    # The same request would run as long again, and clients retry twice: three times the work for no answer.
    (_C.DEADLINE_EXCEEDED, _R.ERROR_REASON_DEADLINE_EXCEEDED): Wording(504, _SERVER, "timeout", retry=False),
    (_C.UNAVAILABLE, _R.ERROR_REASON_WORKER_DIED): Wording(503, _SERVER),
    (_C.UNAVAILABLE, _R.ERROR_REASON_SHUTTING_DOWN): Wording(503, _SERVER),
    (_C.UNAVAILABLE, _R.ERROR_REASON_MODEL_UNAVAILABLE): Wording(503, _SERVER),
    (_C.INTERNAL, _R.ERROR_REASON_INTERNAL): Wording(500, _SERVER, None, retry=False),
}
"""Every failure of the contract. The HTTP statuses are those that Envoy gives the gRPC codes."""

_BY_CODE: Mapping[grpc.StatusCode, Wording] = {
    _C.FAILED_PRECONDITION: Wording(400, _INVALID, None, retry=False),
    _C.OUT_OF_RANGE: Wording(400, _INVALID, None, retry=False),
    _C.PERMISSION_DENIED: Wording(403, "permission_error", None, retry=False),
    _C.NOT_FOUND: Wording(404, _INVALID, None, retry=False),
    _C.UNIMPLEMENTED: Wording(501, _SERVER, None, retry=False),
    **{code: wording for (code, _), wording in reversed(list(TABLE.items()))},
}
_UNKNOWN = Wording(500, _SERVER, None, retry=False)
_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in _C}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIError:
    """A failure, ready to be sent."""

    code: grpc.StatusCode
    reason: error_pb2.ErrorReason.ValueType
    http_status: int
    message: str
    param: str | None
    body: bytes
    """The error object as JSON, in ASCII, at most `MAX_ERROR_BYTES`."""
    headers: tuple[tuple[str, str], ...]
    """`retry-after`, `x-should-retry` and `www-authenticate`, where they say something."""

    @property
    def details(self) -> str:
        """What gRPC shows as the status message; short."""
        return self.message if len(self.message) <= _MAX_DETAILS else self.message[: _MAX_DETAILS - 1] + "…"

    @property
    def trailers(self) -> tuple[tuple[str, str], ...]:
        """The trailing metadata of a failed call of `OpenAIService`."""
        return ((ERROR_METADATA, self.body.decode("ascii")), *self.headers)


def openai_error(status: status_pb2.Status, names: Mapping[str, str] | None = None) -> OpenAIError:
    """Words a rich status as OpenAI's API does.

    `names` maps fields of `ChatCompletionRequest` to the names under which the request really gave them.
    """
    code = _CODES.get(status.code, _C.UNKNOWN)
    reason = _reason(status)
    wording = TABLE.get((code, reason)) or _BY_CODE.get(code, _UNKNOWN)
    message, param = status.message, None
    if (field := _field(status)) is not None:
        param = openai_path(field, names or {})
        message = message.replace(field, param, 1)
    message = message or code.value[1]
    return OpenAIError(
        code=code,
        reason=reason,
        http_status=wording.http_status,
        message=message,
        param=param,
        body=error_body({"message": message, "type": wording.type, "param": param, "code": wording.code}),
        headers=tuple(_headers(status, wording)),
    )


def error_body(error: Mapping[str, str | None]) -> bytes:
    """The body for an error object, in ASCII and with a long message cut, because metadata are ASCII and short."""
    while True:
        body = json.dumps({"error": error}, separators=(",", ":")).encode("ascii")
        if len(body) <= MAX_ERROR_BYTES:
            return body
        message, param = error["message"] or "", error.get("param") or ""
        error = {**error, "message": message[: len(message) // 2] + "…"}
        if len(param) > MAX_ERROR_BYTES // 16:
            error["param"] = None


def _reason(status: status_pb2.Status) -> error_pb2.ErrorReason.ValueType:
    if (info := _detail(status, error_details_pb2.ErrorInfo())) and info.reason in _R.keys():  # noqa: SIM118
        return _R.Value(info.reason)
    return error_pb2.ERROR_REASON_UNSPECIFIED


def _field(status: status_pb2.Status) -> str | None:
    bad = _detail(status, error_details_pb2.BadRequest())
    return bad.field_violations[0].field or None if bad and bad.field_violations else None


def _headers(status: status_pb2.Status, wording: Wording) -> Iterator[tuple[str, str]]:
    if wording.http_status == 401:
        yield "www-authenticate", "Bearer"  # HTTP demands it (https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1)
    retry = _detail(status, error_details_pb2.RetryInfo())
    if retry is None or not wording.retry:
        yield "x-should-retry", "false"
    else:
        delay = retry.retry_delay
        yield "retry-after", str(max(1, delay.seconds + (delay.nanos > 0)))


def _detail(status: status_pb2.Status, into: _M) -> _M | None:
    return next((into for detail in status.details if detail.Unpack(into)), None)

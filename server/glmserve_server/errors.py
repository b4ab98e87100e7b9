"""What can go wrong, and what it is called on the wire.

    ServeError
    ├── InvalidArgument          a field is missing, of the wrong form or out of range
    │   ├── Unsupported          the model cannot do what the request requires
    │   └── ContextLengthExceeded
    ├── Unimplemented            the server that runs the model has no such method
    ├── ModelNotFound
    ├── InvalidApiKey
    ├── QueueFull
    ├── DeadlineExceeded
    ├── WorkerDied
    ├── ShuttingDown
    └── ModelUnavailable
        └── ModelBroken          it will not run until somebody mends it

The code raises these; `status_of` alone knows gRPC's codes and `google.rpc` details (https://google.aip.dev/193).
"""

from typing import Final, Self

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from glmserve.v1 import error_pb2

DOMAIN: Final = "glmserve"


class ServeError(Exception):
    """A failure that the caller is told about: its text is meant for them."""

    retry_after: float | None = None
    """Seconds after which the same call may succeed; None: it will not."""


class InvalidArgument(ServeError):
    """A field of the request is missing, of the wrong form or out of range.

    `field` is empty when no field is at fault, or an upstream does not say which.
    """

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field

    def under(self, path: str) -> Self:
        """The same fault with `path` for the first part of its field's path."""
        _, dot, rest = self.field.partition(".")
        field = f"{path}{dot}{rest}"
        return type(self)(str(self).replace(self.field, field, 1), field=field)


class Unsupported(InvalidArgument):
    """The request requires something that the model cannot do."""


class ContextLengthExceeded(InvalidArgument):
    """The prompt leaves no room for an answer in the model's context."""


class Unimplemented(ServeError):
    """The server that runs the model has no such method."""


class ModelNotFound(ServeError):
    """There is no model of that name."""


class InvalidApiKey(ServeError):
    """The call brings no key, or one that the server does not have."""


class QueueFull(ServeError):
    """Too many requests wait for this model already."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(ServeError):
    """The answer took longer than the server allows."""


class WorkerDied(ServeError):
    """The process that ran the model ended in the middle of the answer."""

    retry_after = 1.0


class ShuttingDown(ServeError):
    """The server takes no new requests."""

    retry_after = 1.0


class ModelUnavailable(ServeError):
    """The model cannot be run at present."""

    retry_after: float | None = 5.0


class ModelBroken(ModelUnavailable):
    """The model cannot be run, and will not be until somebody mends its file or its settings."""

    retry_after = None


_WIRE: Final[dict[type[ServeError], tuple[grpc.StatusCode, error_pb2.ErrorReason.ValueType]]] = {
    InvalidArgument: (grpc.StatusCode.INVALID_ARGUMENT, error_pb2.ERROR_REASON_INVALID_ARGUMENT),
    Unsupported: (grpc.StatusCode.INVALID_ARGUMENT, error_pb2.ERROR_REASON_UNSUPPORTED),
    ContextLengthExceeded: (grpc.StatusCode.INVALID_ARGUMENT, error_pb2.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED),
    Unimplemented: (grpc.StatusCode.UNIMPLEMENTED, error_pb2.ERROR_REASON_UNSUPPORTED),
    ModelNotFound: (grpc.StatusCode.NOT_FOUND, error_pb2.ERROR_REASON_MODEL_NOT_FOUND),
    InvalidApiKey: (grpc.StatusCode.UNAUTHENTICATED, error_pb2.ERROR_REASON_INVALID_API_KEY),
    QueueFull: (grpc.StatusCode.RESOURCE_EXHAUSTED, error_pb2.ERROR_REASON_QUEUE_FULL),
    DeadlineExceeded: (grpc.StatusCode.DEADLINE_EXCEEDED, error_pb2.ERROR_REASON_DEADLINE_EXCEEDED),
    WorkerDied: (grpc.StatusCode.UNAVAILABLE, error_pb2.ERROR_REASON_WORKER_DIED),
    ShuttingDown: (grpc.StatusCode.UNAVAILABLE, error_pb2.ERROR_REASON_SHUTTING_DOWN),
    ModelUnavailable: (grpc.StatusCode.UNAVAILABLE, error_pb2.ERROR_REASON_MODEL_UNAVAILABLE),
    ModelBroken: (grpc.StatusCode.UNAVAILABLE, error_pb2.ERROR_REASON_MODEL_UNAVAILABLE),
}


CODES: Final[dict[str, str]] = {error.__name__: code.name for error, (code, _) in _WIRE.items()}
"""The names of gRPC's codes, by the names of the errors."""


def status_of(error: Exception) -> status_pb2.Status:
    """The status that tells a caller of `error`; an unforeseen error becomes INTERNAL and keeps its text to itself."""
    if not isinstance(error, ServeError):
        return _status(
            grpc.StatusCode.INTERNAL, error_pb2.ERROR_REASON_INTERNAL, "The server failed; its log has the reason."
        )
    code, reason = _WIRE[type(error)]
    details: list[Message] = []
    if isinstance(error, InvalidArgument) and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=str(error))
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return _status(code, reason, str(error), *details)


def _status(
    code: grpc.StatusCode, reason: error_pb2.ErrorReason.ValueType, message: str, *details: Message
) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=error_pb2.ErrorReason.Name(reason), domain=DOMAIN)
    return status_pb2.Status(code=code.value[0], message=message, details=[_packed(info), *map(_packed, details)])


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed

"""llama.cpp's errors as ours."""

from typing import Any, Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve_server.dialects.prompts import too_long
from glmserve_server.engines.llama.form import left, response_schema
from glmserve_server.errors import InvalidArgument, ModelUnavailable

_BAD_REQUEST: Final = 400
_TOO_LONG: Final = "exceed_context_size_error"
_UNREAD: Final = "does not match the expected"
"""Its parser has given up on what the model wrote."""
_LONGEST: Final = 300


def prompt_tokens(error: dict[str, Any]) -> int | None:
    """The size of a prompt that was too long; None: it is another error."""
    return error.get("n_prompt_tokens") if error.get("type") == _TOO_LONG else None


def refusal_of(error: dict[str, Any], request: ChatCompletionRequest, context_length: int) -> Exception:
    """What the caller is told."""
    message = _reason(str(error.get("message", "")))
    if error.get("type") == _TOO_LONG:
        return too_long(request, context_length, str(prompt_tokens(error) or "more"))
    if error.get("code") == _BAD_REQUEST:
        field = _field(message, request)
        return InvalidArgument(f"{field}: the model cannot take this request: {message}", field=field)
    if _UNREAD in message and response_schema(request) is not None:
        return left(request)
    if _UNREAD in message:
        return ModelUnavailable("The model began a tool call and left the form of one. Another try may do better.")
    return RuntimeError(f"llama.cpp: {message}")


def _field(message: str, request: ChatCompletionRequest) -> str:
    if any(word in message for word in ("grammar", "schema")):
        return "tools" if request.tools and response_schema(request) is None else "response_format"
    return "prompt" if request.HasField("prompt") else "messages"


def _reason(message: str) -> str:
    """The line that says why. A template's errors come after a picture of the place."""
    lines = message.splitlines() or ["no reason"]
    last = lines[-1].removeprefix("Error: ").removeprefix("Jinja Exception: ")
    return (last if "Error: " in lines[-1] else lines[0].rpartition("parser generation failed: ")[2])[:_LONGEST]

"""What an upstream says went wrong, read from whatever form it says it in."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

_MOST_SHOWN: Final = 1000
_LONGEST_WAIT: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error answer, or an error in a stream. What the upstream did not say is empty or None."""

    status: int | None
    """The HTTP status; None: it came in a stream and does not say."""
    message: str = ""
    type: str = ""
    code: str = ""
    param: str | None = None
    retry_after: float | None = None
    told: bool = True
    """Whether it is an error as chat servers word it, and not some web page."""

    @classmethod
    def of_answer(cls, status: int, headers: Mapping[str, str], body: bytes) -> "Fault":
        """An answer that is not 2xx."""
        wait = _retry_after(headers.get("retry-after", ""))
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return cls(status=status, message=_short(body.decode(errors="replace")), retry_after=wait, told=False)
        return cls._made(status, found, wait)

    @classmethod
    def of_event(cls, data: str) -> "Fault | None":
        """The error that an event of a stream is, or None."""
        if '"error"' not in data:
            return None
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or not (found.get("error") or found.get("object") == "error"):
            return None
        return cls._made(None, found, None)

    def without(self, secrets: Sequence[str]) -> "Fault":
        """The same without any of some texts."""
        return replace(
            self,
            message=_without(self.message, secrets),
            type=_without(self.type, secrets),
            code=_without(self.code, secrets),
            param=_without(self.param, secrets) if self.param else None,
        )

    @classmethod
    def _made(cls, status: int | None, found: Any, wait: float | None) -> "Fault":
        """From OpenAI's form, the older one of vLLM without `error` around it, or FastAPI's `detail`."""
        if not isinstance(found, dict):
            return cls(status=status, message=_short(str(found)), retry_after=wait, told=False)
        error = found.get("error") or found
        if not isinstance(error, dict):
            error = {"message": str(error)}
        if "detail" in error and "message" not in error:
            error = _detail(error["detail"])
        code, param = error.get("code"), error.get("param")
        if status is None and isinstance(code, int) and 400 <= code < 600:
            status = code
        return cls(
            status=status,
            message=_short(str(error.get("message") or "")),
            type=_text(str(error.get("type") or ""))[:80],
            code="" if code is None else _text(str(code))[:80],
            param=_text(param)[:256] if isinstance(param, str) and param else None,
            retry_after=wait,
            told="message" in error,
        )


def _detail(detail: Any) -> dict[str, Any]:
    """`[{"loc": ["body", "messages", 0, "role"], "msg": …}]`, or a text."""
    first = detail[0] if isinstance(detail, list) and detail else detail
    if not isinstance(first, dict):
        return {"message": str(first)}
    loc = first.get("loc")
    steps = [step for step in loc if step != "body"] if isinstance(loc, list) else []
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    return {"message": f"{path}: {first.get('msg')}" if path else str(first.get("msg")), "param": path or None}


def _retry_after(value: str) -> float | None:
    """Seconds, from a number of them or a date."""
    try:
        wait = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
            wait = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return None
    return min(max(wait, 0.0), _LONGEST_WAIT) if wait == wait else None  # noqa: PLR0124 (it may be nan)


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "…")
    return text


def _text(text: str) -> str:
    """Without halves of characters, which JSON can hold and no message of ours."""
    return text.encode(errors="replace").decode()


def _short(text: str) -> str:
    text = _text(text.strip())
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"

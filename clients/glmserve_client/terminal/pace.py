"""How fast an answer comes."""

import time
from typing import Any

from glmserve_client.reply import Usage


class Pace:
    """Moments of one answer, in seconds of one clock. Begins when it is made."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._first: float | None = None
        self._last = self._begun

    def piece(self) -> None:
        """A piece of the answer came."""
        self._last = time.perf_counter()
        if self._first is None:
            self._first = self._last

    @property
    def waited(self) -> float:
        """Seconds since the question, or from the question to the first piece once it came."""
        return (time.perf_counter() if self._first is None else self._first) - self._begun

    def figures(self, usage: Usage | None) -> dict[str, Any]:
        """Seconds to the first piece, and tokens a second after the first one; None is what cannot be told."""
        tokens = usage.completion_tokens if usage else 0
        seconds = 0.0 if self._first is None else self._last - self._first
        return {
            "first_token_seconds": None if self._first is None else round(self.waited, 4),
            "tokens_per_second": round((tokens - 1) / seconds, 2) if seconds > 0 and tokens > 1 else None,
        }

    def worded(self, usage: Usage | None) -> str:
        """The same on a line."""
        figures = self.figures(usage)
        known = (
            [] if figures["first_token_seconds"] is None else [f"first after {figures['first_token_seconds']:.2f} s"]
        )
        if figures["tokens_per_second"] is not None:
            known.insert(0, f"{figures['tokens_per_second']:.1f} tokens/s")
        if usage:
            known.insert(0, f"{usage.completion_tokens} tokens")
            cached = f", {usage.cached_tokens} of them cached" if usage.cached_tokens else ""
            known.append(f"prompt {usage.prompt_tokens}{cached}")
        return " · ".join(known) or "nothing came"

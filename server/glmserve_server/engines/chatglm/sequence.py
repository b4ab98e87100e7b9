"""The one sequence that a loaded chatglm-cpp model holds, and the key-value cache that is left of the one before.

The library runs a whole prompt at position 0, or exactly one id at a later position: what follows a cached prefix is
fed one id at a time. That costs more per id than a prompt run at once, so a prefix is used when it saves time by
the costs measured when the model was loaded.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from glmserve_server.engines.chatglm.job import common_prefix

Openings = Collection[list[int]]

_PROBE: Final = 32
"""The length of the prompt that is run to measure costs."""

_HEATS: Final = (1.0,) * 8 + (2.0,) * 8 + (4.0,) * 8
"""The temperatures at which an allowed token is looked for."""


class Sequence:
    """Begun with a prompt, then asked for tokens."""

    def __init__(self, library: Any, model: str, context_length: int, *, reuse: bool) -> None:
        self._library = library
        self._pipeline = library.Pipeline(model, context_length)
        self._step = self._pipeline.model.generate_next_token
        self._greedy = library.GenerationConfig(do_sample=False)
        self._ids: list[int] = []
        self._past = 0  # so many of the ids are in the cache
        self._reuse = reuse
        self.prefill_seconds, self._step_seconds = self._measure(min(_PROBE, context_length // 2))
        """What one id of a prompt costs when it is run at once."""

    def begin(self, ids: list[int]) -> int:
        """Takes a prompt, and says how many of its ids the cache holds and need no work."""
        common = min(common_prefix(self._ids[: self._past], ids), len(ids) - 1) if self._reuse else 0
        saved = len(ids) * self.prefill_seconds - (len(ids) - common) * self._step_seconds
        self._ids, self._past = ids, common if saved > 0 else 0
        return self._past

    def tokens(self, sampling: Mapping[str, Any], openings: Openings = ()) -> Iterator[int | None]:
        """The tokens that follow, for ever; None after each id of the prompt but the last that was fed by itself.

        They begin with one of the `openings`, if there are any.
        """
        config = self._library.GenerationConfig(**sampling)
        prompt = len(self._ids)
        if self._past:
            for end in range(self._past + 1, prompt):
                self._step(self._ids[:end], None, self._greedy, end - 1, prompt)
                self._past = end
                yield None
        while True:
            token = self._step(self._ids, None, config, self._past, prompt)
            self._past = len(self._ids)
            if openings and (allowed := _following(openings, self._ids[prompt:])) and token not in allowed:
                token = self._one_of(allowed, prompt)
            yield token
            self._ids.append(token)

    def _one_of(self, allowed: list[int], prompt: int) -> int:
        """One of some tokens, as likely as the model finds it beside the others: samples until one of them comes,
        hotter and hotter, because the library shows no logits. The first one if none ever comes."""
        for temperature in _HEATS if len(allowed) > 1 else ():
            config = self._library.GenerationConfig(do_sample=True, temperature=temperature, top_k=0, top_p=1.0)
            token: int = self._step(self._ids, None, config, len(self._ids) - 1, prompt)
            if token in allowed:
                return token
        return allowed[0]

    def forget(self) -> None:
        """Uses nothing of the cache again."""
        self._past = 0

    def _measure(self, length: int) -> tuple[float, float]:
        """Seconds for an id of a prompt, and for an id by itself: the better of two runs, the first being warm-up."""
        ids = [1] * (length + 1)
        prefill = min(self._timed(ids[:length], 0) for _ in range(2)) / length
        return prefill, min(self._timed(ids, length) for _ in range(2))

    def _timed(self, ids: list[int], past: int) -> float:
        begun = time.perf_counter()
        self._step(ids, None, self._greedy, past, len(ids))
        return time.perf_counter() - begun


def _following(openings: Openings, written: list[int]) -> list[int]:
    """The tokens with which one of the openings goes on after those written already."""
    size = len(written)
    return [opening[size] for opening in openings if len(opening) > size and opening[:size] == written]

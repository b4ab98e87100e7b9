"""The one sequence that a loaded chatglm-cpp model holds, and the key-value cache that is left of the one before.

The library runs a whole prompt at position 0, or exactly one id at a later position: what follows a cached prefix is
fed one id at a time. That costs more per id than a prompt run at once, so a prefix is used when it saves time by
the costs measured when the model was loaded.

A picture's tokens are one id for the library, which counts the positions of the cache and the ids apart: it sees the
picture when the prompt is run at position 0, so a cached prefix is used that holds all of it or lies before none.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from glmserve_server.engines.chatglm.costs import measure
from glmserve_server.engines.chatglm.job import reusable
from glmserve_server.engines.chatglm.picture import Picture

Openings = Collection[list[int]]

_HEATS: Final = (1.0,) * 8 + (2.0,) * 8 + (4.0,) * 8
"""The temperatures at which an allowed token is looked for."""


class Sequence:
    """Begun with a prompt, then asked for tokens."""

    def __init__(self, library: Any, model: str, context_length: int, *, reuse: bool) -> None:
        self._library = library
        self._pipeline = library.Pipeline(model, context_length)
        self._greedy = library.GenerationConfig(do_sample=False)
        self._ids: list[int] = []
        self._past = 0  # so many of the ids are in the cache
        self._fed: list[int] = []  # the ids for the library: one for all of a picture
        self._image: Any = None
        self._reuse = reuse
        self.costs = measure(library, self._pipeline, context_length)

    def begin(self, ids: list[int], picture: Picture | None = None) -> int:
        """Takes a prompt, and says how many of its ids the cache holds and need no work."""
        common = reusable(self._ids[: self._past], ids, picture) if self._reuse else 0
        saves = self.costs.saving(len(ids), common, picture=picture is not None) > 0
        self._ids, self._past = ids, common if saves else 0
        self._fed, self._image = self._for_the_library(picture)
        return self._past

    def tokens(self, sampling: Mapping[str, Any], openings: Openings = ()) -> Iterator[int | None]:
        """The tokens that follow, for ever; None after each id of the prompt but the last that was fed by itself.

        They begin with one of the `openings`, if there are any.
        """
        config = self._library.GenerationConfig(**sampling)
        prompt = len(self._ids)
        if self._past:
            for end in range(self._past + 1, prompt):
                self._step(self._greedy, end, prompt)
                yield None
        while True:
            token = self._step(config, len(self._ids), prompt)
            if openings and (allowed := _following(openings, self._ids[prompt:])) and token not in allowed:
                token = self._one_of(allowed, prompt)
            yield token
            self._ids.append(token)
            self._fed.append(token)

    def _step(self, config: Any, end: int, prompt: int) -> int:
        """Runs what the cache lacks of the first `end` ids, which is all of them or one. Returns what may follow."""
        left = len(self._ids) - end
        fed = self._fed[:-left] if left else self._fed
        token: int = self._pipeline.model.generate_next_token(fed, self._image, config, self._past, prompt)
        self._past = end
        return token

    def _for_the_library(self, picture: Picture | None) -> tuple[list[int], Any]:
        if picture is None:
            return list(self._ids), None
        vision = self._pipeline.model.config.vision
        size, tokens = vision.image_size, (vision.image_size // vision.patch_size // 2) ** 2
        fed = [*self._ids[: picture.at], picture.patch, *self._ids[picture.at + tokens :]]
        return fed, self._library.Image(memoryview(picture.pixels).cast("B", (size, size, 3)))

    def _one_of(self, allowed: list[int], prompt: int) -> int:
        """One of some tokens, as likely as the model finds it beside the others: samples until one of them comes,
        hotter and hotter, because the library shows no logits. The first one if none ever comes."""
        for temperature in _HEATS if len(allowed) > 1 else ():
            config = self._library.GenerationConfig(do_sample=True, temperature=temperature, top_k=0, top_p=1.0)
            self._past = len(self._ids) - 1  # the last id once more
            if (token := self._step(config, len(self._ids), prompt)) in allowed:
                return token
        return allowed[0]

    def forget(self) -> None:
        """Uses nothing of the cache again."""
        self._past = 0


def _following(openings: Openings, written: list[int]) -> list[int]:
    """The tokens with which one of the openings goes on after those written already."""
    size = len(written)
    return [opening[size] for opening in openings if len(opening) > size and opening[:size] == written]

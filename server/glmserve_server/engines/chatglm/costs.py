"""What a loaded model's work costs: measured, so that a cached prefix is used when it saves time, and so that the
server knows how long a worker may be silent."""

import time
from dataclasses import dataclass
from typing import Any, Final

_PROBE: Final = 32
"""The length of the prompt that is run to measure costs."""

_MEASURED_UP_TO: Final = 2.0
"""Seconds: a picture that seems to cost more is not run at the start. GLM-4V-9B's takes as long as 4000 tokens."""

_SLOW_ATTENTION: Final = 4
"""An operation of the vision tower's attention takes as long as so many of its matrices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds."""

    prefill: float
    """For an id of a prompt that is run at once."""
    step: float
    """For an id by itself."""
    picture: float
    """For a picture, besides its tokens; 0: the model sees none."""

    def prompt(self, length: int, *, picture: bool) -> float:
        """What a prompt of so many ids costs that is run at once."""
        return length * self.prefill + (self.picture if picture else 0.0)

    def saving(self, length: int, cached: int, *, picture: bool) -> float:
        """What is saved when the first `cached` ids of a prompt need no work, and the others are run one by one."""
        return max(0.0, self.prompt(length, picture=picture) - (length - cached) * self.step)


def measure(library: Any, pipeline: Any, context_length: int) -> Costs:
    """Runs a short prompt, a step, and a picture if the model sees pictures and one is run in a moment.

    Each is the better of two runs, the first being warm-up.
    """
    probe = _Probe(library, pipeline)
    length = min(_PROBE, context_length // 2)
    prefill = probe.best([1] * length) / length
    step = max(prefill, probe.best([1] * (length + 1), past=length))  # less can only be measured by accident
    return Costs(prefill=prefill, step=step, picture=_picture(probe, prefill, context_length))


class _Probe:
    def __init__(self, library: Any, pipeline: Any) -> None:
        self.library = library
        self.pipeline = pipeline
        self._greedy = library.GenerationConfig(do_sample=False)

    def best(self, ids: list[int], *, image: Any = None, past: int = 0) -> float:
        return min(self._timed(ids, image, past) for _ in range(2))

    def _timed(self, ids: list[int], image: Any, past: int) -> float:
        begun = time.perf_counter()
        self.pipeline.model.generate_next_token(ids, image, self._greedy, past, len(ids))
        return time.perf_counter() - begun


def _picture(probe: _Probe, prefill: float, context_length: int) -> float:
    config = probe.pipeline.model.config
    if config.model_type_name != "ChatGLM4V":  # other models' vision numbers are not set to anything
        return 0.0
    estimate: float = prefill * _picture_operations(config) / _token_operations(config)
    size = config.vision.image_size
    image = probe.library.Image(memoryview(bytes(size * size * 3)).cast("B", (size, size, 3)))
    message = probe.library.ChatMessage("user", "", image)
    ids = probe.pipeline.tokenizer.apply_chat_template([message], context_length)
    tokens = probe.pipeline.model.count_tokens(ids, image)
    if estimate > _MEASURED_UP_TO or tokens > context_length:
        return estimate
    measured: float = probe.best(ids, image=image) - tokens * prefill
    return max(0.0, measured)


def _token_operations(config: Any) -> int:
    """Multiplications of the matrices for one token of a prompt."""
    hidden = int(config.hidden_size)
    keys = hidden // config.num_attention_heads * config.num_key_value_heads
    return int(config.num_hidden_layers * hidden * (2 * hidden + 2 * keys + 3 * config.intermediate_size))


def _picture_operations(config: Any) -> int:
    vision, text = config.vision, int(config.hidden_size)
    hidden, patches = vision.hidden_size, (vision.image_size // vision.patch_size) ** 2
    layer = patches * hidden * (4 * hidden + 2 * vision.intermediate_size)
    attention = _SLOW_ATTENTION * 2 * patches**2 * hidden
    projection = patches // 4 * text * (4 * hidden + text + 3 * config.intermediate_size)
    return int(vision.num_hidden_layers * (layer + attention) + projection)

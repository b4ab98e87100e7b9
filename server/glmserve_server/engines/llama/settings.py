"""What an operator can choose for a model that llama.cpp runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from glmserve_server.configuration.key import key
from glmserve_server.engines.settings import QueuedSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaSettings(QueuedSettings):
    """One GGUF file, or one of chatglm.cpp, which is made GGUF once."""

    engine: ClassVar[str] = "llama"

    file: Path | None = key(
        None,
        "A GGUF file, a model file of chatglm.cpp, or the name of a model that comes along.",
        unset="the one of that name that comes along",
        example='"GLM-4-9B-0414-Q4_K_M.gguf"',
    )
    projector: Path | None = key(
        None,
        "The file beside it, mmproj-….gguf, with which the model sees images.",
        unset="none: images are refused",
        example='"mmproj-GLM-4.1V-9B-Thinking.gguf"',
    )
    slots: int | None = key(
        None,
        "Conversations that are answered at the same time, each with a context of its own.",
        unset="8, or what the memory holds",
        low=1,
        high=64,
        shared="slots",
        example="4",
    )
    threads: int | None = key(
        None, "Threads per process.", unset="from the CPUs", low=1, high=256, shared="threads", example="4"
    )
    context_length: int = key(
        8192,
        "Most tokens of prompt and answer, if the model has as many.",
        low=16,
        high=1 << 24,
        shared="context_length",
    )
    silence_limit: float = key(
        30.0,
        "Seconds that a worker may say nothing, beyond what its prompt needs.",
        low=0.1,
        high=86400,
        shared="silence_limit",
    )
    prefix_reuse: bool = key(
        True, "Keep what a worker has read of a conversation for its next turn.", shared="prefix_reuse"
    )
    flash_attention: bool = key(
        True, "Compute attention in one pass where that is faster; the last bits of its numbers differ."
    )
    spin: bool = key(
        False,
        "Keep threads that wait for each other on their CPUs: up to a tenth faster with few conversations where "
        "nothing else runs, many times slower where something does.",
    )
    requantize: bool | None = key(
        None,
        "Turn matrices that llama.cpp multiplies token by token (Q4_1, Q5_1, Q6_K, ...) into Q8_0, once, in the cache: "
        "faster with several conversations, in more memory.",
        unset="yes for smollm2, no for others",
        example="true",
    )

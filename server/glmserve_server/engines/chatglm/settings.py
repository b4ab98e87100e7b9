"""What an operator can choose for a model file of chatglm.cpp."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from glmserve_server.configuration.key import key
from glmserve_server.engines.settings import QueuedSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatGlmSettings(QueuedSettings):
    """One model file."""

    engine: ClassVar[str] = "chatglm"

    file: Path | None = key(
        None,
        "A model file of chatglm.cpp, or the name of a model that comes along.",
        unset="the one of that name that comes along",
        example='"glm-4-9b-chat-q4_0.bin"',
    )
    workers: int | None = key(
        None,
        "Processes per model.",
        unset="from the CPUs and the memory",
        low=1,
        high=256,
        shared="workers",
        example="2",
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

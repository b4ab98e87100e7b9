"""How the workers of a model share the machine: the one place that decides it, and says why."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from glmserve_server.errors import ModelUnavailable

_MOST_WORKERS: Final = 2
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The memory that a model takes, in bytes."""

    shared: int
    """The weights: one copy for all workers."""
    held: int
    """What each worker holds from the start: its key-value cache and itself."""
    peak: int
    """What each worker takes besides while it reads a prompt that fills the context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many worker processes run a model, how many threads each has, and why."""

    workers: int
    threads: int
    reason: str


class Budget:
    """The memory of models that are loaded together: each is planned with what those before it leave."""

    def __init__(self, available: Callable[[], int]) -> None:
        """`available`: the bytes that are free now."""
        self._available = available
        self._promised = 0

    @property
    def free(self) -> int:
        """Bytes that nobody has been promised."""
        return max(0, self._available() - self._promised)

    def promise(self, need: Need, workers: int) -> None:
        """What a model will take from the start is not free any more."""
        self._promised += need.shared + workers * need.held

    def settle(self) -> None:
        """All that was promised has been taken, or will not be."""
        self._promised = 0


def divided(cpus: int, wanted: Sequence[tuple[int | None, int | None]]) -> list[int]:
    """How many CPUs each of some models may use, by the workers and threads that the operator gives them.

    A model that is given both may use all there are; what it takes is taken from the others, who divide the rest.
    """
    fixed = [workers * threads if workers and threads else 0 for workers, threads in wanted]
    open_ones = fixed.count(0)
    share = max(1, (cpus - sum(fixed)) // open_ones) if open_ones else 0
    return [cpus if taken else share for taken in fixed]


def plan(*, workers: int | None, threads: int | None, need: Need, cpus: int, memory: int) -> Plan:
    """Divides `cpus`, as far as `memory` (bytes) allows. A number that is given is kept, a missing one never asks for
    more CPUs than there are. Raises `ModelUnavailable` when the memory holds not even one worker.

    Two workers of half the CPUs answer two callers at once and together decode faster than one worker with all of
    them, because the library's threads wait for each other in every step.
    """
    fit = (memory - need.shared) // need.held
    if (workers or 1) > fit:
        raise ModelUnavailable(
            f"{size_text(need.shared)} of weights and {size_text(need.held)} for each of {workers or 1} workers do not "
            f"fit into the {size_text(memory)} of memory that are free: lower --context-length or --workers"
        )
    if workers is None:
        roomy = (memory - need.shared) // (need.held + need.peak)
        workers = max(1, min(cpus // threads if threads else min(_MOST_WORKERS, cpus), roomy))
    if threads is None:
        threads = max(1, cpus // workers)
    return Plan(workers=workers, threads=threads, reason=_reason(workers, threads, need, cpus, memory))


def size_text(size: int) -> str:
    """Bytes as people say them, rounded up: 34 MB, 5.6 GB."""
    megabytes = math.ceil(size / _MEGABYTE)
    return f"{megabytes} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


def _reason(workers: int, threads: int, need: Need, cpus: int, memory: int) -> str:
    reason = (
        f"{counted(workers, 'worker')} of {counted(threads, 'thread')} on {counted(cpus, 'CPU')}; "
        f"{size_text(need.shared)} of weights and {size_text(need.held)} per worker, "
        f"up to {size_text(need.held + need.peak)} in long prompts"
    )
    if workers * threads > cpus:
        reason += "; more threads than CPUs, which is slow"
    if need.shared + workers * (need.held + need.peak) > memory:
        reason += f"; long prompts may not fit into the {size_text(memory)} that are free"
    return reason


def counted(number: int, noun: str) -> str:
    """A number of things: 1 slot, 2 slots."""
    return f"{number} {noun}" + ("" if number == 1 else "s")

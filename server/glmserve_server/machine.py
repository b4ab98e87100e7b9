"""How many CPUs this process may use, and how a model's workers share them."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Plan:
    """How many worker processes run a model, and how many threads each has."""

    workers: int
    threads: int
    reason: str


def available() -> int:
    """The CPUs that this process may use: its affinity mask, lowered by a cgroup's quota; at least 1."""
    return max(1, math.floor(min(len(os.sched_getaffinity(0)), _quota(CGROUP))))


def plan(workers: int | None, threads: int | None) -> Plan:
    """Divides the available CPUs; a number that is given is kept, a missing one never oversubscribes.

    Two workers of half the CPUs answer two callers at once and together decode faster than one worker with all of
    them, because the library's threads wait for each other in every step.
    """
    cpus = available()
    if workers is None:
        workers = max(1, cpus // threads) if threads else min(2, cpus)
    if threads is None:
        threads = max(1, cpus // workers)
    reason = f"{_count(workers, 'worker')} of {_count(threads, 'thread')} on {_count(cpus, 'CPU')}"
    if workers * threads > cpus:
        reason += ", which is more threads than CPUs and will be slow"
    return Plan(workers=workers, threads=threads, reason=reason)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _quota(root: Path) -> float:
    """The cgroup's CPU quota in CPUs, infinite if there is none (cgroup v2 `cpu.max`, v1 `cpu.cfs_*`)."""
    try:
        if (limit := root / "cpu.max").exists():
            quota, period = limit.read_text().split()
            return math.inf if quota == "max" else int(quota) / int(period)
        quota = (root / "cpu/cpu.cfs_quota_us").read_text()
        return math.inf if int(quota) <= 0 else int(quota) / int((root / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return math.inf

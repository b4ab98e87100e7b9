"""What this process may use of the machine: CPUs and memory, as the kernel and a container's limits have it."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """The affinity mask's CPUs, lowered by the cgroup's quota; at least 1."""
    quotas = [_quota(folder) for folder in _folders()]
    return max(1, math.floor(min(len(os.sched_getaffinity(0)), *quotas)))


def available_memory() -> int:
    """Bytes that can be had without swapping, lowered by what the cgroup's limit leaves."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    machine = int(lines["MemAvailable"].split()[0]) * 1024
    return int(min(machine, *(_memory_left(folder) for folder in _folders())))


def _folders() -> Iterator[Path]:
    """The folders of this process's cgroup and of those around it (v2; in v1 the root of each controller)."""
    yield from (_CGROUPS, _CGROUPS / "cpu", _CGROUPS / "memory")
    try:
        unified = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    except OSError:
        return
    for path in unified:
        folder = _CGROUPS / path.lstrip("/")
        while folder != _CGROUPS and _CGROUPS in folder.parents:
            yield folder
            folder = folder.parent


def _quota(folder: Path) -> float:
    """CPUs (v2 `cpu.max`, v1 `cpu.cfs_*`); infinite if there is no limit."""
    if text := _text(folder / "cpu.max"):
        quota, period = text.split()
        return math.inf if quota == "max" else int(quota) / int(period)
    quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and period and int(quota) > 0 else math.inf


def _memory_left(folder: Path) -> float:
    """Bytes (v2 `memory.max`, v1 `memory.limit_in_bytes`); infinite if there is no limit."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        most, now = _text(folder / limit), _text(folder / used)
        if most and now and most != "max":
            return max(0, int(most) - int(now))
    return math.inf


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

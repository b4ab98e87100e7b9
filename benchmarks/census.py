"""What a server holds: processes, threads, open files, memory."""

import os
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

import psutil

from benchmarks.serving import Running

POOL_THREADS: Final = 4 + (os.cpu_count() or 1)
"""Python's default pool starts threads as it needs them, up to so many, and keeps them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Processes are all that the server started, and itself; memory is what no other process shares, in MB."""

    processes: int
    server_files: int
    server_threads: int
    envoy_files: int
    envoy_threads: int
    server_memory: float
    envoy_memory: float

    def record(self) -> dict[str, Any]:
        """For tables and files."""
        return asdict(self)

    def exceeds(self, other: "Census", *, memory: float) -> list[str]:
        """What there is more of than there was, with `memory` MB granted to each process, and thread pools."""
        pool = POOL_THREADS
        granted = {"server_memory": memory, "envoy_memory": memory, "server_threads": pool, "envoy_threads": pool}
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{name} rose from {theirs[name]:g} to {mine[name]:g}"
            for name in mine
            if mine[name] > theirs[name] + granted.get(name, 0)
        ]


def census(server: Running) -> Census:
    """Counts now."""
    process, envoy = server.process, server.envoy()
    return Census(
        processes=1 + len(process.children(recursive=True)),
        server_files=process.num_fds(),
        server_threads=process.num_threads(),
        envoy_files=envoy.num_fds(),
        envoy_threads=envoy.num_threads(),
        server_memory=_private(process),
        envoy_memory=_private(envoy),
    )


def settled(server: Running, before: Census, *, memory: float, patience: float) -> Census:
    """Counts as soon as nothing exceeds `before`, or after so many seconds."""
    deadline = time.monotonic() + patience
    while (now := census(server)).exceeds(before, memory=memory) and time.monotonic() < deadline:
        time.sleep(0.5)
    return now


def _private(process: psutil.Process) -> float:
    return process.memory_full_info().uss / 1e6

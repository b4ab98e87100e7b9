"""The command line that all comparisons share."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.result import RESULTS, Machine, Result, write
from glmserve_client.bench.model import write_model
from glmserve_client.bench.shape import shape_of
from glmserve_client.bench.weights import Quantisation


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """How to run a comparison."""

    quick: bool
    """Whether to run everything as small as it goes, to see that it works; the figures mean nothing."""
    rounds: int
    minutes: float
    folder: Path
    """For files that are gone afterwards."""

    def model(
        self, parameters: int = 300_000_000, *, context: int = 2048, kind: Quantisation = Quantisation.Q8_0
    ) -> Path:
        """A model file of random weights."""
        size = 1_000_000 if self.quick else parameters
        file = self.folder / f"{size // 1_000_000}M-{kind.title}.bin"
        if not file.exists():
            write_model(file, shape_of(size, context=context), kind, seed=0)
        return file

    def small(self, full: int, quick: int) -> int:
        """A number for this session."""
        return quick if self.quick else full


def main(
    compare: Callable[[Session], Coroutine[Any, Any, Result]], *, name: str, rounds: int = 3, missing: str = ""
) -> None:
    """Runs a comparison, prints what it has found, and writes it to `--out`. Exit status 1 if something is wrong.

    `missing`: what it needs and does not find.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="as small as it goes; writes nothing without --out")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how often, in turns (default {rounds})")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long the soak lasts (default 3)")
    parser.add_argument("--out", type=Path, help="folder for the results (default benchmarks/results)")
    options = parser.parse_args()
    if missing:
        parser.exit(1, f"{parser.prog}: {missing}\n")
    machine = Machine()
    with tempfile.TemporaryDirectory(prefix="glmserve-benchmark-") as folder:
        rounds = 1 if options.quick else options.rounds
        session = Session(quick=options.quick, rounds=rounds, minutes=options.minutes, folder=Path(folder))
        result = asyncio.run(compare(session))
        out = options.out or (Path(folder) if options.quick else RESULTS)
        sys.stdout.write(write(name, result, machine, out))
    sys.exit(1 if result.failed else 0)

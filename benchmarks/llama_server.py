"""llama.cpp's own server and ours, with the same model, threads, slots, context and cache."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.clients import load, over, words_for
from benchmarks.comparison import Session, main
from benchmarks.llama import CACHE, SMOLLM2, STEP, missing, served, server_program, smollm2
from benchmarks.result import Result, Table, number, ratio, spread
from benchmarks.serving import Running, glmserve, program
from glmserve_client.bench.prompts import Prompts
from glmserve_client.bench.summary import percentile
from glmserve_client.bench.target import Target
from glmserve_server.engines.llama.cache import as_gguf
from glmserve_server.engines.llama.process import WAITING

SHARED: Final = "8, CPUs shared"
CLIENTS: Final = {"1": 1, "4": 4, "8": 8, SHARED: 8}
"""How many clients ask; at the last, as many other programs as there are CPUs never rest."""
SLOTS: Final = 8
CONTEXT: Final = 1024
QUESTION: Final = 64
TITLES: Final = {
    "theirs": "llama-server",
    "plain": "llama-server, as it comes",
    "same": "llama-server, glmserve's file",
    "http": "glmserve, Envoy",
    "grpc": "glmserve, gRPC",
    "spinning http": "glmserve that spins, Envoy",
    "spinning grpc": "glmserve that spins, gRPC",
}


@dataclass(slots=True)
class Side:
    """A server, a way to it, and what was measured there, by the rows of `CLIENTS`."""

    name: str
    server: Running
    target: Target
    answers: dict[str, list[float]] = field(default_factory=dict)
    """Answer tokens per second of all clients together, round by round."""
    first: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds to the first token, of every request."""
    cpu: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds of CPU per answer token, of all processes of the server, round by round."""

    async def warm(self, words: int) -> None:
        """Has every slot read the beginning that all prompts share."""
        await load(self.target, self._prompts(words, -1), clients=SLOTS, requests=SLOTS, tokens=1)

    async def answer(self, words: int, *, row: str, turn: int, tokens: int) -> None:
        """Measures one round. Raises `RuntimeError` if an answer has not so many tokens."""
        clients = CLIENTS[row]
        prompts = self._prompts(words, turn, list(CLIENTS).index(row))
        requests = clients if row == SHARED else max(4, 2 * clients)
        tokens = tokens // 4 if row == SHARED else tokens
        before = self.server.cpu_seconds()
        level = await load(self.target, prompts, clients=clients, requests=requests, tokens=tokens)
        seconds = self.server.cpu_seconds() - before
        if any(exchange.tokens != tokens for exchange in level.exchanges):
            raise RuntimeError(f"{TITLES[self.name]}: an answer has not {tokens} tokens")
        answered = tokens * len(level.exchanges)
        self.answers.setdefault(row, []).append(answered / level.seconds)
        self.first.setdefault(row, []).extend((each.first_token or 0) * 1000 for each in level.exchanges)
        self.cpu.setdefault(row, []).append(seconds * 1000 / answered)

    def _prompts(self, words: int, *place: int) -> Prompts:
        """No two sides and rounds are asked the same."""
        return Prompts(tokens=words, fixed=None, seed=hash((list(TITLES).index(self.name), *place)))


async def compare(session: Session) -> Result:
    """All servers are up all the time; only one is asked at a time, and all with so many clients after each other."""
    cpus = len(os.sched_getaffinity(0))
    fast = as_gguf(smollm2(), faster=True)
    tokens = session.small(64, 4)
    with (
        program(session.folder, server_program(), *_theirs(cpus), environment=WAITING) as theirs,
        program(session.folder, server_program(), *_theirs(cpus)) as plain,
        program(session.folder, server_program(), *_theirs(cpus, fast), environment=WAITING) as same,
        glmserve(session.folder, *_ours(cpus)) as ours,
        glmserve(session.folder, *_ours(cpus), "--set", f"models.{SMOLLM2}.spin=true") as spinning,
    ):
        async with AsyncExitStack() as opened:
            sides = [
                Side(name, server, await opened.enter_async_context(over(_face(name), server)))
                for name, server in zip(TITLES, (theirs, plain, same, ours, ours, spinning, spinning), strict=True)
            ]
            words = await words_for(sides[-1].target, QUESTION)
            for side in sides:
                await side.warm(words)
            for turn in range(session.rounds):
                for row in CLIENTS:
                    with at_work(cpus if row == SHARED else 0):
                        for side in sides[turn % len(sides) :] + sides[: turn % len(sides)]:
                            await side.answer(words, row=row, turn=turn, tokens=tokens)
    return Result(
        title="llama.cpp's own server and glmserve",
        method=_method(cpus, tokens, session.rounds),
        tables=[
            _table("Answer tokens/s, prompts included", [side.answers for side in sides]),
            _first(sides),
            _table("CPU of the server with all its processes, ms per answer token", [side.cpu for side in sides]),
        ],
        raw={side.name: {"answers": side.answers, "first": side.first, "cpu": side.cpu} for side in sides},
    )


def _method(cpus: int, tokens: int, rounds: int) -> str:
    waiting = ", ".join("=".join(pair) for pair in WAITING.items())
    return (
        f"SmolLM2-135M-Instruct, Q4_1, {cpus} threads, {SLOTS} slots of {CONTEXT} tokens, steps of {STEP} tokens, "
        f"prompt cache of {CACHE} MB. llama-server is built by `build_llama_server.sh` for the same instructions as "
        f"xllamacpp's wheel; its threads wait as those of glmserve's worker do ({waiting}), or spin, as they come, "
        "which those of glmserve do with `spin`. glmserve turns the Q4_1 matrices of smollm2 into Q8_0 (`requantize`); "
        "llama-server is given the model's own file, and once more the one that glmserve has made of it. The clients "
        f"use the same CPUs. Prompts of {QUESTION} tokens, greedy answers of {tokens} (a quarter on shared CPUs), "
        f"every client asks again when it has its answer; {rounds} rounds, in each of which every server is asked by "
        "one client, then every server by 4, then every server by 8, and at last every server by 8 while as many other "
        "programs as there are CPUs never rest. Medians, least and greatest in brackets; ratios are medians of the "
        "rounds' ratios to the first."
    )


@contextmanager
def at_work(programs: int) -> Iterator[None]:
    """So many programs that only count."""
    with ExitStack() as running:
        for _ in range(programs):
            child = running.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            running.callback(child.kill)
        yield


def _face(side: str) -> str:
    return "grpc" if side.endswith("grpc") else "http"


def _ours(threads: int) -> Sequence[str]:
    return [*served(SMOLLM2, slots=SLOTS, context=CONTEXT), "--threads", str(threads)]


def _theirs(threads: int, file: Path | None = None) -> Sequence[str]:
    """What our worker tells the library, as flags."""
    model = ("--model", str(file or smollm2()), "--parallel", str(SLOTS), "--ctx-size", str(SLOTS * CONTEXT))
    steps = ("--batch-size", str(STEP), "--ubatch-size", str(STEP), "--threads", str(threads))
    return (*model, *steps, "--cache-ram", str(CACHE), "--fit", "off", "--no-ui", "--no-slots", "--log-disable")


def _table(title: str, measured: list[dict[str, list[float]]]) -> Table:
    rows = []
    for row in CLIENTS:
        theirs, *others = (side[row] for side in measured)
        rows.append([row, spread(theirs), *(f"{spread(it)} {ratio(it, theirs)}" for it in others)])
    return Table(title=title, columns=["clients", *TITLES.values()], rows=rows)


def _first(sides: list[Side]) -> Table:
    rows = []
    for row in CLIENTS:
        for percent in (50, 95):
            times = [percentile(sorted(side.first[row]), percent) for side in sides]
            rows.append([f"{row}, p{percent}", *map(number, times)])
    return Table(title="First token, ms", columns=["clients", *TITLES.values()], rows=rows)


if __name__ == "__main__":
    main(compare, name="llama_server", rounds=6, missing=missing(server=True))

"""llama.cpp's own server and ours, with the same model, threads, slots, context and cache."""

import os
from collections.abc import Sequence
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
from glmserve_server.engines.llama.cache import as_gguf
from glmserve_server.engines.llama.process import WAITING

CLIENTS: Final = (1, 4, 8)
SLOTS: Final = 8
CONTEXT: Final = 1024
QUESTION: Final = 64
TITLES: Final = {
    "theirs": "llama-server",
    "plain": "llama-server, as it comes",
    "same": "llama-server, glmserve's file",
    "http": "glmserve, Envoy",
    "grpc": "glmserve, gRPC",
}


@dataclass(slots=True)
class Seen:
    """One side's measurements, by the number of clients."""

    answers: dict[int, list[float]] = field(default_factory=dict)
    """Answer tokens per second of all clients together, round by round."""
    first: dict[int, list[float]] = field(default_factory=dict)
    """Milliseconds to the first token, of every request."""
    cpu: dict[int, list[float]] = field(default_factory=dict)
    """Milliseconds of CPU per answer token, of all processes of the server, round by round."""


async def compare(session: Session) -> Result:
    """All servers are up all the time; only one is asked at a time."""
    cpus = len(os.sched_getaffinity(0))
    fast = as_gguf(smollm2(), faster=True)
    seen = {side: Seen() for side in TITLES}
    with (
        program(session.folder, server_program(), *_theirs(cpus), environment=WAITING) as theirs,
        program(session.folder, server_program(), *_theirs(cpus)) as plain,
        program(session.folder, server_program(), *_theirs(cpus, fast), environment=WAITING) as same,
        glmserve(session.folder, *served(SMOLLM2, slots=SLOTS, context=CONTEXT), "--threads", str(cpus)) as ours,
    ):
        servers = list(zip(TITLES, (theirs, plain, same, ours, ours), strict=True))
        async with over("grpc", ours) as target:
            words = await words_for(target, QUESTION)
        for turn in range(session.rounds):
            for side, server in servers[turn % len(servers) :] + servers[: turn % len(servers)]:
                await _round(session, seen[side], side, server, words, turn)
    return Result(
        title="llama.cpp's own server and glmserve",
        method=f"SmolLM2-135M-Instruct, Q4_1, {cpus} threads, {SLOTS} slots of {CONTEXT} tokens, steps of {STEP} "
        f"tokens, prompt cache of {CACHE} MB. llama-server is built by `build_llama_server.sh` for the same "
        "instructions as xllamacpp's wheel; its threads wait as those of glmserve's worker do "
        f"({', '.join('='.join(pair) for pair in WAITING.items())}), or as they come. glmserve turns "
        "the Q4_1 matrices of smollm2 into Q8_0 (`requantize`); llama-server is given the model's own file, and once "
        "more the one that glmserve has made of it. The clients use the same CPUs. "
        f"Prompts of {QUESTION} tokens, greedy answers of {_answer(session)}, every client asks again when it has its "
        f"answer; {session.rounds} rounds in turns. Medians, least and greatest in brackets; ratios are medians of "
        "the rounds' ratios to the first.",
        tables=[
            _table("Answer tokens/s, prompts included", seen, "answers"),
            _first(seen),
            _table("CPU of the server with all its processes, ms per answer token", seen, "cpu"),
        ],
        raw={side: {"answers": it.answers, "first": it.first, "cpu": it.cpu} for side, it in seen.items()},
    )


def _answer(session: Session) -> int:
    return session.small(64, 4)


def _theirs(threads: int, file: Path | None = None) -> Sequence[str]:
    """What our worker tells the library, as flags."""
    model = ("--model", str(file or smollm2()), "--parallel", str(SLOTS), "--ctx-size", str(SLOTS * CONTEXT))
    steps = ("--batch-size", str(STEP), "--ubatch-size", str(STEP), "--threads", str(threads))
    return (*model, *steps, "--cache-ram", str(CACHE), "--fit", "off", "--no-ui", "--no-slots", "--log-disable")


async def _round(session: Session, seen: Seen, side: str, server: Running, words: int, turn: int) -> None:
    tokens = _answer(session)
    seed = 1 + len(TITLES) * turn + list(TITLES).index(side)
    first, prompts = (Prompts(tokens=words, fixed=None, seed=number) for number in (-seed, seed))
    async with over("grpc" if side == "grpc" else "http", server) as target:
        await load(target, first, clients=SLOTS, requests=SLOTS, tokens=1)  # all slots know the template's beginning
        for clients in CLIENTS:
            before = server.cpu_seconds()
            level = await load(target, prompts, clients=clients, requests=max(4, 2 * clients), tokens=tokens)
            seconds = server.cpu_seconds() - before
            if any(exchange.tokens != tokens for exchange in level.exchanges):
                raise RuntimeError(f"{TITLES[side]}: an answer has not {tokens} tokens")
            answered = tokens * len(level.exchanges)
            seen.answers.setdefault(clients, []).append(answered / level.seconds)
            seen.first.setdefault(clients, []).extend((each.first_token or 0) * 1000 for each in level.exchanges)
            seen.cpu.setdefault(clients, []).append(seconds * 1000 / answered)


def _table(title: str, seen: dict[str, Seen], measure: str) -> Table:
    rows = []
    for clients in CLIENTS:
        theirs, *ours = (getattr(seen[side], measure)[clients] for side in TITLES)
        rows.append([str(clients), spread(theirs), *(f"{spread(it)} {ratio(it, theirs)}" for it in ours)])
    return Table(title=title, columns=["clients", *TITLES.values()], rows=rows)


def _first(seen: dict[str, Seen]) -> Table:
    rows = []
    for clients in CLIENTS:
        for percent in (50, 95):
            times = [percentile(sorted(seen[side].first[clients]), percent) for side in TITLES]
            rows.append([f"{clients}, p{percent}", *map(number, times)])
    return Table(title="First token, ms", columns=["clients", *TITLES.values()], rows=rows)


if __name__ == "__main__":
    main(compare, name="llama_server", rounds=4, missing=missing(server=True))

"""How to divide the CPUs, and what a server, its workers and open streams need of memory."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import psutil

from benchmarks.clients import load, over, words_for
from benchmarks.comparison import Session, main
from benchmarks.result import Result, Table, ratio, spread
from benchmarks.serving import Running, glmserve
from glmserve_client.bench.exchange import Exchange, Outcome
from glmserve_client.bench.prompts import Prompts
from glmserve_client.bench.target import Ask, Piece, Target

CLIENTS: Final = (1, 2, 4)
STREAMS: Final = 100

Memory = dict[str, dict[str, float]]
"""MB by process, then by kind: resident, shared divided among those that share (PSS), and its own alone (USS)."""


@dataclass(slots=True)
class Seen:
    """A division's measurements, by the number of clients, round by round."""

    tokens: dict[int, list[float]] = field(default_factory=dict)
    first: dict[int, list[float]] = field(default_factory=dict)


async def compare(session: Session) -> Result:
    """One worker of all CPUs against as many workers as CPUs, then memory."""
    usable = len(os.sched_getaffinity(0))
    divisions = {f"1 × {usable}": (1, usable), f"{usable} × 1": (usable, 1)}
    seen = await _divisions(session, divisions)
    memory, default = await _memory(session)
    return Result(
        title="Workers and threads, and memory",
        method=f"A 300M q8_0 model on {usable} CPUs, workers × threads; prompts of 32 tokens, greedy answers of "
        f"{session.small(32, 4)}; {session.rounds} rounds in turns. Medians, least and greatest in brackets. "
        f"As it comes, the server takes {default}.",
        tables=[
            _table("Tokens/s, prompts included", divisions, {name: it.tokens for name, it in seen.items()}),
            _table("First token, ms", divisions, {name: it.first for name, it in seen.items()}),
            *(_memory_table(title, found) for title, found in memory.items()),
        ],
        raw={
            "divisions": {name: {"tokens": it.tokens, "first": it.first} for name, it in seen.items()},
            "memory": memory,
        },
    )


async def _divisions(session: Session, divisions: dict[str, tuple[int, int]]) -> dict[str, Seen]:
    seen = {name: Seen() for name in divisions}
    async with contextlib.AsyncExitStack() as stack:
        targets = {}
        for name, (workers, threads) in divisions.items():
            options = ["--workers", str(workers), "--threads", str(threads), "--no-prefix-reuse"]
            server = stack.enter_context(glmserve(session.folder, "--model", str(session.model()), *options))
            targets[name] = await stack.enter_async_context(over("grpc", server))
        words = await words_for(next(iter(targets.values())), 32)
        for turn in range(session.rounds):
            for name in list(targets)[:: -1 if turn % 2 else 1]:
                await _round(session, seen[name], targets[name], words, turn)
    return seen


async def _round(session: Session, seen: Seen, target: Target, words: int, turn: int) -> None:
    for clients in CLIENTS:
        prompts = Prompts(tokens=words, fixed=None, seed=turn)
        level = await load(target, prompts, clients=clients, requests=clients, tokens=session.small(32, 4))
        seen.tokens.setdefault(clients, []).append(sum(each.tokens for each in level.exchanges) / level.seconds)
        seen.first.setdefault(clients, []).extend((each.first_token or 0) * 1000 for each in level.exchanges)


async def _memory(session: Session) -> tuple[dict[str, Memory], str]:
    """Of a server as it comes, and how that divides the CPUs."""
    found = {}
    options = ["--model", str(session.model()), "--model", "scripted"]
    with glmserve(session.folder, *options) as server:
        workers = server.workers()
        default = f"{len(workers)} × {workers[0].environ()['GLMSERVE_THREADS']}"
        found["Memory before the first request, MB"] = _measured(server)
        for face in ("grpc", "http"):
            async with over(face, server) as target, _streams(target):
                way = "gRPC" if face == "grpc" else "Envoy"
                found[f"Memory with {STREAMS} open streams through {way}, MB"] = _measured(server)
    return found, default


@contextlib.asynccontextmanager
async def _streams(target: Target) -> AsyncIterator[None]:
    """So many answers without an end, all begun."""
    begun = asyncio.Semaphore(0)
    ask = Ask(model="scripted", turns=(("user", "/slow"),), answer_tokens=4000)

    async def read() -> None:
        exchange = Exchange(turn=0, outcome=Outcome.UNFINISHED)
        async with contextlib.aclosing(target.stream(ask)) as parts:
            async for part in parts:
                if isinstance(part, Piece) and not exchange.text:
                    exchange.text = part.text
                    begun.release()

    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(read()) for _ in range(STREAMS)]
        for _ in readers:
            await begun.acquire()
        yield
        for reader in readers:
            reader.cancel()


def _measured(server: Running) -> Memory:
    workers = {f"worker {index + 1}": process for index, process in enumerate(server.workers())}
    return {name: _of(it) for name, it in {"server": server.process, "Envoy": server.envoy(), **workers}.items()}


def _of(process: psutil.Process) -> dict[str, float]:
    memory = process.memory_full_info()
    return {name: getattr(memory, name) / 1e6 for name in ("rss", "pss", "uss")}


def _table(title: str, divisions: dict[str, tuple[int, int]], values: dict[str, dict[int, list[float]]]) -> Table:
    one, many = divisions
    rows = [
        [
            str(clients),
            spread(values[one][clients]),
            spread(values[many][clients]),
            ratio(values[many][clients], values[one][clients]),
        ]
        for clients in CLIENTS
    ]
    return Table(title=title, columns=["clients", one, many, "ratio"], rows=rows)


def _memory_table(title: str, memory: Memory) -> Table:
    rows = [[name, *(f"{value:,.0f}" for value in kinds.values())] for name, kinds in memory.items()]
    return Table(title=title, columns=["", "resident", "PSS", "USS"], rows=rows)


if __name__ == "__main__":
    main(compare, name="workers_threads")

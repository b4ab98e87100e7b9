"""chatglm.cpp's own API server against glmserve: streaming clients, and what else the server answers meanwhile."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc.aio
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.clients import ask, load, over, words_for
from benchmarks.comparison import Session, main
from benchmarks.result import Result, Table, number, ratio, spread
from benchmarks.serving import Running, glmserve, module
from glmserve_client.bench.exchange import Exchange
from glmserve_client.bench.load import Level
from glmserve_client.bench.prompts import Prompts
from glmserve_client.bench.summary import percentile
from glmserve_client.bench.target import Target

CLIENTS: Final = (1, 4, 8)
CONTEXT: Final = 2048
QUESTION: Final = 32
PREFILL: Final = 500
"""Tokens of the long prompt; chatglm.cpp's server cuts prompts at 512."""
PROBE_SECONDS: Final = 0.1
TITLES: Final = {
    "theirs": "chatglm_cpp.openai_api",
    "ours": "glmserve, as it comes",
    "ours, one worker": "glmserve, one worker",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and how many tokens it has after templating."""

    text: str
    tokens: int


@dataclass(slots=True)
class Seen:
    """One side's measurements; probe latencies in milliseconds, by what was asked and what ran meanwhile."""

    answers: dict[int, list[float]] = field(default_factory=dict)
    """Answer tokens per second of all clients together, by the number of clients."""
    first: dict[int, list[float]] = field(default_factory=dict)
    """Milliseconds to the first token, of every request."""
    probes: dict[str, list[float]] = field(default_factory=dict)


async def compare(session: Session) -> Result:
    """All servers are up all the time; only one is asked at a time."""
    model, cpus = str(session.model()), len(os.sched_getaffinity(0))
    environment = {"MODEL": model, "MAX_LENGTH": str(CONTEXT), "GLMSERVE_THREADS": str(cpus)}
    options = ["--model", model, "--no-prefix-reuse"]
    seen = {side: Seen() for side in TITLES}
    with (
        module(session.folder, "benchmarks.their_app", environment=environment) as theirs,
        glmserve(session.folder, *options) as ours,
        glmserve(session.folder, *options, "--workers", "1", "--threads", str(cpus)) as one,
    ):
        servers = list(zip(TITLES, (theirs, ours, one), strict=True))
        async with over("http", ours) as target:
            questions = [await _question(target, tokens) for tokens in (QUESTION, PREFILL)]
        for turn in range(session.rounds):
            for side, server in servers[:: -1 if turn % 2 else 1]:
                await _round(seen[side], side, server, questions, session.small(24, 6))
    return Result(
        title="chatglm.cpp's own API server and glmserve",
        method=f"The same 300M q8_0 model file on the same {cpus} CPUs: theirs and one worker with {cpus} threads. "
        f"Prompts of {questions[0].tokens} tokens, greedy answers of {session.small(24, 6)}, every client asks again "
        f"when it has its answer; {session.rounds} rounds in turns. Meanwhile GET /v1/models and gRPC's health are "
        f"called one after the other, {PROBE_SECONDS * 1000:.0f} ms apart. Medians, least and greatest in brackets; "
        "ratios are to chatglm.cpp's server.",
        tables=[_throughput(seen), _first(seen), _probes(seen)],
        raw={side: {"answers": it.answers, "first": it.first, "probes": it.probes} for side, it in seen.items()},
    )


async def _question(target: Target, tokens: int) -> Question:
    """About so many tokens, and how many exactly. All requests ask the same: no side keeps what it has read."""
    text = Prompts(tokens=1, fixed=None, seed=0).words(await words_for(target, tokens))
    usage = (await ask(target, text, tokens=1)).usage
    return Question(text, usage.prompt_tokens if usage else tokens)


async def _round(seen: Seen, side: str, server: Running, questions: list[Question], tokens: int) -> None:
    short, long = questions
    async with over("http", server) as target:
        await ask(target, short.text, tokens=_limit(side, short, 1))
        prompts = Prompts(tokens=1, fixed=short.text, seed=0)
        for clients in CLIENTS:
            async with _probed(seen, server, "answering"):
                limit = _limit(side, short, tokens)
                level = await load(target, prompts, clients=clients, requests=max(2, clients), tokens=limit)
            if any(exchange.tokens != tokens for exchange in level.exchanges):
                raise RuntimeError(f"{side}: an answer has not {tokens} tokens")
            seen.answers.setdefault(clients, []).append(_pace(level))
            seen.first.setdefault(clients, []).extend(_first_ms(exchange) for exchange in level.exchanges)
        async with _probed(seen, server, f"reading {PREFILL} tokens"):
            await ask(target, long.text, tokens=_limit(side, long, 1))


def _limit(side: str, question: Question, answer: int) -> int:
    """Their `max_tokens` counts the prompt too."""
    return question.tokens + answer if side == "theirs" else answer


def _pace(level: Level) -> float:
    """Theirs tells no numbers of tokens, but each of its pieces is one."""
    return sum(exchange.tokens for exchange in level.exchanges) / level.seconds


def _first_ms(exchange: Exchange) -> float:
    return (exchange.first_token or 0) * 1000


@contextlib.asynccontextmanager
async def _probed(seen: Seen, server: Running, what: str) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=None))  # noqa: S113 (they may take long)

        async def models() -> Any:
            return (await client.get(f"{server.url}/models")).raise_for_status()

        calls: list[tuple[str, Callable[[], Awaitable[Any]]]] = [("GET /v1/models", models)]
        if server.grpc:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.grpc))
            health: Any = health_pb2_grpc.HealthStub(channel)  # its types know no methods
            calls.append(("gRPC health", lambda: health.Check(health_pb2.HealthCheckRequest())))
        for _, call in calls:
            await call()  # connects
        times = [(seen.probes.setdefault(f"{name}, {what}", []), call) for name, call in calls]
        tasks = [asyncio.create_task(_probe(found, call)) for found, call in times]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _probe(found: list[float], call: Callable[[], Awaitable[Any]]) -> None:
    while True:
        begun = time.perf_counter()
        try:
            await call()
        finally:  # also the one that still waits when all else has ended
            found.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(PROBE_SECONDS)


def _throughput(seen: dict[str, Seen]) -> Table:
    rows = []
    for clients in CLIENTS:
        paces = [seen[side].answers[clients] for side in TITLES]
        rows.append(
            [str(clients), spread(paces[0]), *(f"{spread(pace)} {ratio(pace, paces[0])}" for pace in paces[1:])]
        )
    return Table(title="Tokens/s, prompts included", columns=["clients", *TITLES.values()], rows=rows)


def _first(seen: dict[str, Seen]) -> Table:
    rows = [[str(clients), *(spread(seen[side].first[clients]) for side in TITLES)] for clients in CLIENTS]
    return Table(title="First token, ms", columns=["clients", *TITLES.values()], rows=rows)


def _probes(seen: dict[str, Seen]) -> Table:
    rows = []
    for side, title in TITLES.items():
        for name, times in seen[side].probes.items():
            ordered = sorted(times)
            parts = [number(percentile(ordered, percent)) for percent in (50, 99, 100)]
            rows.append([f"{title}: {name}", str(len(ordered)), *parts])
    return Table(title="Other calls meanwhile, ms", columns=["", "calls", "p50", "p99", "longest"], rows=rows)


if __name__ == "__main__":
    main(compare, name="their_server")

"""Everything but the model: what a token and a request cost over gRPC, through Envoy, and through a FastAPI proxy."""

from dataclasses import dataclass
from typing import Final

import psutil

from benchmarks.clients import load as run_load
from benchmarks.clients import over
from benchmarks.comparison import Session, main
from benchmarks.result import Result, Table, ratio, spread
from benchmarks.serving import Running, glmserve, module
from glmserve_client.bench.prompts import Prompts

SIDES: Final = {"grpc": "gRPC", "edge": "Envoy, SSE", "proxy": "FastAPI + sse-starlette"}
CLIENTS: Final = 8
PACE: Final = 100

Measured = dict[str, dict[str, dict[str, list[float]]]]
"""By kind of load, then by side, then by what was measured: round by round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """So many requests of one kind, by so many clients at the same time."""

    title: str
    prompt: str
    tokens: int
    """Of each answer."""
    requests: int
    clients: int = 1


async def compare(session: Session) -> Result:
    """All sides end at the same scripted engine."""
    loads = _loads(session)
    measured: Measured = {load.title: {side: {} for side in SIDES} for load in loads}
    with (
        glmserve(session.folder, "--model", "scripted") as server,
        module(session.folder, "benchmarks.their_proxy", server.grpc) as proxy,
    ):
        for turn in range(-1, session.rounds):  # the first one warms up
            for side in list(SIDES)[:: -1 if turn % 2 else 1]:
                for load in loads:
                    found = await _one(load, side, server, proxy)
                    for name, value in found.items() if turn >= 0 else ():
                        measured[load.title][side].setdefault(name, []).append(value)
    return Result(
        title="Everything but the model",
        method=f"The scripted engine says words, which are tokens, one by one. {session.rounds} rounds in turns. CPU "
        "time is that of the server and, where one is on the way, of Envoy or the proxy; the measuring client shares "
        "the CPUs and is not counted. The server sends what is ready together in one piece: at full speed, a piece has "
        "several tokens, for all sides alike; at a pace, every token is a piece. Medians, least and greatest in "
        "brackets.",
        tables=[_table(load, measured[load.title]) for load in loads],
        raw=measured,
    )


def _loads(session: Session) -> list[Load]:
    long, short = session.small(3500, 200), session.small(200, 20)
    return [
        Load(
            title=f"{CLIENTS} streams of {PACE} tokens a second",
            prompt=f"/count {short} at {PACE}",
            tokens=short,
            requests=CLIENTS,
            clients=CLIENTS,
        ),
        Load(
            title="One stream at full speed",
            prompt=f"/count {long}",
            tokens=long,
            requests=session.small(6, 1),
        ),
        Load(
            title=f"Requests of one token by {CLIENTS} clients",
            prompt="/count 1",
            tokens=1,
            requests=session.small(400, 20),
            clients=CLIENTS,
        ),
    ]


async def _one(load: Load, side: str, server: Running, proxy: Running) -> dict[str, float]:
    processes = [server.process, *{"grpc": [], "edge": [server.envoy()], "proxy": [proxy.process]}[side]]
    prompts = Prompts(tokens=1, fixed=load.prompt, seed=0)
    async with over("grpc" if side == "grpc" else "http", proxy if side == "proxy" else server) as target:
        before = _cpu_seconds(processes)
        level = await run_load(
            target, prompts, clients=load.clients, requests=load.requests, tokens=load.tokens, model="scripted"
        )
        seconds = _cpu_seconds(processes) - before
    tokens = load.tokens * load.requests
    return {
        "cpu": seconds / tokens * 1e6,
        "tokens": tokens / level.seconds,
        "pieces": sum(len(exchange.moments) for exchange in level.exchanges) / tokens,
    }


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    """User and system time, to 10 ms."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _table(load: Load, measured: dict[str, dict[str, list[float]]]) -> Table:
    rows = [
        [
            name,
            spread(measured[side]["cpu"]),
            ratio(measured[side]["cpu"], measured["proxy"]["cpu"]),
            spread(measured[side]["tokens"]),
            spread(measured[side]["pieces"]),
        ]
        for side, name in SIDES.items()
    ]
    columns = ["", "CPU µs per token", "of FastAPI's", "tokens/s", "pieces per token"]
    return Table(title=load.title, columns=columns, rows=rows)


if __name__ == "__main__":
    main(compare, name="without_model", rounds=5)

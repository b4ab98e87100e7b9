"""Everything but the model: what a token and a request cost over gRPC, through Envoy, and through a FastAPI proxy."""

from typing import Final

import psutil

from benchmarks.clients import load, over
from benchmarks.comparison import Session, main
from benchmarks.result import Result, Table, ratio, spread
from benchmarks.serving import Running, glmserve, module
from glmserve_client.bench.prompts import Prompts

SIDES: Final = {"grpc": "gRPC", "edge": "Envoy, SSE", "proxy": "FastAPI + sse-starlette"}
CLIENTS: Final = 8

Measured = dict[str, dict[str, list[float]]]
"""By side, then by what was measured, round by round."""


async def compare(session: Session) -> Result:
    """All sides end at the same scripted engine."""
    measured: Measured = {side: {} for side in SIDES}
    with (
        glmserve(session.folder, "--model", "scripted") as server,
        module(session.folder, "benchmarks.their_proxy", server.grpc) as proxy,
    ):
        for turn in range(-1, session.rounds):  # the first one warms up
            for side in list(SIDES)[:: -1 if turn % 2 else 1]:
                found = await _one(session, side, server, proxy)
                for name, value in found.items() if turn >= 0 else ():
                    measured[side].setdefault(name, []).append(value)
    tokens, requests = _sizes(session)
    return Result(
        title="Everything but the model",
        method=f"The scripted engine says words as fast as it can. One stream of {tokens} tokens, then {requests} "
        f"requests of one token by {CLIENTS} clients; {session.rounds} rounds in turns. CPU time is that of the server "
        "and, where one is on the way, of Envoy or the proxy; the measuring client shares the CPUs and is not counted. "
        "Medians, least and greatest in brackets.",
        tables=[
            _table("One stream", measured, {"cpu_us": "CPU µs per token", "tokens": "tokens/s"}, best="cpu_us"),
            _table(
                "Short requests", measured, {"cpu_ms": "CPU ms per request", "requests": "requests/s"}, best="cpu_ms"
            ),
        ],
        raw=measured,
    )


def _sizes(session: Session) -> tuple[int, int]:
    return session.small(3500, 200), session.small(400, 20)


async def _one(session: Session, side: str, server: Running, proxy: Running) -> dict[str, float]:
    tokens, requests = _sizes(session)
    processes = [server.process, *{"grpc": [], "edge": [server.envoy()], "proxy": [proxy.process]}[side]]
    async with over("grpc" if side == "grpc" else "http", proxy if side == "proxy" else server) as target:
        before = _cpu_seconds(processes)
        long = Prompts(tokens=1, fixed=f"/count {tokens}", seed=0)
        stream = await load(target, long, clients=1, requests=1, tokens=tokens, model="scripted")
        between = _cpu_seconds(processes)
        short = Prompts(tokens=1, fixed="/count 1", seed=0)
        many = await load(target, short, clients=CLIENTS, requests=requests, tokens=1, model="scripted")
        after = _cpu_seconds(processes)
    return {
        "cpu_us": (between - before) / tokens * 1e6,
        "tokens": tokens / stream.seconds,
        "cpu_ms": (after - between) / requests * 1e3,
        "requests": requests / many.seconds,
    }


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    """User and system time, to 10 ms."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _table(title: str, measured: Measured, columns: dict[str, str], *, best: str) -> Table:
    rows = [
        [
            name,
            *(spread(measured[side][column]) for column in columns),
            ratio(measured[side][best], measured["grpc"][best]),
        ]
        for side, name in SIDES.items()
    ]
    return Table(title=title, columns=["", *columns.values(), "CPU, of gRPC's"], rows=rows)


if __name__ == "__main__":
    main(compare, name="without_model", rounds=5)

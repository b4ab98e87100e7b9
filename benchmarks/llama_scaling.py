"""llama.cpp behind our server, from 1 to 32 streams; and what running streams feel of a long prompt that arrives."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Final

from benchmarks.clients import ask, load, over, words_for
from benchmarks.comparison import Session, main
from benchmarks.llama import SMOLLM2, STEP, gguf, missing, served
from benchmarks.result import Result, Table, number, spread
from benchmarks.serving import glmserve
from glmserve_client.bench.exchange import Exchange, run
from glmserve_client.bench.load import Level
from glmserve_client.bench.plot import svg
from glmserve_client.bench.prompts import Prompts
from glmserve_client.bench.summary import Figures, figures
from glmserve_client.bench.target import Ask, Target
from glmserve_client.bench.weights import Quantisation

STREAMS: Final = (1, 2, 4, 8, 16, 32)
QUESTION: Final = 32
CONTEXT: Final = 512

RUNNING: Final = 4
LONG: Final = 1500
LONG_CONTEXT: Final = 2048
WARM: Final = 16
"""Tokens that each stream has given before the long prompt arrives, and between which nothing else happens."""
PATIENCE: Final = 170.0


async def compare(session: Session) -> Result:
    """First the curve, then the long prompt on one server after the other."""
    levels = await _curve(session)
    stalls = await _stalls(session)
    combined = [figures(_together(found)) for found in levels.values()]
    return Result(
        title="Many streams, and a long prompt among them",
        method=f"SmolLM2-135M-Instruct, its Q4_1 matrices as Q8_0, by llama.cpp over gRPC, {max(STREAMS)} slots "
        f"of {CONTEXT} tokens: so many clients ask once at the same time, {QUESTION} tokens with {_answer(session)}, "
        f"greedily; {session.rounds} rounds. Then {RUNNING} streams, among which a prompt of {LONG} tokens arrives; "
        f"llama.cpp reads it in steps of at most {STEP} tokens, and chatglm-cpp has {RUNNING + 1} workers of one "
        "thread, the same 100M of random weights, q4_0. A gap is the time between two tokens of a stream at its "
        "client.",
        tables=[_streams(levels), _gaps(stalls)],
        raw={
            "levels": combined,
            "long prompt": {side: [stall.record() for stall in found] for side, found in stalls.items()},
        },
        plot=svg(_report(combined)),
    )


def _answer(session: Session) -> int:
    return session.small(64, 4)


async def _curve(session: Session) -> dict[int, list[Level]]:
    """What was seen with so many streams, round by round."""
    levels: dict[int, list[Level]] = {streams: [] for streams in STREAMS[: session.small(len(STREAMS), 2)]}
    arguments = served(SMOLLM2, slots=max(STREAMS), context=CONTEXT)
    with glmserve(session.folder, *arguments) as server:
        async with over("grpc", server) as target:
            words = await words_for(target, QUESTION)
            for turn in range(session.rounds):
                prompts = Prompts(tokens=words, fixed=None, seed=turn)
                for streams, seen in levels.items():
                    seen.append(await load(target, prompts, clients=streams, requests=streams, tokens=_answer(session)))
    return levels


def _together(levels: Sequence[Level]) -> Level:
    """The rounds as one."""
    exchanges = [exchange for level in levels for exchange in level.exchanges]
    seconds = sum(level.seconds for level in levels)
    return Level(concurrency=levels[0].concurrency, planned=len(exchanges), seconds=seconds, exchanges=exchanges)


def _report(levels: list[Figures]) -> Figures:
    """What `glmserve bench --plot` draws."""
    return {
        "model": "SmolLM2-135M-Instruct",
        "target": {"address": f"glmserve, {max(STREAMS)} slots"},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "levels": levels,
    }


def _pace(level: Level) -> float:
    return sum(exchange.tokens for exchange in level.exchanges) / level.seconds


def _streams(levels: dict[int, list[Level]]) -> Table:
    alone = median(map(_pace, levels[1]))
    rows = []
    for streams, found in levels.items():
        paces = [_pace(level) for level in found]
        all_of_them = figures(_together(found))
        times = [all_of_them[name][part] for name in ("first_token_ms", "next_token_ms") for part in ("p50", "p95")]
        rows.append([str(streams), spread(paces), f"{median(paces) / alone:.2f}×", *map(number, times)])
    titles = [f"{name} token, ms, {part}" for name in ("first", "next") for part in ("p50", "p95")]
    columns = ["streams", "tokens/s, prompts included", "of one", *titles]
    return Table(title="Streams at the same time", columns=columns, rows=rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """What the running streams and the long prompt have seen; milliseconds."""

    before: list[float]
    """The streams' gaps before the long prompt arrived."""
    during: list[float]
    """Those that ended between then and the long prompt's first token, and the one under way at that moment."""
    first: float
    """Until the long prompt's first token."""

    def record(self) -> dict[str, object]:
        """For the JSON file."""
        before, during = ([round(gap, 2) for gap in gaps] for gaps in (self.before, self.during))
        return {"before_ms": before, "during_ms": during, "first_ms": round(self.first, 2)}


async def _stalls(session: Session) -> dict[str, list[Stall]]:
    random = session.model(100_000_000, kind=Quantisation.Q4_0, context=LONG_CONTEXT)
    limit = ["--context-length", str(LONG_CONTEXT)]
    workers = ["--workers", str(RUNNING + 1), "--threads", "1", *limit]
    sides = {
        "SmolLM2 135M, llama.cpp": served(SMOLLM2, slots=RUNNING + 1, context=LONG_CONTEXT),
        "GLM-4 100M, llama.cpp": served(gguf(random), slots=RUNNING + 1, context=LONG_CONTEXT),
        "GLM-4 100M, chatglm-cpp": ["--model", str(random), *workers],
    }
    found: dict[str, list[Stall]] = {}
    for side, arguments in sides.items():
        with glmserve(session.folder, *arguments, "--no-prefix-reuse") as server:
            async with over("grpc", server) as target:
                words = [await words_for(target, tokens) for tokens in (QUESTION, session.small(LONG, 300))]
                found[side] = [await _stall(target, words, turn) for turn in range(session.rounds)]
    return found


async def _stall(target: Target, words: list[int], turn: int) -> Stall:
    prompts = Prompts(tokens=1, fixed=None, seed=turn)
    texts = [prompts.words(words[0], number) for number in range(RUNNING)]
    async with asyncio.timeout(PATIENCE), _running(target, texts) as streams:
        await _more(streams, WARM)
        exchange = await ask(target, prompts.words(words[1], RUNNING), tokens=1)
        await _more(streams, 1)
    read = exchange.begun + (exchange.first_token or 0)
    return Stall(
        before=[gap for stream in streams for _, late, gap in _gaps_of(stream) if late <= exchange.begun],
        during=[
            gap for stream in streams for early, late, gap in _gaps_of(stream) if late > exchange.begun and early < read
        ],
        first=(read - exchange.begun) * 1000,
    )


@contextlib.asynccontextmanager
async def _running(target: Target, texts: Sequence[str]) -> AsyncIterator[list[Exchange]]:
    """Streams that are left in the end, wherever they are."""
    streams = [Exchange(turn=0) for _ in texts]
    tokens = LONG_CONTEXT - 2 * QUESTION
    tasks = [
        asyncio.create_task(run(stream, target, Ask(model="", turns=(("user", text),), answer_tokens=tokens)))
        for stream, text in zip(streams, texts, strict=True)
    ]
    try:
        yield streams
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _more(streams: Sequence[Exchange], tokens: int) -> None:
    """Waits until each has given so many more."""
    wanted = [len(stream.moments) + tokens for stream in streams]
    while any(len(stream.moments) < least for stream, least in zip(streams, wanted, strict=True)):
        if any(stream.ended for stream in streams):
            raise RuntimeError("a stream has ended before the long prompt was read")
        await asyncio.sleep(0.02)


def _gaps_of(stream: Exchange) -> Iterator[tuple[float, float, float]]:
    """When each begins and ends, in seconds, and how long it is, in milliseconds."""
    for early, late in itertools.pairwise(stream.moments):
        yield early, late, (late - early) * 1000


def _gaps(stalls: dict[str, list[Stall]]) -> Table:
    rows = []
    for side, found in stalls.items():
        before = [median(stall.before) for stall in found]
        during = [median(stall.during) for stall in found]
        worst = [max(stall.during) for stall in found]
        rows.append(
            [
                side,
                *map(spread, (before, during, worst)),
                f"{median(worst) / median(before):.1f}×",
                spread([stall.first for stall in found]),
            ]
        )
    columns = [
        "",
        "median gap before, ms",
        "median gap meanwhile, ms",
        "worst gap, ms",
        "of the median before",
        "long prompt's first token, ms",
    ]
    return Table(title=f"A prompt of {LONG} tokens among {RUNNING} streams", columns=columns, rows=rows)


if __name__ == "__main__":
    main(compare, name="llama_scaling", missing=missing())

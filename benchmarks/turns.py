"""A conversation of five turns, with and without keeping what was read before, by each engine."""

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.clients import load, over, words_for
from benchmarks.comparison import Session, main
from benchmarks.llama import gguf, missing, served
from benchmarks.result import Result, Table, number, ratio, spread
from benchmarks.serving import Running, glmserve
from glmserve_client.bench.exchange import Exchange
from glmserve_client.bench.load import Level
from glmserve_client.bench.prompts import Prompts

TURNS: Final = 5
SHAPES: Final = {"Long questions, short answers": (64, 32), "Short questions, long answers": (16, 128)}
"""Tokens of each question and of each answer. What the model said is known to its worker; a new question is not."""
SIDES: Final = ("--no-prefix-reuse", "--prefix-reuse")
CONTEXT: Final = 2048

Turns = dict[str, list[list[dict[str, Any]]]]
"""By side, turn and round: milliseconds to the first token, tokens of the prompt, and how many were known."""


async def compare(session: Session) -> Result:
    """One engine after the other; llama.cpp is left out if it is not installed."""
    model = session.model(context=CONTEXT)
    engines = {"chatglm-cpp": ["--model", str(model), "--workers", "1"]}
    if not missing():
        engines["llama.cpp"] = [*served(gguf(model), slots=1, context=CONTEXT)]
    seen = {engine: await _engine(session, arguments) for engine, arguments in engines.items()}
    return Result(
        title="Five turns with and without prefix reuse",
        method=f"A 300M q8_0 model, 1 worker or slot; the history grows; {session.rounds} rounds in turns. Medians, "
        "least and greatest in brackets.",
        tables=[_table(engine, shape, seen[engine][shape]) for engine in engines for shape in SHAPES],
        raw=seen,
    )


async def _engine(session: Session, arguments: Sequence[str]) -> dict[str, Turns]:
    """By shape. Both servers are up all the time; only one is asked at a time."""
    seen: dict[str, Turns] = {shape: {side: [[] for _ in range(TURNS)] for side in SIDES} for shape in SHAPES}
    with (
        glmserve(session.folder, *arguments, SIDES[0]) as without,
        glmserve(session.folder, *arguments, SIDES[1]) as reuse,
    ):
        servers = list(zip(SIDES, (without, reuse), strict=True))
        for shape, (question, answer) in SHAPES.items():
            async with over("grpc", without) as target:
                words = await words_for(target, question)
            for number_ in range(session.rounds):
                for side, server in servers[:: -1 if number_ % 2 else 1]:
                    level = await _conversation(server, words, session.small(answer, 4), number_)
                    for exchange in level.exchanges:
                        seen[shape][side][exchange.turn].append(_record(exchange))
    return seen


async def _conversation(server: Running, words: int, tokens: int, seed: int) -> Level:
    prompts = Prompts(tokens=words, fixed=None, seed=seed)
    async with over("grpc", server) as target:
        return await load(target, prompts, clients=1, requests=1, tokens=tokens, turns=TURNS)


def _record(exchange: Exchange) -> dict[str, Any]:
    usage = exchange.usage
    return {
        "first_ms": (exchange.first_token or 0) * 1000,
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "cached_tokens": usage.cached_tokens if usage else None,
    }


def _table(engine: str, shape: str, seen: Turns) -> Table:
    rows = []
    for turn in range(TURNS):
        without, reuse = (seen[side][turn] for side in SIDES)
        times = [[record["first_ms"] for record in records] for records in (without, reuse)]
        tokens = [str(reuse[0][name]) for name in ("prompt_tokens", "cached_tokens")]
        rows.append([str(turn + 1), *tokens, *map(spread, times), ratio(times[0], times[1])])
    last = [sum(record["first_ms"] for records in seen[side] for record in records) for side in SIDES]
    rows.append(
        ["all", "", "", *(number(total / len(seen[SIDES[0]][0])) for total in last), f"{last[0] / last[1]:.2f}×"]
    )
    columns = ["turn", "prompt tokens", "known", "first token without, ms", "with, ms", "faster"]
    question, answer = SHAPES[shape]
    title = f"{engine}: {shape.lower()} ({question} and {answer} tokens): time to the first token"
    return Table(title=title, columns=columns, rows=rows)


if __name__ == "__main__":
    main(compare, name="turns")

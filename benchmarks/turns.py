"""A conversation of five turns, with and without keeping what was read before."""

from typing import Any, Final

from benchmarks.clients import load, over, words_for
from benchmarks.comparison import Session, main
from benchmarks.result import Result, Table, number, ratio, spread
from benchmarks.serving import Running, glmserve
from glmserve_client.bench.exchange import Exchange
from glmserve_client.bench.load import Level
from glmserve_client.bench.prompts import Prompts

TURNS: Final = 5
QUESTION: Final = 64
SIDES: Final = ("--no-prefix-reuse", "--prefix-reuse")

Turns = dict[str, list[list[dict[str, Any]]]]
"""By side, turn and round: milliseconds to the first token, tokens of the prompt, and how many were known."""


async def compare(session: Session) -> Result:
    """Both servers are up all the time; only one is asked at a time."""
    arguments = ["--model", str(session.model()), "--workers", "1"]
    seen: Turns = {side: [[] for _ in range(TURNS)] for side in SIDES}
    with (
        glmserve(session.folder, *arguments, SIDES[0]) as without,
        glmserve(session.folder, *arguments, SIDES[1]) as reuse,
    ):
        servers = list(zip(SIDES, (without, reuse), strict=True))
        async with over("grpc", without) as target:
            words = await words_for(target, QUESTION)
        for number_ in range(session.rounds):
            for side, server in servers[:: -1 if number_ % 2 else 1]:
                level = await _conversation(session, server, words, number_)
                for exchange in level.exchanges:
                    seen[side][exchange.turn].append(_record(exchange))
    return Result(
        title="Five turns with and without prefix reuse",
        method=f"A 300M q8_0 model, 1 worker; questions of {QUESTION} tokens, answers of {session.small(32, 4)}; "
        f"the history grows; {session.rounds} rounds in turns. Medians, least and greatest in brackets.",
        tables=[_table(seen)],
        raw=seen,
    )


async def _conversation(session: Session, server: Running, words: int, seed: int) -> Level:
    prompts = Prompts(tokens=words, fixed=None, seed=seed)
    async with over("grpc", server) as target:
        return await load(target, prompts, clients=1, requests=1, tokens=session.small(32, 4), turns=TURNS)


def _record(exchange: Exchange) -> dict[str, Any]:
    usage = exchange.usage
    return {
        "first_ms": (exchange.first_token or 0) * 1000,
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "cached_tokens": usage.cached_tokens if usage else None,
    }


def _table(seen: Turns) -> Table:
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
    return Table(title="Time to the first token", columns=columns, rows=rows)


if __name__ == "__main__":
    main(compare, name="turns")

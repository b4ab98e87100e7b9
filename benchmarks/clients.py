"""Clients of servers under comparison, on top of `glmserve bench`."""

import contextlib
import time
from collections.abc import AsyncIterator

from benchmarks.serving import Running
from glmserve_client.bench.exchange import Exchange, Outcome, run
from glmserve_client.bench.grpc_target import GrpcTarget
from glmserve_client.bench.http_target import HttpTarget
from glmserve_client.bench.load import Level, Plan, measure
from glmserve_client.bench.prompts import Prompts
from glmserve_client.bench.target import Ask, Failed, Target


@contextlib.asynccontextmanager
async def over(face: str, server: Running) -> AsyncIterator[Target]:
    """A way to a server: `grpc` or `http`."""
    target: Target = GrpcTarget(server.grpc, api_key=None) if face == "grpc" else HttpTarget(server.url, api_key=None)
    try:
        yield target
    finally:
        await target.aclose()


async def ask(target: Target, text: str, *, tokens: int, model: str = "") -> Exchange:
    """One answer. Raises `Failed`."""
    exchange = Exchange(turn=0)
    await run(exchange, target, Ask(model=model, turns=(("user", text),), answer_tokens=tokens))
    if exchange.error:
        raise exchange.error
    return exchange


async def load(
    target: Target,
    prompts: Prompts,
    *,
    clients: int,
    requests: int,
    tokens: int,
    turns: int = 1,
    model: str = "",
) -> Level:
    """So many clients at the same time. Raises `Failed` unless all was answered: slow and broken are not compared."""
    plan = Plan(model=model, conversations=requests, turns=turns, answer_tokens=tokens, cancel=0, max_time=170)
    level = await measure(target, plan, prompts, concurrency=clients)
    for exchange in level.exchanges:
        if exchange.outcome is not Outcome.ANSWERED:
            raise exchange.error or Failed(exchange.outcome.value, f"{target.address} did not answer in time")
    return level


async def words_for(target: Target, tokens: int, *, model: str = "") -> int:
    """How many words make a prompt of so many tokens."""
    prompts = Prompts(tokens=tokens, fixed=None, seed=0)
    few, many = [(await ask(target, prompts.words(count, -2), tokens=1, model=model)).usage for count in (16, 80)]
    if few is None or many is None:
        raise Failed("no usage", f"{target.address} does not say how many tokens a prompt has")
    slope = (many.prompt_tokens - few.prompt_tokens) / 64
    return max(1, round(16 + (tokens - few.prompt_tokens) / slope))


class Stopwatch:
    """Seconds of the wall clock."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._begun

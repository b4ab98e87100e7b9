"""So many clients at the same time, each asking its next question when it has its answer."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from glmserve_client.bench.exchange import Exchange, Outcome, run
from glmserve_client.bench.prompts import PROBES, Prompts
from glmserve_client.bench.target import Ask, Failed, Target, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is sent."""

    model: str
    conversations: int
    """How many at each concurrency."""
    turns: int
    """Requests in a conversation, each with all that was said before."""
    answer_tokens: int
    cancel: float
    """The share of requests that are left in the middle, 0 to 1."""
    max_time: float
    """Seconds for each concurrency; what is under way then is left."""


@dataclass(slots=True, kw_only=True)
class Level:
    """What was seen at one concurrency."""

    concurrency: int
    planned: int
    """Requests that were to be sent."""
    seconds: float = 0.0
    exchanges: list[Exchange] = field(default_factory=list)


async def prepare(target: Target, plan: Plan, prompts: Prompts) -> None:
    """Learns how many tokens the prompts have and what the server understands; failures are left to the measurement."""
    try:
        async with asyncio.timeout(plan.max_time):
            if prompts.fixed is not None:
                await _probe(target, plan, prompts.fixed)
                return
            usages = [await _probe(target, plan, prompts.words(count, -1, count)) for count in PROBES]
            prompts.fit([usage for usage in usages if usage is not None])
    except (Failed, TimeoutError, ValueError):
        return


async def _probe(target: Target, plan: Plan, text: str) -> Usage | None:
    ask = Ask(model=plan.model, turns=(("user", text),), answer_tokens=1)
    exchange = Exchange(turn=0)
    await run(exchange, target, ask)
    if exchange.error and target.simplify(exchange.error):
        await run(exchange, target, ask)
    return exchange.usage


async def measure(target: Target, plan: Plan, prompts: Prompts, *, concurrency: int) -> Level:
    """Sends the plan's requests by so many clients. Never raises for what the server does."""
    level = Level(concurrency=concurrency, planned=plan.conversations * plan.turns)
    numbers = iter(range(plan.conversations))
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(plan.max_time), asyncio.TaskGroup() as clients:
            for _ in range(min(concurrency, plan.conversations)):
                clients.create_task(_client(target, plan, prompts, level, numbers))
    except TimeoutError:
        pass
    level.seconds = time.perf_counter() - begun
    return level


async def _client(target: Target, plan: Plan, prompts: Prompts, level: Level, numbers: Iterator[int]) -> None:
    for number in numbers:
        await _converse(target, plan, prompts, level, number)


async def _converse(target: Target, plan: Plan, prompts: Prompts, level: Level, number: int) -> None:
    """One conversation, to its end or to the first failure."""
    said: list[tuple[str, str]] = []
    for turn in range(plan.turns):
        said.append(("user", prompts.text(level.concurrency, number, turn)))
        exchange = Exchange(turn=turn)
        level.exchanges.append(exchange)
        ask = Ask(model=plan.model, turns=tuple(said), answer_tokens=plan.answer_tokens)
        await run(exchange, target, ask, leave_after=_leave_after(plan, number * plan.turns + turn))
        if exchange.outcome is Outcome.FAILED:
            return
        said.append(("assistant", exchange.text or " "))


def _leave_after(plan: Plan, number: int) -> int | None:
    """After how many pieces the request with this number is left: evenly spread, from one to half of the answer."""
    if int((number + 1) * plan.cancel) == int(number * plan.cancel):
        return None
    return 1 + number % max(1, plan.answer_tokens // 2)

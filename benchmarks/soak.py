"""Minutes of trouble: clients that leave or read slowly, and workers that are killed. Is anything lost or leaked?"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from benchmarks.census import Census, census, settled
from benchmarks.clients import over
from benchmarks.comparison import Session, main
from benchmarks.result import Result, Table, number
from benchmarks.serving import Running, glmserve
from glmserve_client.bench.exchange import Exchange, Outcome, run
from glmserve_client.bench.target import Ask, Failed, Target

FACES: Final = ("grpc", "http")
CLIENTS: Final = 4
"""Clients of each kind over each face."""
KILL_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 60.0
"""A request that has no end after so long is lost."""
SLOW_SECONDS: Final = 0.05
GRANTED_MEMORY: Final = 30.0
"""MB by which a process may grow: allocators keep what they had."""
PATIENCE: Final = 60.0
"""Seconds until the last connection is closed and the last worker replaced."""


@dataclass(slots=True)
class Ledger:
    """Every request that was sent, by what kind of client it was and how it ended."""

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    sent: int = 0
    killed: int = 0

    def lost(self) -> int:
        """Requests that ended in no way at all."""
        return self.sent - self.ends.total()


async def compare(session: Session) -> Result:
    """A first spell warms up; what is there afterwards must be there again after the whole time."""
    dice = random.Random(0)  # noqa: S311 (a soak is no secret)
    ledger, seconds = Ledger(), 6.0 if session.quick else session.minutes * 60
    options = ["--model", "tiny-glm4", "--model", "scripted", "--workers", "2", "--threads", "1", "--queue-limit", "8"]
    with glmserve(session.folder, *options) as server:
        await _spell(server, Ledger(), dice, min(15.0, seconds))
        before = await asyncio.to_thread(_rested, server)
        half = await _spell(server, ledger, dice, seconds / 2)
        await _spell(server, ledger, dice, seconds / 2)
        after = await asyncio.to_thread(settled, server, before, memory=GRANTED_MEMORY, patience=PATIENCE)
        await _still_answers(server)
    faults = after.exceeds(before, memory=GRANTED_MEMORY)
    if ledger.lost():
        faults.append(f"{ledger.lost()} requests ended in no way")
    return Result(
        title="Minutes of trouble",
        method=f"{seconds:.0f} s of {CLIENTS} clients each that stay, leave at random or read slowly, over gRPC and "
        f"through Envoy, with tiny-glm4; a worker was killed {ledger.killed} times. The queue holds 8.",
        tables=[_ends(ledger), _counts(before, half, after)],
        raw={
            "sent": ledger.sent,
            "killed": ledger.killed,
            "ends": [{"client": kind, "end": end, "count": count} for (kind, end), count in ledger.ends.items()],
            "census": [found.record() for found in (before, half, after)],
        },
        failed="; ".join(faults),
    )


def _rested(server: Running) -> Census:
    """Once it has stopped changing."""
    now = census(server)
    for _ in range(20):
        time.sleep(1)
        now, last = census(server), now
        if now.record() == last.record():
            break
    return now


async def _spell(server: Running, ledger: Ledger, dice: random.Random, seconds: float) -> Census:
    """All kinds of clients at once for so long; returns what there was in the middle of it all."""
    ends_at, found = time.monotonic() + seconds, list[Census]()
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for face in FACES:
            target = await stack.enter_async_context(over(face, server))
            for kind in ("stays", "leaves", "reads slowly"):
                for _ in range(CLIENTS):
                    own = random.Random(dice.random())  # noqa: S311
                    tasks.create_task(_client(target, f"{face}, {kind}", ledger, own, ends_at))
        tasks.create_task(_kill(server, ledger, dice, ends_at))
        await asyncio.sleep(max(0.0, ends_at - time.monotonic() - 1))
        found.append(census(server))
    return found[0]


async def _client(target: Target, kind: str, ledger: Ledger, dice: random.Random, ends_at: float) -> None:
    while time.monotonic() < ends_at:
        ledger.sent += 1
        end = await _one(target, kind, dice)
        ledger.ends[kind, end] += 1
        if end.startswith(("RESOURCE_EXHAUSTED", "HTTP 429", "UNAVAILABLE", "HTTP 503")):
            await asyncio.sleep(0.2 + dice.random())  # as a polite client


async def _one(target: Target, kind: str, dice: random.Random) -> str:
    """How a request ended, in words."""
    text = " ".join(dice.choices(("hello", "what", "who", "tell", "me", "你好"), k=dice.randint(1, 40)))
    ask = Ask(model="tiny-glm4", turns=(("user", text),), answer_tokens=dice.randint(1, 256))
    exchange = Exchange(turn=0)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            if kind.endswith("slowly"):
                return await _read_slowly(target, ask)
            await run(exchange, target, ask, leave_after=dice.randint(1, 50) if kind.endswith("leaves") else None)
    except TimeoutError:
        return f"no end in {ANSWER_SECONDS:.0f} s"
    return exchange.error.kind if exchange.error else exchange.outcome.value


async def _read_slowly(target: Target, ask: Ask) -> str:
    try:
        async with contextlib.aclosing(target.stream(ask)) as parts:
            async for _ in parts:
                await asyncio.sleep(SLOW_SECONDS)
    except Failed as error:
        return error.kind
    return Outcome.ANSWERED.value


async def _kill(server: Running, ledger: Ledger, dice: random.Random, ends_at: float) -> None:
    while (wait := KILL_SECONDS * (0.5 + dice.random())) < ends_at - time.monotonic():
        await asyncio.sleep(wait)
        if workers := server.workers():
            dice.choice(workers).kill()
            ledger.killed += 1


async def _still_answers(server: Running) -> None:
    for face in FACES:
        async with over(face, server) as target:
            exchange = Exchange(turn=0)
            await run(exchange, target, Ask(model="tiny-glm4", turns=(("user", "Hello!"),), answer_tokens=8))
        if exchange.outcome is not Outcome.ANSWERED:
            raise exchange.error or RuntimeError(f"no answer over {face} in the end")


def _ends(ledger: Ledger) -> Table:
    rows = [[kind, end, f"{count:,}"] for (kind, end), count in sorted(ledger.ends.items())]
    return Table(
        title="How requests ended", columns=["client", "end", "count"], rows=[*rows, ["all", "", f"{ledger.sent:,}"]]
    )


def _counts(before: Census, half: Census, after: Census) -> Table:
    records = [found.record() for found in (before, half, after)]
    rows = [[name.replace("_", " "), *(number(record[name]) for record in records)] for name in records[0]]
    return Table(
        title="What the server held (memory: MB, unshared)",
        columns=["", "before", "under load", "afterwards"],
        rows=rows,
    )


if __name__ == "__main__":
    main(compare, name="soak", rounds=1)

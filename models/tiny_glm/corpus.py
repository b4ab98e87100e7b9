"""The mix of skills: an endless stream of conversations for training, and fixed test sets.

A new skill is one module in ``skills`` and one line in :data:`MIX`.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from .conversation import Conversation, Source, Turn
from .skills import counting, facts, identity, memory, repeat, smalltalk, system_prompt, tool_calls, unknown

Maker = Callable[[Source], Conversation]
MIX: tuple[tuple[Maker, float], ...] = (
    (smalltalk.make, 7),
    (identity.make, 7),
    (facts.make, 22),
    (repeat.make, 15),
    (memory.make, 15),
    (memory.make_telling, 2),
    (memory.make_untold, 2),
    (system_prompt.make, 42),
    (counting.make, 19),
    (unknown.make, 7),
    (tool_calls.make_call, 34),
    (tool_calls.make_answer, 14),
    (tool_calls.make_two, 20),
    (tool_calls.make_plain, 7),
    (tool_calls.make_weather, 8),
)
DRILLS: tuple[tuple[Maker, float], ...] = (
    (counting.make_hard, 16),
    (memory.make_other_untold, 4),
    (memory.make_untold, 5),
    (repeat.make, 10),
    (system_prompt.make_hard, 80),
    (tool_calls.make_many, 30),
    (tool_calls.make_cities, 14),
    (tool_calls.make_weather, 5),
)
"""More of what is learned slowest, for training alone."""
CALLING = (tool_calls.make_call, tool_calls.make_two, tool_calls.make_weather)
SINGLE_TURN = (smalltalk.make, identity.make, facts.make, repeat.make, counting.make, unknown.make, memory.make_telling)


def draw(source: Source) -> Conversation:
    """Return a conversation, now and then after unrelated turns or under a plain system prompt."""
    makers, weights = zip(*MIX, *DRILLS, strict=True)
    talk = source.rng.choices(makers, weights)[0](source)
    return in_context(source, talk)


def in_context(source: Source, talk: Conversation) -> Conversation:
    """Put unrelated turns before a conversation that has no memory or system prompt of its own to lose."""
    has_system = talk.turns[0].role == "system"
    if talk.skill not in ("not told", "memory") and not has_system and source.chance(0.3):
        talk = talk.after(unrelated(source))
    if talk.skill == "memory" and source.chance(0.15):
        talk = talk.after(memory.small_distraction(source))
    if not has_system and source.chance(0.15):
        talk = talk.under(source.trained().say(system_prompt.PLAIN))
    return talk


def unrelated(source: Source) -> list[Turn]:
    """Return one to ten exchanges that have nothing to do with what follows."""
    turns: list[Turn] = []
    for _ in range(source.choice((1, 1, 1, 1, 2, 2, 3, 4, 7, 10))):
        turns += source.choice(SINGLE_TURN)(source.trained()).turns
    return turns


def stream(seed: int, *, blanks: bool = False):
    """Yield training conversations without end; the seed decides all of them."""
    source = Source(random.Random(seed), blanks=blanks)
    while True:
        yield draw(source)


def held_out_set(kind: str, *, per_skill: int, seed: int = 2026) -> dict[str, list[Conversation]]:
    """Return ``per_skill`` conversations per skill; ``kind`` is ``values``, ``wording``, ``functions`` or ``mistakes``.

    In ``values`` the slots hold values that training never saw, in ``wording`` the question
    under test is put in a way that training never used, in ``functions`` the names of functions and
    parameters are new or made up, and so are the values; in ``mistakes`` all are known, and
    nearly every English question has a slip: a letter too many, too few or swapped, or such a
    word. Questions of the other kinds have none.
    """
    if kind not in ("values", "wording", "functions", "mistakes"):
        raise ValueError(f"kind must be values, wording, functions or mistakes, got {kind!r}")
    source = Source(
        random.Random(f"{seed}/{kind}"),
        new_values=kind in ("values", "functions"),
        new_wording=kind == "wording",
        functions="new" if kind == "functions" else "known",
        slips=1.0 if kind == "mistakes" else 0.0,
    )
    found: dict[str, list[Conversation]] = {}
    makers = CALLING if kind == "functions" else [maker for maker, _ in MIX if maker is not memory.make_telling]
    for maker in makers:
        for _ in range(per_skill * 20):
            talk = in_context(source, maker(source))
            kept = found.setdefault(talk.skill, [])
            if len(kept) < per_skill:
                kept.append(talk)
    return found

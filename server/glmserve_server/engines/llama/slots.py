"""How many conversations a model runs at a time: what the memory holds, in the words of the plan."""

from typing import Final

from glmserve_server.engines.llama.ggufheader import GgufHeader
from glmserve_server.errors import ModelUnavailable
from glmserve_server.plan import Budget, Need, Plan, counted, size_text

MOST_SLOTS: Final = 8
_SLOW: Final = 5e9
"""Operations per second and thread; a slow type of matrix on a busy machine of today reaches twice as many."""
_PROCESS_BYTES: Final = 300_000_000
"""What the process takes besides: interpreter, library, compute buffers of a step."""


def plan(
    header: GgufHeader,
    *,
    projector: int = 0,
    slots: int | None,
    threads: int | None,
    context_length: int,
    cpus: int,
    budget: Budget,
) -> Plan:
    """A number of slots that is given is kept, and the memory promised. There are never more threads than CPUs: those
    of llama.cpp wait for each other at every matrix. `projector`: the bytes of that file.

    Raises `ModelUnavailable` when the memory holds not even one slot.
    """
    weights, need = header.size + projector, need_of(header, context_length, projector=projector)
    memory = budget.free
    fit = (memory - need.shared) // need.held
    if (slots or 1) > fit:
        raise ModelUnavailable(
            f"{size_text(need.shared)} of weights and process and {size_text(need.held)} for each of "
            f"{slots or 1} slots do not fit into the {size_text(memory)} of memory that are free: lower "
            "context_length or slots"
        )
    slots = slots or max(1, min(MOST_SLOTS, fit // 2))
    threads, asked = min(threads or cpus, cpus), threads or 0
    budget.promise(need, slots)
    reason = (
        f"{counted(slots, 'slot')} of {context_length} tokens in one process of {counted(threads, 'thread')} on "
        f"{counted(cpus, 'CPU')}; "
        f"{size_text(weights)} of weights and {size_text(need.held)} per slot"
        f"{f'; not {asked} threads, which are more than there are CPUs' if asked > threads else ''}"
    )
    return Plan(workers=slots, threads=threads, reason=reason)


def step_seconds(header: GgufHeader, *, threads: int, batch: int) -> float:
    """What a step of a prompt takes at most, on a slow machine: every weight has half a byte or more."""
    return 2 * 2 * header.size * batch / (threads * _SLOW)


def need_of(header: GgufHeader, context_length: int, *, projector: int = 0) -> Need:
    """The memory that a model takes; a slot is what other engines call a worker."""
    return Need(shared=header.size + projector + _PROCESS_BYTES, held=_cache_bytes(header, context_length), peak=0)


def _cache_bytes(header: GgufHeader, context_length: int) -> int:
    """A slot's keys and values, in float16."""
    heads = max(1, header.number("attention.head_count"))
    width = header.number("attention.key_length") or header.number("embedding_length") // heads
    kv_heads = header.number("attention.head_count_kv") or heads
    return max(1, 2 * 2 * header.number("block_count") * kv_heads * width * context_length)

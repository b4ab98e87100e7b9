"""How the workers of a model share the machine."""

import os
from itertools import pairwise

import pytest
from faces import opened
from hypothesis import given
from hypothesis import strategies as st
from running import MODEL, Glmserve

from glmserve_server.errors import ModelUnavailable
from glmserve_server.plan import Budget, Need, divided, plan

GB = 1_000_000_000
SMALL = Need(shared=GB, held=GB // 10, peak=GB // 10)


@pytest.mark.parametrize(
    ("cpus", "chosen"), [(1, (1, 1)), (2, (2, 1)), (3, (2, 1)), (4, (2, 2)), (16, (2, 8))], ids=str
)
def test_two_workers_share_the_cpus(cpus: int, chosen: tuple[int, int]) -> None:
    made = plan(workers=None, threads=None, need=SMALL, cpus=cpus, memory=64 * GB)
    assert (made.workers, made.threads) == chosen


@given(
    workers=st.none() | st.integers(1, 64),
    threads=st.none() | st.integers(1, 64),
    cpus=st.integers(1, 64),
    memory=st.integers(2 * GB, 1024 * GB),
)
def test_what_is_given_is_kept_and_what_is_not_never_asks_for_too_much(
    workers: int | None, threads: int | None, cpus: int, memory: int
) -> None:
    if (workers or 1) * SMALL.held + SMALL.shared > memory:
        with pytest.raises(ModelUnavailable, match="do not fit"):
            plan(workers=workers, threads=threads, need=SMALL, cpus=cpus, memory=memory)
        return
    made = plan(workers=workers, threads=threads, need=SMALL, cpus=cpus, memory=memory)
    assert made.workers == workers or (workers is None and made.workers <= max(1, cpus))
    assert made.threads == threads or (threads is None and made.threads <= max(1, cpus // made.workers))
    assert ("more threads than CPUs" in made.reason) == (made.workers * made.threads > cpus)


def test_less_memory_never_means_more_workers() -> None:
    plans = [
        plan(workers=None, threads=None, need=SMALL, cpus=8, memory=memory)
        for memory in range(GB * 11 // 10, 3 * GB, GB // 10)
    ]
    assert all(less.workers <= more.workers for less, more in pairwise(plans))
    assert plans[0].workers == 1


@pytest.mark.parametrize(
    ("cpus", "wanted", "shares"),
    [
        (16, [(None, None)], [16]),
        (16, [(None, None), (None, None), (2, None)], [5, 5, 5]),
        (16, [(2, 4), (None, None)], [16, 8]),
        (4, [(2, 4), (None, None), (1, 1)], [4, 1, 4]),
        (4, [], []),
    ],
    ids=str,
)
def test_models_divide_the_cpus_that_others_are_not_given(
    cpus: int, wanted: list[tuple[int | None, int | None]], shares: list[int]
) -> None:
    assert divided(cpus, wanted) == shares


def test_a_model_is_planned_with_the_memory_that_those_before_it_leave() -> None:
    budget = Budget(lambda: 3 * GB)
    budget.promise(SMALL, 2)
    assert budget.free == 3 * GB - 12 * GB // 10
    budget.promise(SMALL, 20)
    assert budget.free == 0
    budget.settle()
    assert budget.free == 3 * GB


def test_the_affinity_of_the_server_is_obeyed_and_its_reasons_are_printed() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # inherited by the server
    try:
        with Glmserve("serve", "--model", MODEL) as server, opened("grpc", server) as face:
            assert face.ask([("user", "Hello!")], model=MODEL).text
            assert len(server.workers()) == 1
            assert "1 worker of 1 thread on 1 CPU" in server.log
    finally:
        os.sched_setaffinity(0, allowed)

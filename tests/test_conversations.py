"""Conversations of any kind, over both faces: each is answered or refused with a reason, and no worker is lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faces import Face, Refused, opened
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import MODEL, Glmserve

FAMILIES = sorted((Path(__file__).parent / "models").glob("*.bin"))
NAMES = ("get_weather", "python", "f")
TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "\n",
            "Hello!",
            "<|user|>",
            "[gMASK]<sop>",
            "<think>",
            "</think>x",
            "get_weather\n{}",
            "你好",
            "\ufffd\x00",
        ]
    ),
    st.text(max_size=40),
)
JSONS = st.one_of(
    st.sampled_from(['{"city": "Paris"}', "{}", "[]", "null", "", "{", '{"code": 1}', '{"ids": [[]]}']),
    st.text(max_size=20),
)
CALLS = st.builds(
    lambda name, arguments, number: {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    st.sampled_from(NAMES),
    JSONS,
    st.integers(0, 3),
)
MESSAGES = st.one_of(
    st.tuples(st.sampled_from(["system", "developer", "user", "assistant"]), TEXTS),
    st.builds(
        lambda text, calls: {"role": "assistant", "content": text, "tool_calls": calls},
        st.one_of(st.none(), TEXTS),
        st.lists(CALLS, min_size=1, max_size=3),
    ),
    st.builds(
        lambda text, number: {"role": "tool", "content": text, "tool_call_id": f"call_{number}"},
        TEXTS,
        st.integers(0, 3),
    ),
)
SCHEMAS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
FUNCTIONS = st.builds(
    lambda name, parameters: {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "x": parameters}},
    },
    st.sampled_from(NAMES),
    SCHEMAS,
)
TOOLS = st.lists(
    st.one_of(FUNCTIONS, st.sampled_from([{"type": "python"}, {"type": "simple_browser"}, {"type": "cogview"}])),
    max_size=3,
)
CHOICES = st.sampled_from(["none", "auto", "required", {"type": "function", "function": {"name": "f"}}])


@pytest.fixture(scope="module")
def running() -> Iterator[Glmserve]:
    """A server of every family, which must have the same workers in the end."""
    files = [argument for file in FAMILIES for argument in ("--model", str(file))]
    with Glmserve("up", "--workers", "1", "--model", MODEL, *files) as server:
        workers = server.workers()
        yield server
        assert server.workers() == workers


@pytest.fixture(scope="module", params=["grpc", "http"])
def any_face(request: pytest.FixtureRequest, running: Glmserve) -> Iterator[Face]:
    with opened(request.param, running) as way:
        yield way


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    model=st.sampled_from([MODEL, *(file.stem for file in FAMILIES)]),
    turns=st.lists(MESSAGES, min_size=1, max_size=6),
    tools=TOOLS,
    choice=st.one_of(st.none(), CHOICES),
    limit=st.integers(1, 8),
    temperature=st.sampled_from([0, 1.0]),
)
def test_every_conversation_is_answered_or_refused(
    any_face: Face, model: str, turns: list[Any], tools: list[Any], choice: Any, limit: int, temperature: float
) -> None:
    parameters = {"tools": tools} | ({"tool_choice": choice} if choice is not None else {})
    try:
        reply = any_face.ask(turns, model=model, max_completion_tokens=limit, temperature=temperature, **parameters)
    except Refused as refused:
        fate: str | int = refused.status
    else:
        fate = reply.finish
        assert reply.completion_tokens <= limit
    assert fate in ("stop", "length", "tool_calls", 400)

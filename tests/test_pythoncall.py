"""Python's calls as text: where one ends however it is cut, its arguments as JSON, and written again."""

import json
import time
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glmserve_server.dialects.pythoncall import PythonCall, arguments, written

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["city", "n", "城市", "class", "a-b", "", "ﬁ"]) | st.text(max_size=5), JSON)


def taken(pieces: Iterable[str]) -> tuple[str | None, str]:
    """The call in some pieces of text, and what follows it; None if it does not end."""
    call, rest = PythonCall(), ""
    for piece in pieces:
        rest += piece if call.closed else call.feed(piece)
    return (call.source if call.closed else None), rest


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("tool_call(city='Paris', n=3)", {"city": "Paris", "n": 3}),
        ('tool_call(a="x", b=-1.5, c=[1, {"k": None}])', {"a": "x", "b": -1.5, "c": [1, {"k": None}]}),
        ("tool_call(range=(0, 100), e=True)", {"range": [0, 100], "e": True}),
        ("tool_call(a=true, b=false, c=null)", {"a": True, "b": False, "c": None}),
        ("tool_call()", {}),
        (" tool_call(\n  city='巴黎',\n)\n", {"city": "巴黎"}),
        ("tool_call(**{'a-b': 1}, c='\\ud83d\\ude00')", {"a-b": 1, "c": "😀"}),
        ("tool_call(a='\\d', b='''x\ny''', c='x' 'y')", {"a": "\\d", "b": "x\ny", "c": "xy"}),
        ("tool_call(a={1: 2, True: 3.5, None: []})", {"a": {"1": 2, "true": 3.5, "null": []}}),
    ],
)
def test_literals_become_json(source: str, expected: dict[str, object]) -> None:
    assert json.loads(arguments(source) or "") == expected


@pytest.mark.parametrize(
    "source",
    [
        "",
        "tool_call",
        "tool_call('Paris')",
        "tool_call(city=Paris)",
        "tool_call(a=exit())",
        "tool_call(a=b'x')",
        "tool_call(a={1, 2})",
        "tool_call(a=1j)",
        "tool_call(a=...)",
        "tool_call(a=1e999)",
        "tool_call(a=-1e999)",
        "tool_call(a=float('nan'))",
        "tool_call(a={1e999: 1})",
        "tool_call(a={[]: 1})",
        "tool_call(a={**{}})",
        "tool_call(a=f'{1}')",
        "tool_call(a='\\ud83d')",
        "tool_call(a=1 + 1)",
        "tool_call(a=--1)",
        "tool_call(a=-True)",
        "tool_call(a=[x for x in ()])",
        "tool_call(a=lambda: 1)",
        "tool_call(*[1])",
        "tool_call(**[])",
        "tool_call(a=1).b",
        "other(a=1)",
        "a.tool_call(a=1)",
        "tool_call(a=1); exit()",
        "tool_call(a=__import__('os').system('true'))",
        "tool_call(a='\x00')",
        "tool_call(a=" + "9" * 5000 + ")",
        "tool_call(a='" + "x" * 70_000 + "')",
    ],
)
def test_what_is_no_literal_is_not_read(source: str) -> None:
    assert arguments(source) is None


@pytest.mark.parametrize(
    "deep", ["(", "[", "{1:", "-", "not ", "1+", "a.", "a[", "lambda:", "1 if 1 else ", "~", "1**"]
)
def test_deep_nests_neither_hang_nor_break(deep: str) -> None:
    begun = time.process_time()
    for count in (10, 100, 1000, 60_000 // len(deep)):
        assert arguments(f"tool_call(a={deep * count}1)") is None or deep == "("
        assert arguments(f"tool_call(a={'[' * count}{']' * count})") is None or count <= 64
    assert time.process_time() - begun < 20


@settings(max_examples=300, deadline=None)
@given(found=OBJECTS)
def test_a_call_that_is_written_is_read_again(found: dict[str, object]) -> None:
    source = written(json.dumps(found, ensure_ascii=False))
    assert json.loads(arguments(source) or "") == found
    assert taken([f"{source}\n```\nmore"]) == (source, "\n```\nmore")
    assert taken(f"{source}\n```\nmore") == (source, "\n```\nmore")


@pytest.mark.parametrize(
    ("arguments_json", "expected"),
    [
        ('{"city": "Paris", "n": 3}', "tool_call(city='Paris', n=3)"),
        ('{"a-b": [true, null]}', "tool_call(**{'a-b': [True, None]})"),
        ("", "tool_call()"),
        ("[1]", "[1]"),
        ("tool_call(a=b)", "tool_call(a=b)"),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": 1e999}', '{"a": 1e999}'),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_earlier_arguments_are_written_as_a_call(arguments_json: str, expected: str) -> None:
    assert written(arguments_json) == expected


@pytest.mark.parametrize(
    ("text", "source", "rest"),
    [
        ("tool_call(a=')', b=\"(\")x", "tool_call(a=')', b=\"(\")", "x"),
        ("tool_call(a='\\')')x", "tool_call(a='\\')')", "x"),
        ("tool_call(a='', b=\"\")x", "tool_call(a='', b=\"\")", "x"),
        ("tool_call(a='''')'\n```\n''')x", "tool_call(a='''')'\n```\n''')", "x"),
        ("tool_call(a=[(1), {2: 3}])x", "tool_call(a=[(1), {2: 3}])", "x"),
        ("tool_call(a='it's')\n```\nx", "tool_call(a='it's')", "\nx"),
        ("tool_call(a='x```y')x", "tool_call(a='x```y')", "x"),
        ("tool_call(a=(\n```", "tool_call(a=(", ""),
        ("tool_call(a=1", None, ""),
    ],
)
def test_a_call_ends_at_its_bracket_or_its_block(text: str, source: str | None, rest: str) -> None:
    assert taken([text]) == (source, rest)
    assert taken(text) == (source, rest)


def test_a_long_call_is_read_in_linear_time() -> None:
    call, begun = PythonCall("tool_call(a='"), time.process_time()
    for _ in range(20_000):
        call.feed("word ")
    assert time.process_time() - begun < 10
    assert len(call.source) > 100_000

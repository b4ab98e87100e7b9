"""ChatGLM3's answers: text and calls, read the same wherever they are cut."""

import json
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dialects_answer import CALL as CALLED
from test_dialects_answer import STOP as STOPPED
from test_dialects_answer import check_events

from glmserve.v1.tool_pb2 import FunctionTool
from glmserve_server.dialects.chatglm3_answer import ChatGlm3Parser
from glmserve_server.dialects.deltas import Arguments, Call, Delta, Text
from glmserve_server.dialects.toolbox import Toolbox

CALL: list[Delta] = [Call("get_weather"), Arguments('{"city": "Paris", "n": 3}')]
SOURCE = "tool_call(city='Paris', n=3)"
BLOCK = f" ```python\n{SOURCE}\n```"
TOOLS = ("get_weather", "get", "python")


def toolbox(*names: str, required: Sequence[str] = ()) -> Toolbox:
    functions = tuple(FunctionTool(name=name) for name in names if name != "python")
    builtins = ("python",) if "python" in names else ()
    return Toolbox((*functions, *builtins), frozenset(function.name for function in functions), tuple(required))


def read(box: Toolbox, pieces: Iterable[str | None], *, whole: bool = True, called: bool = True) -> list[Delta]:
    """What the parser makes of an answer in pieces; None begins another turn. Neighbours of one kind are one."""
    parser = ChatGlm3Parser(box)
    deltas: list[Delta] = []
    for piece in pieces:
        deltas += parser.turn() if piece is None else parser.feed(piece)
    joined: list[Delta] = []
    for delta in [*deltas, *parser.end(whole=whole, called=called)]:
        last = joined[-1] if joined else None
        if isinstance(delta, Text) and isinstance(last, Text):
            joined[-1] = Text(last.text + delta.text)
        elif isinstance(delta, Arguments) and isinstance(last, Arguments):
            joined[-1] = Arguments(last.text + delta.text)
        else:
            joined.append(delta)
    return joined


CASES: list[tuple[str, list[str | None], list[Delta]]] = [
    ("text", ["\n Hello!"], [Text("Hello!")]),
    ("text that begins with white space", ["\n  \n Hello!"], [Text(" \n Hello!")]),
    ("text without a first line", ["Hello!"], [Text("Hello!")]),
    ("text in lines", ["\n a\n\n get \nb\n"], [Text("a\n\n get \nb\n")]),
    ("only white space", ["\n  "], [Text(" ")]),
    ("nothing", ["\n"], []),
    ("a call", [f"get_weather\n{BLOCK}"], CALL),
    ("spaces around", [f" get_weather \n\n{BLOCK}\n"], CALL),
    ("no language", [f"get_weather\n ```\n{SOURCE}\n```"], CALL),
    ("no block", [f"get_weather\n {SOURCE}"], CALL),
    ("an open block", [f"get_weather\n ```python\n{SOURCE}"], CALL),
    ("no arguments", ["get_weather\n ```python\ntool_call()\n```"], [Call("get_weather"), Arguments("{}")]),
    ("nothing after the name", ["get_weather"], [Call("get_weather"), Arguments("{}")]),
    ("half a block", ["get_weather\n ```pyth"], [Call("get_weather"), Arguments("pyth")]),
    ("an empty block", ["get_weather\n```python\n```"], [Call("get_weather"), Arguments("{}")]),
    ("a name that another begins with", ["get\n```python\ntool_call()\n```"], [Call("get"), Arguments("{}")]),
    ("a name never declared", [f"get_rain\n{BLOCK}"], [Text(f"get_rain\n{BLOCK}")]),
    ("a name in a sentence", [f"\n I use get_weather\n{BLOCK}"], [Text(f"I use get_weather\n{BLOCK}")]),
    ("a name as a headline", ["\n get_weather\nis one."], [Text("get_weather\nis one.")]),
    ("a block without a name", [f"\n{BLOCK}"], [Text(BLOCK[1:])]),
    ("text before a call", [f"\n Let me look.\n get_weather\n{BLOCK}"], [Text("Let me look."), *CALL]),
    ("text in a turn before", ["\n Let me look.", None, f"get_weather\n{BLOCK}"], [Text("Let me look."), *CALL]),
    ("two texts", ["\n One.", None, "\n Two."], [Text("One.\nTwo.")]),
    ("two calls", [f"get_weather\n{BLOCK}", None, "get\n```\ntool_call()\n```"], [*CALL, Call("get"), Arguments("{}")]),
    ("two in one block", [f"get_weather\n```python\n{SOURCE}\n{SOURCE}\n```"], [*CALL, *CALL]),
    ("two in one turn", [f"get_weather\n{BLOCK}\nget\n```\ntool_call()\n```"], [*CALL, Call("get"), Arguments("{}")]),
    ("text after a call", [f"get_weather\n{BLOCK}\n\n Done."], [*CALL, Text("Done.")]),
    ("brackets in strings", ["get\n```\ntool_call(a=')(```')\n```"], [Call("get"), Arguments('{"a": ")(```"}')]),
    ("no literal", ["get\n```\ntool_call(a=exit())\n```"], [Call("get"), Arguments("tool_call(a=exit())")]),
    ("no call", ["get\n```python\nprint(1)\nx\n```\n"], [Call("get"), Arguments("print(1)\nx")]),
    ("code", ['interpreter\n ```python\na = "1"\nx\n```'], [Call("python"), Arguments('{"code": "a = \\"1\\"\\nx"}')]),
    ("no code", ["interpreter\n ```python\n```"], [Call("python"), Arguments('{"code": ""}')]),
    ("nothing after interpreter", ["interpreter"], [Call("python"), Arguments('{"code": ""}')]),
    ("the built-in tool's name", [f"python\n{BLOCK}"], [Text(f"python\n{BLOCK}")]),
]  # fmt: skip


@pytest.mark.parametrize(("pieces", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_an_answer_is_read(pieces: list[str | None], expected: list[Delta]) -> None:
    letters = [letter for piece in pieces for letter in ([None] if piece is None else piece)]
    assert read(toolbox(*TOOLS), pieces) == expected
    assert read(toolbox(*TOOLS), letters) == expected


def test_without_tools_all_is_text() -> None:
    assert read(Toolbox(), [f"get_weather\n{BLOCK}"]) == [Text(f"get_weather\n{BLOCK}")]


def test_a_name_alone_is_a_call_only_when_its_result_is_awaited() -> None:
    assert read(toolbox("get"), ["get"], called=False) == [Text("get")]
    assert read(toolbox("get", "other", required=["get", "other"]), ["get"], called=False) == [
        Call("get"),
        Arguments("{}"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("get", []),
        ("get_wea", []),
        ("get_weather", []),
        ("get\n", [Call("get")]),
        ("get_weather\n ", [Call("get_weather")]),
    ],
)
def test_a_required_call_that_is_cut_in_its_name_is_not_told(text: str, expected: list[Delta]) -> None:
    box = toolbox("get", "get_weather", required=["get", "get_weather"])
    assert read(box, [text], whole=False, called=False) == expected


def test_what_the_limit_cuts_is_given_as_it_is() -> None:
    box = toolbox(*TOOLS)
    assert read(box, ["get\n ```python\ntool_call(a='x"], whole=False, called=False) == [
        Call("get"),
        Arguments("tool_call(a='x"),
    ]
    assert read(box, ["get\n ```python\ntool"], whole=False, called=False) == [Call("get"), Arguments("tool")]
    assert read(box, ["get\n ```py"], whole=False, called=False) == [Call("get"), Arguments("py")]
    assert read(box, ["get\n "], whole=False, called=False) == [Text("get\n ")]
    assert read(box, ["interpreter\n```python\nprint("], whole=False, called=False) == [
        Call("python"),
        Arguments('{"code": "print('),
    ]


def test_the_call_that_the_prompt_began_goes_on() -> None:
    box = toolbox("get_weather", required=["get_weather"])
    assert read(box, ["city='Paris', n=3)\n```"]) == CALL
    assert read(box, [")\n```"]) == read(box, []) == [Call("get_weather"), Arguments("{}")]
    assert read(box, ["city='Pa"], whole=False, called=False) == [
        Call("get_weather"),
        Arguments("tool_call(city='Pa"),
    ]
    assert read(box, [], whole=False, called=False) == [Call("get_weather")]


def test_a_call_is_told_as_soon_as_it_is_certain() -> None:
    parser = ChatGlm3Parser(toolbox(*TOOLS))
    pieces = ("get", "_weather", "\n", " ```", "python", "\n", "tool", "_call", "(city='Paris', n=3", ")", "\n", "```")
    given = [parser.feed(piece) for piece in pieces]
    assert given == [[], [], [], [CALL[0]], [], [], [], [], [], [CALL[1]], [], []]


def test_text_streams_with_tools_present() -> None:
    parser = ChatGlm3Parser(toolbox(*TOOLS))
    pieces = ("\n", " The", " weather", " is", " fine", ".\n", "So", " good")
    assert [parser.feed(piece) for piece in pieces] == [
        [],
        [Text("The")],
        [Text(" weather")],
        [Text(" is")],
        [Text(" fine")],
        [Text(".")],
        [Text("\n"), Text("So")],
        [Text(" good")],
    ]


def test_code_streams() -> None:
    parser = ChatGlm3Parser(toolbox("python"))
    given = [parser.feed(piece) for piece in ("interpreter\n", "```python\n", 'a = "', '1"\n', "b", "\n```")]
    assert given == [
        [],
        [Call("python"), Arguments('{"code": "')],
        [Arguments('a = \\"')],
        [Arguments('1\\"')],
        [Arguments("\\nb")],
        [Arguments('"}')],
    ]


WORDS = [*TOOLS, "interpreter", "```", "tool_call", "a=", "'''", "a\nget\n```\ntool_call()\n```\n", *"\n `()'\"\\好"]
PIECES = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=3), st.none()), max_size=30)
LITERALS = ["a=", "b=", "'\\ud83d'", "'\\ud83d\\ude00'", "'\\d'", "1e999", "[-1e999]", "{'a': 1}", ",", "True", "'好'"]
CALLS = st.tuples(st.sampled_from(["get", "interpreter"]), st.lists(st.sampled_from(LITERALS), max_size=5)).map(
    lambda call: [call[0], "\n", "```python\n", "tool_call(", *call[1], ")", "\n```"]
)


@settings(max_examples=700, deadline=None)
@given(
    pieces=PIECES | CALLS,
    names=st.sets(st.sampled_from(TOOLS)),
    forced=st.integers(0, 2),
    end=st.sampled_from([None, CALLED, STOPPED]),
    stop=st.sampled_from(["a", "ab", "get\n", "\nget\n`"]),
)
def test_any_answer_is_read_the_same_wherever_it_is_cut(
    pieces: list[str | None], names: set[str], forced: int, end: int | None, stop: str
) -> None:
    functions = sorted(names - {"python"})
    box = toolbox(*sorted(names), required=functions[:forced])
    whole, called = end is not None, end == CALLED
    runs: list[str | None] = []
    for piece in pieces:
        if piece is not None and runs and runs[-1] is not None:
            runs[-1] += piece
        else:
            runs.append(piece)
    letters = [letter for piece in pieces for letter in ([None] if piece is None else piece)]
    deltas = read(box, pieces, whole=whole, called=called)
    assert read(box, runs, whole=whole, called=called) == deltas
    assert read(box, letters, whole=whole, called=called) == deltas
    assert all(delta.text for delta in deltas if isinstance(delta, Text | Arguments))
    kinds = [type(delta) for delta in deltas]
    assert all(kinds[at - 1] is Call for at, kind in enumerate(kinds) if kind is Arguments)
    check_events(lambda: ChatGlm3Parser(box), pieces, end, stop)
    if not names:
        text = "".join("\n" if piece is None else piece for piece in pieces)
        assert "".join(delta.text for delta in deltas if isinstance(delta, Text)).split() == text.split()


@given(name=st.sampled_from(["get", "get_weather"]), size=st.integers(0, 40))
def test_a_required_call_is_never_told_by_another_name(name: str, size: int) -> None:
    box = toolbox("get", "get_weather", required=["get", "get_weather"])
    text = f"{name}\n{BLOCK}"[:size]
    for deltas in (read(box, pieces, whole=False, called=False) for pieces in ([text], text)):
        assert deltas[:1] == ([Call(name)] if size > len(name) else [])


@given(code=st.text(st.sampled_from([*"a\n`\"\\' 好"]), max_size=20))
def test_the_code_of_a_block_is_whole(code: str) -> None:
    if f"\n{code}".find("\n```") < 0:
        told = read(toolbox("python"), [f"interpreter\n ```python\n{code}\n```"])
        assert isinstance(told[1], Arguments)
        assert json.loads(told[1].text) == {"code": code}

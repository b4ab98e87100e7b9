"""GLM-4's dialect: prompts as library and model card write them; answers read the same wherever they are cut."""

import json
import random
from collections.abc import Iterable, Sequence

import chatglm_cpp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dialects_answer import CALL as CALLED
from test_dialects_answer import STOP as STOPPED
from test_dialects_answer import check_events
from test_text import TEXTS

from glmserve.v1 import message_pb2, tool_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest, Prompt
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message, ToolCall
from glmserve.v1.tool_pb2 import FunctionTool, Tool, ToolChoice
from glmserve_server.bundled import BUNDLED
from glmserve_server.dialects.deltas import Arguments, Call, Delta, Text, Thought
from glmserve_server.dialects.glm4 import Glm4Dialect
from glmserve_server.dialects.glm4_answer import Glm4Parser
from glmserve_server.dialects.toolbox import Toolbox
from glmserve_server.engines.chatglm import modelfile

ROLES = {"system": message_pb2.ROLE_SYSTEM, "user": message_pb2.ROLE_USER, "assistant": message_pb2.ROLE_ASSISTANT}
PARAMETERS = {"type": "object", "properties": {"城市": {"type": "string"}}, "required": ["城市"]}
WEATHER = FunctionTool(name="get_weather", description="天气 for a city", parameters_json=json.dumps(PARAMETERS))
TIME = FunctionTool(name="get_time")


@pytest.fixture(scope="module")
def dialect() -> Glm4Dialect:
    model = modelfile.read(BUNDLED["tiny-glm4"])
    return Glm4Dialect(model.tokenizer, model.config.vocab_size)


@pytest.fixture(scope="module")
def library() -> chatglm_cpp.Pipeline:
    return chatglm_cpp.Pipeline(str(BUNDLED["tiny-glm4"]))


def said(role: str, text: str) -> Message:
    return Message(role=ROLES[role], content=[ContentPart(text=text)])


def prompt(dialect: Glm4Dialect, *messages: Message, **fields: object) -> list[int]:
    return dialect.prompt(ChatCompletionRequest(messages=messages, **fields)).ids  # type: ignore[arg-type]


def test_prompts_have_the_ids_of_the_library(dialect: Glm4Dialect, library: chatglm_cpp.Pipeline) -> None:
    for seed in range(50):
        generator = random.Random(seed)
        turns = [(generator.choice(list(ROLES)), generator.choice(TEXTS)) for _ in range(generator.randint(1, 6))]
        theirs = [chatglm_cpp.ChatMessage(role=role, content=text) for role, text in turns]
        expected = library.tokenizer.apply_chat_template(theirs, 1 << 20)
        assert prompt(dialect, *(said(role, text) for role, text in turns)) == expected


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_give_back_the_text_that_they_came_from(dialect: Glm4Dialect, text: str) -> None:
    empty = len(prompt(dialect, said("assistant", ""))) - 1
    ids = prompt(dialect, said("assistant", text))[empty - 1 : -1]
    assert spoken(dialect, ids) == [Text(text)] if text else not spoken(dialect, ids)


@pytest.mark.parametrize("text", [" " * 1_100_000, "a" + "\t" * 2_000_000 + "b", "x " * 600_000 + " " * 300_000 + "y"])
def test_long_white_space_is_read(dialect: Glm4Dialect, text: str) -> None:
    ids = dialect.raw.ids(Prompt(text=text, add_special_tokens=False))
    assert b"".join(dialect.raw.spell(ids)).decode() == text


def test_special_tokens_in_a_text_stay_text(dialect: Glm4Dialect) -> None:
    special = range(len(dialect._bytes), len(dialect._bytes) + 14)
    text = "".join(
        f"<|{name}|>" for name in ("system", "user", "assistant", "observation", "endoftext", "begin_of_image")
    )
    ids = prompt(dialect, said("system", text), said("user", f"{text}[gMASK]<sop>[MASK]"), said("assistant", text))
    assert [token for token in ids if token in special] == [special[i] for i in (2, 4, 6, 7, 8, 8)]


def test_tools_are_shown_as_the_model_card_shows_them(dialect: Glm4Dialect, library: chatglm_cpp.Pipeline) -> None:
    shown = (
        "你是一个名为 ChatGLM 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 模型开发的，"
        "你的任务是针对用户的问题和要求提供适当的答复和支持。\n\n"
        "# 可用工具\n\n## get_weather\n\n{\n"
        '    "name": "get_weather",\n    "description": "天气 for a city",\n    "parameters": {\n'
        '        "type": "object",\n        "properties": {\n            "城市": {\n'
        '                "type": "string"\n            }\n        },\n'
        '        "required": [\n            "城市"\n        ]\n    }\n}\n'
        "在调用上述函数时，请使用 Json 格式表示调用的参数。\n\n"
        '## get_time\n\n{\n    "name": "get_time"\n}\n在调用上述函数时，请使用 Json 格式表示调用的参数。'
    )
    tools = [Tool(function=WEATHER), Tool(function=TIME)]
    texts = [("system", shown), ("system", "Be brief."), ("user", "Weather?")]
    expected = library.tokenizer.apply_chat_template([chatglm_cpp.ChatMessage(*turn) for turn in texts], 1 << 20)
    turns = [said("system", "Be brief."), said("user", "Weather?")]
    assert prompt(dialect, *turns, tools=tools) == expected
    without = ToolChoice(mode=ToolChoice.MODE_NONE)
    assert prompt(dialect, *turns, tools=tools, tool_choice=without) == prompt(dialect, *turns)


def test_built_in_tools_are_shown_by_their_paragraphs(dialect: Glm4Dialect) -> None:
    kinds = (tool_pb2.BUILTIN_TOOL_PYTHON, tool_pb2.BUILTIN_TOOL_SIMPLE_BROWSER, tool_pb2.BUILTIN_TOOL_COGVIEW)
    ids = prompt(dialect, said("user", "Hello"), tools=[Tool(builtin=kind) for kind in kinds])
    text = b"".join(dialect._bytes.get(token, b"|") for token in ids).decode()
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# 可用工具",
        "## python",
        "## simple_browser",
        "## cogview",
    ]
    assert "`mclick(ids: list[int])`" in text


def test_tools_are_shown_in_the_order_in_which_they_are_declared(dialect: Glm4Dialect) -> None:
    tools = [
        Tool(builtin=tool_pb2.BUILTIN_TOOL_COGVIEW),
        Tool(function=TIME),
        Tool(builtin=tool_pb2.BUILTIN_TOOL_PYTHON),
    ]
    text = b"".join(dialect._bytes.get(token, b"|") for token in prompt(dialect, said("user", "Hello"), tools=tools))
    heads = [line for line in text.decode().splitlines() if line.startswith("## ")]
    assert heads == ["## cogview", "## get_time", "## python"]


@pytest.mark.parametrize(
    ("tools", "written"),
    [
        ([], "1 + 1"),
        ([Tool(builtin=tool_pb2.BUILTIN_TOOL_PYTHON)], "1 + 1"),
        ([Tool(function=FunctionTool(name="python"))], '{"code": "1 + 1"}'),
    ],
)
def test_earlier_calls_of_built_in_tools_are_theirs_whatever_may_be_called_now(
    dialect: Glm4Dialect, tools: list[Tool], written: str
) -> None:
    call = ToolCall(id="a", name="python", arguments_json='{"code": "1 + 1"}')
    turns = [said("user", "Hi"), Message(role=message_pb2.ROLE_ASSISTANT, tool_calls=[call])]
    ids = prompt(dialect, *turns, tools=tools, tool_choice=ToolChoice(mode=ToolChoice.MODE_NONE))
    text = b"".join(dialect._bytes.get(token, b"|") for token in ids).decode()
    assert text.endswith(f"|python\n{written}|")


def test_calls_and_results_are_turns_of_their_own(dialect: Glm4Dialect) -> None:
    calls = [
        ToolCall(id="a", name="get_weather", arguments_json='{"city": "Paris"}'),
        ToolCall(id="b", name="get_time"),
    ]
    results = [
        Message(role=message_pb2.ROLE_TOOL, tool_call_id=name, content=[ContentPart(text=name)]) for name in "ab"
    ]
    asked = Message(role=message_pb2.ROLE_ASSISTANT, content=[ContentPart(text="Let me look.")], tool_calls=calls)
    text = "".join(dialect._bytes.get(token, b"|").decode() for token in prompt(dialect, asked, *results))
    assert text == '|||\nLet me look.|get_weather\n{"city": "Paris"}|get_time\n|\na|\nb|'


def test_calls_of_built_in_tools_go_back_as_the_model_wrote_them(dialect: Glm4Dialect) -> None:
    calls = [
        ToolCall(id="a", name="python", arguments_json=json.dumps({"code": 'print("你好")'})),
        ToolCall(id="b", name="simple_browser", arguments_json='{"query": "GLM-4 \\"9B\\"", "recency_days": 3}'),
        ToolCall(id="c", name="simple_browser", arguments_json='{"ids": [1, 2]}'),
        ToolCall(id="d", name="cogview", arguments_json="a cat"),
    ]
    kinds = (tool_pb2.BUILTIN_TOOL_PYTHON, tool_pb2.BUILTIN_TOOL_SIMPLE_BROWSER, tool_pb2.BUILTIN_TOOL_COGVIEW)
    ids = prompt(
        dialect,
        Message(role=message_pb2.ROLE_ASSISTANT, tool_calls=calls),
        tools=[Tool(builtin=kind) for kind in kinds],
    )
    text = b"".join(dialect._bytes.get(token, b"|") for token in ids).decode()
    assert text.endswith(
        '|python\nprint("你好")|simple_browser\nsearch("GLM-4 \\"9B\\"", recency_days=3)'
        "|simple_browser\nmclick([1, 2])|cogview\na cat|"
    )


def test_calls_of_built_in_tools_with_half_a_character_go_back_as_they_came(dialect: Glm4Dialect) -> None:
    written = [
        ("python", '{"code": "\\ud800"}'),
        ("simple_browser", '{"query": "\\ude00"}'),
        ("simple_browser", '{"query": "a", "recency_days": {"\\ud800": 1}}'),
        ("cogview", '{"prompt": "\\ud83d\\ude00"}'),
    ]
    calls = [ToolCall(id="a", name=name, arguments_json=arguments) for name, arguments in written]
    kinds = (tool_pb2.BUILTIN_TOOL_PYTHON, tool_pb2.BUILTIN_TOOL_SIMPLE_BROWSER, tool_pb2.BUILTIN_TOOL_COGVIEW)
    asked = Message(role=message_pb2.ROLE_ASSISTANT, tool_calls=calls)
    ids = prompt(dialect, asked, tools=[Tool(builtin=kind) for kind in kinds])
    text = b"".join(dialect._bytes.get(token, b"|") for token in ids).decode()
    shown = [*(f"{name}\n{arguments}" for name, arguments in written[:3]), "cogview\n😀"]
    assert text.endswith(f"|{'|'.join(shown)}|")


def test_a_function_that_must_be_called_begins_the_answer(dialect: Glm4Dialect) -> None:
    tools = [Tool(function=WEATHER), Tool(function=TIME)]
    named = ChatCompletionRequest(
        messages=[said("user", "x")], tools=tools, tool_choice=ToolChoice(function_name="get_time")
    )
    made = dialect.prompt(named)
    assert b"".join(dialect._bytes.get(token, b"|") for token in made.ids).endswith(b"|get_time\n")
    assert made.openings == ()
    required = ChatCompletionRequest(
        messages=[said("user", "x")], tools=tools, tool_choice=ToolChoice(mode=ToolChoice.MODE_REQUIRED)
    )
    made = dialect.prompt(required)
    assert [b"".join(dialect._bytes[token] for token in opening) for opening in made.openings] == [
        b"get_weather\n",
        b"get_time\n",
    ]


def test_earlier_thoughts_are_not_shown_again(dialect: Glm4Dialect) -> None:
    thought = said("assistant", "<think>\nhm\n</think>\n\nYes.")
    assert prompt(dialect, thought) == prompt(dialect, said("assistant", "Yes."))
    assert prompt(dialect, said("user", "<think>a</think>b")) != prompt(dialect, said("user", "b"))


def spoken(dialect: Glm4Dialect, ids: Iterable[int]) -> list[Delta]:
    """What a plain answer of these tokens says."""
    reader = dialect.reader(ChatCompletionRequest())
    return joined([delta for token in ids for delta in reader.feed(token)])


def joined(deltas: Sequence[Delta]) -> list[Delta]:
    """Neighbours of one kind put together."""
    whole: list[Delta] = []
    for delta in deltas:
        last = whole[-1] if whole else None
        if isinstance(delta, Call) or type(last) is not type(delta):
            whole.append(delta)
        else:
            whole[-1] = type(delta)(last.text + delta.text)
    return whole


def toolbox(*names: str, required: Sequence[str] = ()) -> Toolbox:
    builtins = tuple(name for name in names if name in ("python", "simple_browser", "cogview"))
    functions = tuple(FunctionTool(name=name) for name in names if name not in builtins)
    return Toolbox((*functions, *builtins), frozenset(function.name for function in functions), tuple(required))


def read(
    box: Toolbox, pieces: Iterable[str | None], *, whole: bool = True, called: bool = True, thinking: bool = False
) -> list[Delta]:
    """What the parser makes of an answer in pieces; None begins another turn."""
    parser = Glm4Parser(box, thinking=thinking)
    deltas: list[Delta] = []
    for piece in pieces:
        deltas += parser.turn() if piece is None else parser.feed(piece)
    return joined([*deltas, *parser.end(whole=whole, called=called)])


CALL = [Call("get_weather"), Arguments('{"city": "Paris"}')]
CASES = [
    ("a call", ['get_weather\n{"city": "Paris"}'], CALL),
    ("spaces around", ['get_weather \n\n {"city": "Paris"}\n'], CALL),
    ("no arguments", ["get_weather\n{}"], [Call("get_weather"), Arguments("{}")]),
    ("nothing after the name", ["get_weather"], [Call("get_weather"), Arguments("{}")]),
    ("a name that another begins with", ["get\n{}"], [Call("get"), Arguments("{}")]),
    ("a name never declared", ['get_rain\n{"city": "Paris"}'], [Text('get_rain\n{"city": "Paris"}')]),
    ("a name in a sentence", ["\nI use get_weather\n{}"], [Text("I use get_weather\n{}")]),
    ("a name as a headline", ["\nget_weather\nis a function."], [Text("get_weather\nis a function.")]),
    ("text before a call", ['\nLet me look.\nget_weather\n{"city": "Paris"}'], [Text("Let me look."), *CALL]),
    (
        "text in a turn before",
        ["\nLet me look.", None, 'get_weather\n{"city": "Paris"}'],
        [Text("Let me look."), *CALL],
    ),
    ("two calls", ['get_weather\n{"city": "Paris"}', None, "get\n{}"], [*CALL, Call("get"), Arguments("{}")]),
    ("two calls in one turn", ['get_weather\n{"city": "Paris"}\nget\n{}'], [*CALL, Call("get"), Arguments("{}")]),
    ("text after a call", ['get_weather\n{"city": "Paris"}\n\nDone.'], [*CALL, Text("Done.")]),
    ("braces in strings", ['get\n{"a": "}{\\"}"} x'], [Call("get"), Arguments('{"a": "}{\\"}"}'), Text("x")]),
    ("a call among thoughts", ["<think>get\n{}</think>\n\nYes."], [Thought("get\n{}"), Text("Yes.")]),
    ("a call after thoughts", ['\n<think>hm</think>\nget_weather\n{"city": "Paris"}'], [Thought("hm"), *CALL]),
    ("code", ['python\nprint("1")\n'], [Call("python"), Arguments('{"code": "print(\\"1\\")\\n"}')]),
    ("a picture", ["cogview\na cat"], [Call("cogview"), Arguments('{"prompt": "a cat"}')]),
    (
        "a search",
        ['simple_browser\nsearch("GLM", recency_days=3)'],
        [Call("simple_browser"), Arguments('{"query": "GLM", "recency_days": 3}')],
    ),
    ("pages", ["simple_browser\nmclick([1, 2])"], [Call("simple_browser"), Arguments('{"ids": [1, 2]}')]),
    ("no literal", ["simple_browser\nsearch(exit())"], [Call("simple_browser"), Arguments("search(exit())")]),
    (
        "a search for a character in two halves",
        ['simple_browser\nsearch("\\ud83d\\ude00")'],
        [Call("simple_browser"), Arguments('{"query": "😀"}')],
    ),
    (
        "a search for half a character",
        ['simple_browser\nsearch("\\ud83d")'],
        [Call("simple_browser"), Arguments('search("\\ud83d")')],
    ),
    (
        "a search with an unknown escape",
        ['simple_browser\nsearch("\\d")'],
        [Call("simple_browser"), Arguments('{"query": "\\\\d"}')],
    ),
    (
        "a page beyond all numbers",
        ["simple_browser\nmclick([1e999])"],
        [Call("simple_browser"), Arguments("mclick([1e999])")],
    ),
    (
        "a page that is no number",
        ["simple_browser\nmclick({1: -1e999})"],
        [Call("simple_browser"), Arguments("mclick({1: -1e999})")],
    ),
    (
        "a call of nothing known",
        ["simple_browser\nscroll(3)"],
        [Call("simple_browser"), Arguments("scroll(3)")],
    ),
    (
        "a call of something inside something",
        ["simple_browser\nbrowser.search('a')"],
        [Call("simple_browser"), Arguments("browser.search('a')")],
    ),
    ("a built-in name in a later line", ["\nUse\npython\nx"], [Text("Use\npython\nx")]),
    ("plain text", ["\nHello\n\nworld\n"], [Text("Hello\n\nworld\n")]),
    ("nothing", [], []),
]
TOOLS = ("get_weather", "get", "python", "simple_browser", "cogview")


@pytest.mark.parametrize(("pieces", "deltas"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_answers_are_read(pieces: list[str | None], deltas: list[Delta]) -> None:
    assert read(toolbox(*TOOLS), pieces) == deltas
    letters = [letter for piece in pieces for letter in ([None] if piece is None else piece)]
    assert read(toolbox(*TOOLS), letters) == deltas


CUTS = [
    ("in the name", "get_wea", [Text("get_wea")]),
    ("after the name", "get_weather\n", [Text("get_weather\n")]),
    ("in the arguments", 'get_weather\n{"city": "Par', [Call("get_weather"), Arguments('{"city": "Par')]),
    ("in code", "python\nprint(", [Call("python"), Arguments('{"code": "print(')]),
    ("in a thought", "<think>hm", [Thought("hm")]),
    ("in the end of a thought", "<think>hm</thi", [Thought("hm</thi")]),
    ("in the begin of a thought", "<thi", [Text("<thi")]),
]


@pytest.mark.parametrize(("text", "deltas"), [case[1:] for case in CUTS], ids=[case[0] for case in CUTS])
def test_an_answer_that_is_cut_keeps_what_there_is(text: str, deltas: list[Delta]) -> None:
    assert read(toolbox(*TOOLS), [text], whole=False, called=False) == deltas


@pytest.mark.parametrize(
    ("text", "deltas"),
    [
        ("", []),
        ("get", []),
        ("get_wea", []),
        ("get_weather", []),
        ("get\n", [Call("get")]),
        ("get_weather\n", [Call("get_weather")]),
    ],
)
def test_a_required_call_that_is_cut_in_its_name_is_not_told(text: str, deltas: list[Delta]) -> None:
    box = toolbox("get", "get_weather", required=["get", "get_weather"])
    assert read(box, [text], whole=False, called=False) == deltas
    assert read(box, ["get"], whole=True, called=False) == [Call("get"), Arguments("{}")]


FORCED = [
    ("an object", '{"city": "Paris"}', CALL),
    ("no object", "Paris", [Call("get_weather"), Arguments("Paris")]),
    ("nothing", "", [Call("get_weather"), Arguments("{}")]),
]


@pytest.mark.parametrize(("text", "deltas"), [case[1:] for case in FORCED], ids=[case[0] for case in FORCED])
def test_a_call_that_the_prompt_begins_is_a_call_whatever_follows(text: str, deltas: list[Delta]) -> None:
    assert read(toolbox(*TOOLS, required=["get_weather"]), [text]) == deltas


def test_text_beside_tools_is_given_token_by_token() -> None:
    parser = Glm4Parser(toolbox("get_weather"))
    given = [parser.feed(token) for token in ("\n", "It", " is", " sunny", ".", "\n", "get", "s", " warm")]
    assert given == [
        [],
        [Text("It")],
        [Text(" is")],
        [Text(" sunny")],
        [Text(".")],
        [],
        [],
        [Text("\n"), Text("gets")],
        [Text(" warm")],
    ]


def test_a_call_is_given_as_it_comes() -> None:
    parser = Glm4Parser(toolbox("get_weather"))
    given = [parser.feed(token) for token in ("get", "_weather", "\n", '{"city', '": "Par', 'is"}')]
    assert given == [
        [],
        [],
        [],
        [Call("get_weather"), Arguments('{"city')],
        [Arguments('": "Par')],
        [Arguments('is"}')],
    ]


WORDS = [
    "get_weather",
    "get",
    "python",
    "simple_browser",
    "\n",
    " ",
    "{",
    "}",
    '"',
    "\\",
    "<think>",
    "</think>",
    "<th",
    "a",
    "好",
    "search(",
    "a\nget\n{}\n",
]
PIECES = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=3), st.none()), max_size=30)
LITERALS = [
    '"\\ud83d"',
    '"\\ud83d\\ude00"',
    '"\\d"',
    "1e999",
    "[-1e999]",
    '{"a": 1}',
    "recency_days=",
    ",",
    "True",
    '"好"',
]
BROWSED = st.tuples(
    st.sampled_from(["search", "mclick", "open_url", "a"]), st.lists(st.sampled_from(LITERALS), max_size=5)
)
SEARCHES = BROWSED.map(lambda call: ["simple_browser\n", call[0], "(", *call[1], ")"])


@settings(max_examples=500, deadline=None)
@given(
    pieces=PIECES | SEARCHES,
    names=st.sets(st.sampled_from(TOOLS)),
    forced=st.integers(0, 2),
    thinking=st.booleans(),
    end=st.sampled_from([None, CALLED, STOPPED]),
    stop=st.sampled_from(["a", "ab", "get\n", "\nget_weather\n{"]),
)
def test_any_answer_is_read_the_same_wherever_it_is_cut(
    pieces: list[str | None], names: set[str], forced: int, thinking: bool, end: int | None, stop: str
) -> None:
    functions = sorted(names & {"get_weather", "get"})
    box = toolbox(*sorted(names), required=functions[:forced])
    options = {"whole": end is not None, "called": end == CALLED, "thinking": thinking and not box.required}
    runs: list[str | None] = []
    for piece in pieces:
        if piece is not None and runs and runs[-1] is not None:
            runs[-1] += piece
        else:
            runs.append(piece)
    letters = [letter for piece in pieces for letter in ([None] if piece is None else piece)]
    deltas = read(box, pieces, **options)
    assert read(box, runs, **options) == deltas
    assert read(box, letters, **options) == deltas
    assert all(delta.text for delta in deltas if isinstance(delta, Text | Thought))
    kinds = [type(delta) for delta in deltas]
    assert all(kinds[at - 1] is Call for at, kind in enumerate(kinds) if kind is Arguments)
    check_events(lambda: Glm4Parser(box, thinking=options["thinking"]), pieces, end, stop)


@given(name=st.sampled_from(["get", "get_weather"]), rest=st.sampled_from(["{}", "{", "x"]), size=st.integers(0, 20))
def test_a_required_call_is_never_told_by_another_name(name: str, rest: str, size: int) -> None:
    box = toolbox("get", "get_weather", required=["get", "get_weather"])
    text = f"{name}\n{rest}"[:size]
    for deltas in (read(box, pieces, whole=False, called=False) for pieces in ([text], text)):
        assert deltas[:1] == ([Call(name)] if size > len(name) else [])


@settings(max_examples=300, deadline=None)
@given(tokens=st.lists(st.integers(-5, 5000), max_size=60), tools=st.booleans())
def test_any_tokens_are_read(dialect: Glm4Dialect, tokens: list[int], tools: bool) -> None:
    reader = dialect.reader(ChatCompletionRequest(tools=[Tool(function=WEATHER)] if tools else []))
    for token in tokens:
        reader.feed(token)
    reader.end(None)

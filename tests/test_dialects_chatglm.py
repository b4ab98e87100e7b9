"""The dialects of ChatGLM3, ChatGLM2 and ChatGLM-6B: prompts as the library writes them, answers as it reads them."""

import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import chatglm_cpp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_text import TEXTS

from glmserve.v1 import message_pb2, tool_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message, ToolCall
from glmserve.v1.tool_pb2 import FunctionTool, Tool, ToolChoice
from glmserve_server.dialects.chatglm import ChatGlmDialect
from glmserve_server.dialects.chatglm2 import ChatGlm2Dialect
from glmserve_server.dialects.chatglm3 import ChatGlm3Dialect
from glmserve_server.dialects.deltas import Arguments, Call, Text
from glmserve_server.dialects.pieces import PieceBytes, Pieces
from glmserve_server.engines.chatglm import modelfile
from glmserve_server.engines.chatglm.architecture import Config
from glmserve_server.errors import InvalidArgument

MODELS = Path(__file__).parent / "models"
Known = ChatGlm3Dialect | ChatGlm2Dialect | ChatGlmDialect
DIALECTS: dict[str, Callable[[bytes, Config], Known]] = {
    "tiny-chatglm3": ChatGlm3Dialect,
    "tiny-chatglm2": ChatGlm2Dialect,
    "tiny-chatglm": ChatGlmDialect,
}
ROLES = {
    "system": message_pb2.ROLE_SYSTEM,
    "user": message_pb2.ROLE_USER,
    "assistant": message_pb2.ROLE_ASSISTANT,
    "observation": message_pb2.ROLE_TOOL,
}
PARAMETERS = {"type": "object", "properties": {"城市": {"type": "string"}}}
WEATHER = FunctionTool(name="get_weather", description="天气 for a city", parameters_json=json.dumps(PARAMETERS))
TIME = FunctionTool(name="get_time")
TOOLS = [Tool(function=WEATHER), Tool(function=TIME)]
SHOWN = (
    "Answer the following questions as best as you can. You have access to the following tools:\n[\n    {\n"
    '        "name": "get_weather",\n        "description": "天气 for a city",\n        "parameters": {\n'
    '            "type": "object",\n            "properties": {\n                "城市": {\n'
    '                    "type": "string"\n                }\n            }\n        }\n    },\n'
    '    {\n        "name": "get_time"\n    }\n]'
)
SPECIAL = (
    "<|system|> <|user|> <|assistant|> <|observation|> [gMASK] [MASK] sop eop <sop> <eop> <s> </s> <unk> <0x0A> "
    "<n> <<n>> <|tab|> <|blank_2|> <|blank_80|> <|blank_81|> <|blank_<n>2|>"
)
WORDS = [*TEXTS, *SPECIAL.split(), "  ", " " * 90, "\n", "\t", "a", "你好", ",", "👋", "\x00", "▁", "<", "n>"]


@pytest.fixture(params=DIALECTS, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def built(name: str) -> Known:
    model = modelfile.read(MODELS / f"{name}.bin")
    return DIALECTS[name](model.tokenizer, model.config)


@pytest.fixture(scope="module")
def dialect(name: str) -> Known:
    return built(name)


@pytest.fixture(scope="module")
def library(name: str) -> chatglm_cpp.Pipeline:
    return chatglm_cpp.Pipeline(str(MODELS / f"{name}.bin"))


@pytest.fixture(scope="module")
def chatglm3() -> ChatGlm3Dialect:
    model = modelfile.read(MODELS / "tiny-chatglm3.bin")
    return ChatGlm3Dialect(model.tokenizer, model.config)


def said(role: str, text: str) -> Message:
    return Message(role=ROLES[role], content=[ContentPart(text=text)])


def request(*messages: Message, **fields: object) -> ChatCompletionRequest:
    return ChatCompletionRequest(messages=messages, **fields)  # type: ignore[arg-type]


def meant(dialect: Known, number: int) -> bytes:
    """The text that an id stands for; nothing for special tokens."""
    return dialect._pieces.data[number] if number < dialect._pieces.size else b""


def shown(dialect: Known, ids: Sequence[int]) -> str:
    """The text of some ids, with the spaces before each part of it; a bar for each special token."""
    return b"".join(meant(dialect, number) or b"|" for number in ids).decode()


def turns_of(name: str, generator: random.Random, words: list[str]) -> list[tuple[str, str]]:
    """A conversation that the family can express."""

    def text() -> str:
        return "".join(generator.choices(words, k=generator.randint(0, 6)))

    if name == "tiny-chatglm3":
        return [(generator.choice(list(ROLES)), text()) for _ in range(generator.randint(1, 6))]
    return [(("user", "assistant")[index % 2], text()) for index in range(generator.choice([1, 3, 5]))]


def test_prompts_have_the_ids_of_the_library(name: str, dialect: Known, library: chatglm_cpp.Pipeline) -> None:
    # The library takes the names of ChatGLM-6B's white space for white space.
    words = [word for word in WORDS if name != "tiny-chatglm" or word[1:3] not in ("n>", "<n", "|t", "|b")]
    for seed in range(300):
        turns = turns_of(name, random.Random(seed), words)
        theirs = [chatglm_cpp.ChatMessage(role=role, content=text) for role, text in turns]
        expected = library.tokenizer.apply_chat_template(theirs, 1 << 20)
        assert dialect.prompt(request(*(said(role, text) for role, text in turns))).ids == expected


def test_ids_are_never_beyond_the_vocabulary(name: str, dialect: Known) -> None:
    rows = modelfile.read(MODELS / f"{name}.bin").config.vocab_size
    for seed in range(300):
        generator = random.Random(seed)
        turns = turns_of(name, generator, [*WORDS, *map(chr, generator.choices(range(0xD800), k=20))])
        prompt = dialect.prompt(request(*(said(role, text) for role, text in turns)))
        assert 0 <= min(prompt.ids) <= max(prompt.ids) < rows


@settings(max_examples=200, deadline=None)
@given(
    arguments=st.one_of(
        st.text(max_size=30), st.sampled_from(['{"a": "\\ud800"}', '{"code": "\\ud83d"}', "[]", "{", "NaN"])
    ),
    name=st.text(min_size=1, max_size=8) | st.sampled_from(["python", "get_time"]),
    schema=st.sampled_from(["{}", '{"a": "\\ud800"}', '{"a": "\\ud83d\\ude00"}', '{"a": [1.5, null]}']),
    code=st.booleans(),
)
def test_calls_and_tools_never_make_ids_beyond_the_vocabulary(
    chatglm3: ChatGlm3Dialect, arguments: str, name: str, schema: str, code: bool
) -> None:
    asked = Message(role=message_pb2.ROLE_ASSISTANT, tool_calls=[ToolCall(id="a", name=name, arguments_json=arguments)])
    tools = [Tool(function=FunctionTool(name="get_time", parameters_json=schema))]
    tools += [Tool(builtin=tool_pb2.BUILTIN_TOOL_PYTHON)] if code else []
    ids = chatglm3.prompt(request(said("user", "x"), asked, tools=tools)).ids
    assert 0 <= min(ids) <= max(ids) < chatglm3._pieces.size + 9


def test_content_parts_are_one_text(dialect: Known) -> None:
    parts = Message(role=message_pb2.ROLE_USER, content=[ContentPart(text="Hel"), ContentPart(text="lo")])
    assert dialect.prompt(request(parts)) == dialect.prompt(request(said("user", "Hello")))


@pytest.mark.parametrize("text", [*TEXTS[1:], SPECIAL, "<n>", "a<n>", "<<n>", "<n><|tab|>\n<n>", "  <n>  "])
def test_names_of_special_tokens_stay_text(dialect: Known, text: str) -> None:
    ids = dialect.prompt(request(said("user", text))).ids
    plain = dialect.prompt(request(said("user", "x"))).ids
    assert shown(dialect, ids) == shown(dialect, plain).replace("x", text)
    assert [number for number in ids if not meant(dialect, number)] == [
        number for number in plain if not meant(dialect, number)
    ]


def test_the_stop_tokens_are_those_of_the_library(dialect: Known, library: chatglm_cpp.Pipeline) -> None:
    config = library.model.config
    assert set(dialect.stop_ids) == {config.eos_token_id, *config.extra_eos_token_ids}


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_no_prompt_is_shorter_than_its_text_allows(name: str, dialect: Known, seed: int) -> None:
    turns = turns_of(name, random.Random(seed), WORDS)
    ids = dialect.prompt(request(*(said(role, text) for role, text in turns))).ids
    assert sum(len(text.encode()) for _, text in turns) <= dialect.longest_token * len(ids)


@pytest.mark.parametrize("text", TEXTS)
def test_answers_are_the_text_that_their_tokens_came_from(name: str, dialect: Known, text: str) -> None:
    if name == "tiny-chatglm3":
        ids = [*dialect._pieces.encode("\n"), *dialect._pieces.encode(text)]
    else:
        ids = dialect._encode(text) if isinstance(dialect, ChatGlmDialect) else dialect._pieces.encode(text)
    expected = text if name == "tiny-chatglm3" else text.replace("天气怎么样?", "天气怎么样？")
    assert answered(dialect, ids) == expected


def answered(dialect: Known, ids: Sequence[int], end: int | None = 2) -> str:
    reader = dialect.reader(ChatCompletionRequest())
    deltas = [delta for number in ids for delta in reader.feed(number)] + list(reader.end(end))
    assert all(isinstance(delta, Text) and delta.text for delta in deltas)
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 1 << 32), size=st.integers(0, 12))
def test_any_answer_is_decoded_as_the_library_decodes_it(
    name: str, dialect: Known, library: chatglm_cpp.Pipeline, seed: int, size: int
) -> None:
    generator = random.Random(seed)
    marks = dialect._pieces.encode(",!:;?你好a")
    ids = [generator.choice([generator.randrange(dialect._pieces.size), *marks]) for _ in range(size)]
    try:
        expected = library.tokenizer.decode(ids)
    except UnicodeDecodeError:
        return
    if "\ufffd" in expected:  # of broken characters the library makes its own number
        return
    if name == "tiny-chatglm3":  # the library gives metadata and content; the reader, the content
        line, newline, rest = expected.partition("\n")
        expected = rest.removeprefix(" ") if newline and not line.strip() else expected
        expected = expected if expected.strip() or newline else line
    assert answered(dialect, ids) == expected


@settings(max_examples=200, deadline=None)
@given(tokens=st.lists(st.integers(-5, 2100), max_size=60), tools=st.booleans(), end=st.none() | st.integers(0, 2000))
def test_any_tokens_are_read(dialect: Known, tokens: list[int], tools: bool, end: int | None) -> None:
    reader = dialect.reader(ChatCompletionRequest(tools=TOOLS if tools else []))
    assert not reader.thinking
    for token in tokens:
        reader.feed(token)
    reader.end(end)


@pytest.mark.parametrize("name", ["tiny-chatglm2", "tiny-chatglm"])
@pytest.mark.parametrize(
    ("roles", "field", "message"),
    [
        (["system", "user"], "messages[0].role", "must be user or assistant, not system, .*: say it in a user message"),
        (["user", "observation"], "messages[1].role", "not tool, .*: say the result in a user message"),
        (["user", "user"], "messages[1].role", "must be assistant, not user: .*take turns"),
        (["assistant", "user"], "messages[0].role", "must be user, not assistant"),
        (["user", "assistant", "assistant", "user"], "messages[2].role", "must be user, not assistant"),
        (["user", "assistant"], "messages[1].role", "must be user: .* answer the last message"),
    ],
)
def test_what_rounds_cannot_express_is_refused(name: str, roles: list[str], field: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as refused:
        built(name).prompt(request(*(said(role, "x") for role in roles)))
    assert refused.value.field == field


@pytest.mark.parametrize("name", ["tiny-chatglm2", "tiny-chatglm"])
def test_earlier_calls_are_refused_where_there_are_no_tools(name: str) -> None:
    call = Message(role=message_pb2.ROLE_ASSISTANT, tool_calls=[ToolCall(id="a", name="get_time")])
    with pytest.raises(InvalidArgument, match="know no tools") as refused:
        built(name).prompt(request(said("user", "x"), call, said("user", "y")))
    assert refused.value.field == "messages[1].tool_calls"


def test_a_developer_is_the_system(chatglm3: ChatGlm3Dialect) -> None:
    developer = Message(role=message_pb2.ROLE_DEVELOPER, content=[ContentPart(text="Be brief.")])
    assert chatglm3.prompt(request(developer)) == chatglm3.prompt(request(said("system", "Be brief.")))


def test_tools_are_part_of_the_first_system_turn(chatglm3: ChatGlm3Dialect) -> None:
    question = said("user", "Weather?")
    alone = chatglm3.prompt(request(said("system", SHOWN), question))
    assert chatglm3.prompt(request(question, tools=TOOLS)) == alone
    assert chatglm3.prompt(request(said("system", ""), question, tools=TOOLS)) == alone
    own = chatglm3.prompt(request(said("system", f"Be brief.\n{SHOWN}"), question))
    assert chatglm3.prompt(request(said("system", "Be brief."), question, tools=TOOLS)) == own
    sentence = SHOWN.partition("\n")[0]  # a caller who knows the family says it himself
    assert chatglm3.prompt(request(said("system", sentence), question, tools=TOOLS)) == alone
    none = ToolChoice(mode=ToolChoice.MODE_NONE)
    assert chatglm3.prompt(request(question, tools=TOOLS, tool_choice=none)) == chatglm3.prompt(request(question))


def test_the_interpreter_is_a_system_prompt(chatglm3: ChatGlm3Dialect) -> None:
    python = Tool(builtin=tool_pb2.BUILTIN_TOOL_PYTHON)
    text = shown(chatglm3, chatglm3.prompt(request(said("user", "1+1?"), tools=[python])).ids)
    assert "你是一位智能AI助手，你叫ChatGLM，" in text
    assert "[\n" not in text
    both = shown(chatglm3, chatglm3.prompt(request(said("user", "1+1?"), tools=[*TOOLS, python])).ids)
    assert f"默认存储路径是/mnt/data/。\n{SHOWN}|" in both


@pytest.mark.parametrize("kind", [tool_pb2.BUILTIN_TOOL_COGVIEW, tool_pb2.BUILTIN_TOOL_SIMPLE_BROWSER])
def test_other_built_in_tools_are_refused(chatglm3: ChatGlm3Dialect, kind: tool_pb2.BuiltinTool.ValueType) -> None:
    with pytest.raises(InvalidArgument, match="must be python for ChatGLM3") as refused:
        chatglm3.prompt(request(said("user", "x"), tools=[*TOOLS, Tool(builtin=kind)]))
    assert refused.value.field == "tools[2].builtin"


def test_a_function_called_as_the_interpreter_is_refused_beside_it(chatglm3: ChatGlm3Dialect) -> None:
    function = Tool(function=FunctionTool(name="interpreter"))
    tools = [*TOOLS, function, Tool(builtin=tool_pb2.BUILTIN_TOOL_PYTHON)]
    with pytest.raises(InvalidArgument, match=r"must not be interpreter .* beside the built-in tool python") as refused:
        chatglm3.prompt(request(said("user", "x"), tools=tools))
    assert refused.value.field == "tools[2].function.name"
    assert chatglm3.prompt(request(said("user", "x"), tools=[function])).ids


def test_calls_and_results_are_turns_of_their_own(chatglm3: ChatGlm3Dialect) -> None:
    calls = [
        ToolCall(id="a", name="get_weather", arguments_json='{"城市": "巴黎", "n": 3}'),
        ToolCall(id="b", name="get_time"),
        ToolCall(id="c", name="get_time", arguments_json="later"),
    ]
    asked = Message(role=message_pb2.ROLE_ASSISTANT, content=[ContentPart(text="Let me look.")], tool_calls=calls)
    result = Message(role=message_pb2.ROLE_TOOL, tool_call_id="a", content=[ContentPart(text="Sunny.")])
    assert shown(chatglm3, chatglm3.prompt(request(asked, result)).ids) == (
        "||| \n Let me look.| get_weather\n ```python\ntool_call(城市='巴黎', n=3)\n```"
        "| get_time\n ```python\ntool_call()\n```| get_time\n ```python\nlater\n```| \n Sunny.|"
    )


def test_earlier_code_goes_back_as_the_model_wrote_it(chatglm3: ChatGlm3Dialect) -> None:
    codes = ['{"code": "print(1)"}', "print(2)", '{"code": 3}', '{"code": "\\ud800"}']
    calls = [ToolCall(id="a", name="python", arguments_json=code) for code in codes]
    asked = Message(role=message_pb2.ROLE_ASSISTANT, tool_calls=calls)
    python = Tool(builtin=tool_pb2.BUILTIN_TOOL_PYTHON)
    blocks = "".join(
        f"| interpreter\n ```python\n{code}\n```" for code in ("print(1)", "print(2)", '{"code": 3}', codes[3])
    )
    assert shown(chatglm3, chatglm3.prompt(request(asked, tools=[python])).ids).endswith(f"{blocks}|")


def test_an_answer_that_is_shown_again_has_the_tokens_it_had(chatglm3: ChatGlm3Dialect) -> None:
    """So that a worker's cache holds the whole conversation."""
    asked = Message(
        role=message_pb2.ROLE_ASSISTANT,
        tool_calls=[ToolCall(id="a", name="get_weather", arguments_json='{"city": "Paris"}')],
    )
    before = chatglm3.prompt(request(said("user", "x"), tools=TOOLS)).ids
    after = chatglm3.prompt(request(said("user", "x"), asked, tools=TOOLS)).ids
    assert after[: len(before)] == before
    reader = chatglm3.reader(request(tools=TOOLS))
    deltas = [delta for number in after[len(before) : -1] for delta in reader.feed(number)]
    deltas += reader.end(chatglm3.stop_ids[2])
    assert deltas == [Call("get_weather"), Arguments('{"city": "Paris"}')]


def test_a_function_that_must_be_called_begins_the_answer(chatglm3: ChatGlm3Dialect) -> None:
    named = chatglm3.prompt(request(said("user", "x"), tools=TOOLS, tool_choice=ToolChoice(function_name="get_time")))
    assert shown(chatglm3, named.ids).endswith("| get_time\n ```python\ntool_call(")
    assert named.openings == ()
    must = ToolChoice(mode=ToolChoice.MODE_REQUIRED)
    required = chatglm3.prompt(request(said("user", "x"), tools=TOOLS, tool_choice=must))
    assert [shown(chatglm3, opening) for opening in required.openings] == [
        " get_weather\n ```python\ntool_call(",
        " get_time\n ```python\ntool_call(",
    ]


@pytest.mark.parametrize(("name", "fault"), [("tiny-chatglm3", 1893), ("tiny-chatglm2", 1885), ("tiny-chatglm", 1970)])
def test_a_vocabulary_must_fit_the_rows(name: str, fault: int) -> None:
    model = modelfile.read(MODELS / f"{name}.bin")
    config = dataclasses.replace(model.config, vocab_size=fault)
    with pytest.raises(ValueError, match=f"do not fit into the model's {fault} rows"):
        DIALECTS[name](model.tokenizer, config)


def test_chatglm_needs_its_control_pieces() -> None:
    model = modelfile.read(MODELS / "tiny-chatglm2.bin")
    with pytest.raises(ValueError, match=r"\[gMASK\] is not one of its control pieces"):
        ChatGlmDialect(model.tokenizer, model.config)


@pytest.mark.parametrize("letter", ["a", " ", "好", "<n>", "\n", "▁", "👋"])
def test_hostile_text_is_encoded_in_linear_time(dialect: Known, letter: str) -> None:
    text = letter * (1_000_000 // len(letter.encode()))
    assert dialect.prompt(request(said("user", text))).ids


def test_pieces_are_decoded_apart_for_each_answer() -> None:
    pieces = Pieces(modelfile.read(MODELS / "tiny-chatglm2.bin").tokenizer)
    ids = pieces.encode("a b")
    for _ in range(2):
        decoder = PieceBytes(pieces)
        assert b"".join(map(decoder.feed, ids)) == b"a b"

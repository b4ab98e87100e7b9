"""The ChatGLM families over both faces: what each can express, as the library itself would answer it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from chain import write_chatglm3_chain
from faces import Face, Refused, Reply, opened
from randomfile import write_random_chatglm
from reference import Answer, library_answers
from running import Glmserve

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message
from glmserve.v1.model_pb2 import GetModelRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve.v1.token_pb2 import CountTokensRequest
from glmserve.v1.token_pb2_grpc import TokenServiceStub

MODELS = Path(__file__).parent / "models"
FAMILIES = ("tiny-chatglm3", "tiny-chatglm2", "tiny-chatglm")
ROUNDS = ("tiny-chatglm2", "tiny-chatglm")
LIMIT = 24

TALKS = [
    [("user", "What is the capital of France?")],
    [("user", "你好！")],
    [("user", "Hello! My name is Ada."), ("assistant", "Nice to meet you, Ada!"), ("user", "What is  my\nname?")],
]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": CITY}}
TIME = {"type": "function", "function": {"name": "get_time"}}
QUESTION = [("user", "What is the weather in Paris?")]
PARIS = ("get_weather", '{"city": "Paris", "days": 3}')

# What each ChatGLM3 model says to everything.
SAYS = {
    "call": [
        *("<|assistant|>", "▁get", "_weather", "\n", "▁```python", "▁▁\n", "tool_call", "(city", "='Pa", "ris'"),
        *(", days=3", ")", "\n```", "<|observation|>"),
    ],
    "turns": ["<|assistant|>", "▁\n", "▁Let me", " look.", "<|assistant|>"],
    "broken": ["<|assistant|>", "▁get_time\n", "▁```python\ntool_call", "(at=now()", ")\n```", "<|observation|>"],
    "never-declared": ["<|assistant|>", "▁get_rain\n", "▁```python\ntool_call", "()\n```", "<|observation|>"],
    "plain": ["<|assistant|>", "▁\n", "▁It", "▁is", "▁sunny", ".", "<|user|>"],
    "code": ["<|assistant|>", "▁interpreter\n", "▁```python\n", "print(", '"1")', "\n```", "<|observation|>"],
    "endless": ["<|assistant|>", "▁\n", "▁It", "▁is", "▁fine,", "▁It"],
    "forced": ["(", "city='Paris'", ", days=3", ")\n```", "<|observation|>"],
}


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glmserve]:
    folder = tmp_path_factory.mktemp("chains")
    files = [MODELS / f"{name}.bin" for name in FAMILIES]
    files += [write_chatglm3_chain(folder / f"{name}.bin", run) for name, run in SAYS.items()]
    arguments = [argument for file in files for argument in ("--model", str(file))]
    with Glmserve("up", "--workers", "1", "--threads", "1", *arguments) as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def face(request: pytest.FixtureRequest, families: Glmserve) -> Iterator[Face]:
    with opened(request.param, families) as way:
        yield way


@pytest.fixture(params=FAMILIES, scope="module")
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def library(model: str) -> list[Answer]:
    """What the library does with each of the talks."""
    return library_answers(MODELS / f"{model}.bin", TALKS, limit=LIMIT)


def answers(face: Face, turns: Any, **parameters: Any) -> Reply:
    """The answer, whole and streamed: they are the same."""
    whole = face.ask(turns, temperature=0, **parameters)
    *_, streamed = face.stream(turns, temperature=0, **parameters)
    assert streamed == whole
    return whole


@pytest.mark.parametrize("talk", range(len(TALKS)))
def test_an_answer_is_the_one_of_the_library(face: Face, model: str, library: list[Answer], talk: int) -> None:
    theirs = library[talk]
    reply = answers(face, TALKS[talk], model=model, max_completion_tokens=LIMIT)
    assert reply.text.strip() == theirs.text.strip()
    assert (reply.prompt_tokens, reply.completion_tokens) == (len(theirs.prompt), theirs.tokens)
    assert reply.finish == ("length" if theirs.tokens == LIMIT else "stop")


@pytest.mark.parametrize("talk", range(len(TALKS)))
def test_a_prompt_is_the_one_of_the_library(families: Glmserve, model: str, library: list[Answer], talk: int) -> None:
    messages = [
        Message(role=message_pb2.Role.Value(f"ROLE_{role.upper()}"), content=[ContentPart(text=text)])
        for role, text in TALKS[talk]
    ]
    counted = CountTokensRequest(chat=ChatCompletionRequest(model=model, messages=messages), include_token_ids=True)
    with grpc.insecure_channel(families.grpc_address) as channel:
        assert list(TokenServiceStub(channel).CountTokens(counted).token_ids) == library[talk].prompt


def test_a_prompt_that_is_read_both_ways_is_never_taken_from_the_cache(tmp_path: Path) -> None:
    file = write_random_chatglm(tmp_path / "random.bin", MODELS / "tiny-chatglm.bin")
    talks = [[("user", f"{'one two three ' * 30}{end}")] for end in ("four?", "five!", "four?")]
    expected = [answer.text for answer in library_answers(file, talks, limit=LIMIT)]
    assert expected[0] != expected[1]
    with (
        Glmserve("serve", "--workers", "1", "--threads", "1", "--model", str(file)) as running,
        opened("grpc", running) as face,
    ):
        for turns, text in zip(talks, expected, strict=True):
            reply = face.ask(turns, model="random", temperature=0, max_completion_tokens=LIMIT)
            assert reply.text == text


@pytest.mark.parametrize("talk", range(len(TALKS)))
def test_the_tokens_of_a_talk_are_gone_on_with(face: Face, model: str, talk: int) -> None:
    ids, _, _ = face.tokenize(TALKS[talk], model=model)
    raw = face.complete(ids, model=model, temperature=0, max_completion_tokens=LIMIT)
    said = face.ask(TALKS[talk], model=model, temperature=0, max_completion_tokens=LIMIT)
    assert " ".join(raw.text.split()) == " ".join(said.text.split())
    assert (raw.prompt_tokens, raw.completion_tokens) == (said.prompt_tokens, said.completion_tokens)


@pytest.mark.parametrize("prompt", ["", "x", [3], [3, 4], "word " * 200])
def test_any_text_and_any_tokens_are_gone_on_with(
    families: Glmserve, face: Face, model: str, prompt: str | list[int]
) -> None:
    workers = {process.pid for process in families.workers()}
    options: dict[str, Any] = {"model": model, "temperature": 0, "max_completion_tokens": 8, "ignore_eos": True}
    reply = face.complete(prompt, **options)
    assert (reply.finish, reply.completion_tokens) == ("length", 8)
    assert list(face.complete_stream(prompt, **options))[-1] == reply
    assert {process.pid for process in families.workers()} == workers


def test_calls_in_what_follows_a_raw_prompt_are_text(face: Face) -> None:
    ids, _, _ = face.tokenize(QUESTION, model="call", tools=[WEATHER])
    reply = face.complete(ids, model="call", temperature=0)
    assert reply.text.lstrip().startswith("get_weather\n")
    assert (reply.calls, reply.finish) == ([], "stop")


def test_stop_strings_and_limits_cut_answers(face: Face, model: str) -> None:
    full = answers(face, TALKS[0], model=model, max_completion_tokens=LIMIT)
    stop = full.text[3:5] or "x"
    cut = answers(face, TALKS[0], model=model, max_completion_tokens=LIMIT, stop=[stop])
    assert cut.text == full.text.partition(stop)[0]
    short = answers(face, TALKS[0], model=model, max_completion_tokens=3)
    assert (short.finish, short.completion_tokens) == ("length", 3)
    assert full.text.startswith(short.text)


def test_a_prompt_that_does_not_fit_is_refused(face: Face, model: str) -> None:
    for count in (3_000, 1_000_000):
        with pytest.raises(Refused, match="maximum context length") as refused:
            face.ask([("user", "word " * count)], model=model)
        assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")


@pytest.mark.parametrize("model", ROUNDS)
@pytest.mark.parametrize(
    ("turns", "param", "message"),
    [
        ([("system", "Be brief."), ("user", "Hi")], "messages[0].role", "must be user or assistant, not system"),
        ([("user", "Hi"), ("user", "Hi")], "messages[1].role", "must be assistant, not user"),
        ([("user", "Hi"), ("assistant", "Hi")], "messages[1].role", "must be user"),
        ([("user", "Hi"), {"role": "tool", "tool_call_id": "a", "content": "1"}], "messages[1].role", "not tool"),
    ],
)
def test_what_a_family_cannot_express_is_refused_by_name(
    face: Face, model: str, turns: Any, param: str, message: str
) -> None:
    for call in (face.ask, lambda *args, **kwargs: list(face.stream(*args, **kwargs))):
        with pytest.raises(Refused, match=message) as refused:
            call(turns, model=model)
        assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize("model", ROUNDS)
def test_tools_are_refused_where_there_are_none(face: Face, model: str) -> None:
    with pytest.raises(Refused) as refused:
        face.ask(QUESTION, model=model, tools=[TIME])
    assert (refused.value.status, refused.value.param) == (400, "tools")


def test_models_say_whether_they_know_tools(families: Glmserve) -> None:
    with grpc.insecure_channel(families.grpc_address) as channel:
        stub = ModelServiceStub(channel)
        tools = {name: stub.GetModel(GetModelRequest(model=name)).model.capabilities.tools for name in FAMILIES}
    assert tools == {"tiny-chatglm3": True, "tiny-chatglm2": False, "tiny-chatglm": False}


@pytest.mark.parametrize("city", ["Paris", "London", "Berlin"])
def test_the_small_chatglm3_asks_for_the_weather(face: Face, city: str) -> None:
    reply = answers(face, [("user", f"What is the weather in {city}?")], model="tiny-chatglm3", tools=[WEATHER])
    ((name, arguments),) = reply.calls
    assert (reply.text, name, json.loads(arguments)) == ("", "get_weather", {"city": city})
    assert reply.finish == "tool_calls"


def test_a_call_is_told_as_json(face: Face) -> None:
    reply = answers(face, QUESTION, model="call", tools=[WEATHER, TIME])
    assert (reply.text, reply.calls, reply.finish) == ("", [PARIS], "tool_calls")


def test_the_result_of_a_call_is_shown_to_the_model(face: Face) -> None:
    asked = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": PARIS[0], "arguments": PARIS[1]}}],
    }
    turns = [*QUESTION, asked, {"role": "tool", "tool_call_id": "a", "content": "Sunny."}]
    assert answers(face, turns, model="plain", tools=[WEATHER]).text == "It is sunny."


def test_a_text_before_another_turn_is_told(face: Face) -> None:
    reply = answers(face, QUESTION, model="turns", tools=[WEATHER], max_completion_tokens=4)
    assert (reply.text, reply.calls) == ("Let me look.", [])


def test_arguments_that_are_no_literals_are_told_as_they_are(face: Face) -> None:
    reply = answers(face, QUESTION, model="broken", tools=[TIME])
    assert reply.calls == [("get_time", "tool_call(at=now())")]


def test_a_name_that_was_never_declared_is_text(face: Face) -> None:
    reply = answers(face, QUESTION, model="never-declared", tools=[WEATHER, TIME])
    assert (reply.text, reply.calls) == ("get_rain\n ```python\ntool_call()\n```", [])
    assert reply.finish == "stop"


def test_the_code_interpreter_is_a_tool(face: Face) -> None:
    reply = answers(face, QUESTION, model="code", tools=[{"type": "python"}])
    assert reply.calls == [("python", '{"code": "print(\\"1\\")"}')]
    with pytest.raises(Refused, match="must be python for ChatGLM3") as refused:
        face.ask(QUESTION, model="code", tools=[{"type": "python"}, {"type": "cogview"}])
    assert refused.value.status == 400
    assert refused.value.param
    assert refused.value.param.startswith("tools[1]")


def test_a_function_may_be_called_interpreter_where_the_code_interpreter_is_not(face: Face) -> None:
    function = {"type": "function", "function": {"name": "interpreter"}}
    reply = answers(face, QUESTION, model="code", tools=[function])
    assert reply.calls == [("interpreter", 'print("1")')]
    with pytest.raises(Refused, match="must not be interpreter") as refused:
        face.ask(QUESTION, model="code", tools=[function, {"type": "python"}])
    assert (refused.value.status, refused.value.param) == (400, "tools[0].function.name")


def test_a_function_can_be_required(face: Face) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    reply = answers(face, QUESTION, model="forced", tools=[WEATHER, TIME], tool_choice=named)
    assert (reply.calls, reply.finish) == ([PARIS], "tool_calls")
    either = face.ask(QUESTION, model="forced", tools=[WEATHER, TIME], tool_choice="required", temperature=0)
    assert [call[1] for call in either.calls] == [PARIS[1]]
    assert either.calls[0][0] in ("get_weather", "get_time")


def test_text_streams_while_there_are_tools(face: Face) -> None:
    parameters = {"model": "endless", "temperature": 0, "tools": [WEATHER], "max_completion_tokens": 500}
    texts = {reply.text for reply in face.stream(QUESTION, **parameters)}
    assert len(texts) > 5  # a slow reader gets several tokens at once, but never more than a bound
    assert all("It is fine, It is fine, ".startswith(text[:24]) for text in texts)

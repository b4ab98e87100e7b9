"""The Python client against real servers: the same over both wires, with and without an event loop."""

import asyncio
import gc
import math
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from client_ways import WAYS, opened
from running import MODEL, Glmserve

import glmserve_client
from glmserve_client import (
    AsyncClient,
    BadRequest,
    BrokenStream,
    Client,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    ContextLengthExceeded,
    DeadlineExceeded,
    Delta,
    FinishReason,
    NotFound,
    NotSupported,
    RateLimited,
    Unavailable,
    UnknownModel,
    Unsupported,
    assistant,
    image,
    system,
    user,
)

QUESTION = "What is the capital of France?"
GREEDY: Any = {"model": MODEL, "temperature": 0}
ENDLESS: Any = {**GREEDY, "ignore_eos": True}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)

Open = Callable[..., AbstractContextManager[Any]]


def url_of(server: Glmserve, wire: str) -> str:
    """The address of a server, for the client."""
    return f"grpc://{server.grpc_address}" if wire == "grpc" else server.openai_url


@pytest.fixture(params=WAYS)
def client(request: pytest.FixtureRequest, server: Glmserve) -> Iterator[Any]:
    """A client of `server`, in every way."""
    wire, style = request.param.split("-")
    with opened(style, url_of(server, wire)) as made:
        yield made


@pytest.fixture(params=WAYS)
def open_client(request: pytest.FixtureRequest) -> Open:
    """Opens a client of a server of the test's own, in every way."""
    wire, style = request.param.split("-")
    return lambda server, **options: opened(style, url_of(server, wire), **options)


@pytest.fixture(scope="module")
def single() -> Iterator[Glmserve]:
    """A server with one worker."""
    with Glmserve("up", "--model", MODEL, "--workers", "1", "--threads", "1", "--queue-limit", "1") as running:
        yield running


def test_the_surface_is_what_it_says() -> None:
    names = [name for name in vars(glmserve_client) if not name.startswith("_")]
    modules = {path.stem for path in Path(glmserve_client.__file__).parent.iterdir()}
    assert sorted(set(names) - modules - set(glmserve_client.__all__)) == []
    assert all(hasattr(glmserve_client, name) for name in glmserve_client.__all__)


def test_both_clients_have_the_same_methods() -> None:
    for sync, other in ((Client, AsyncClient), (glmserve_client.Stream, glmserve_client.AsyncStream)):
        mine, theirs = ({name for name in dir(kind) if not name.startswith("_")} for kind in (sync, other))
        assert mine - {"close"} == theirs - {"aclose"}


def test_a_question_is_answered(client: Any) -> None:
    reply = client.chat(QUESTION, **GREEDY)
    assert "Paris" in reply.text
    assert (reply.model, reply.finish_reason, reply.ignored) == (MODEL, FinishReason.STOP, ())
    assert reply.id.startswith("chatcmpl-")
    assert reply.created > 1e9
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 2


def test_a_stream_holds_the_reply_so_far(client: Any) -> None:
    whole = client.chat(QUESTION, **GREEDY)
    with client.stream(QUESTION, **GREEDY) as stream:
        assert (stream.text, stream.usage, stream.finish_reason, stream.model) == ("", None, None, MODEL)
        text = ""
        for delta in stream:
            text += delta.text
            assert stream.text == text
        assert next(stream, None) is None
    assert (stream.text, stream.finish_reason) == (whole.text, whole.finish_reason)
    assert stream.usage.completion_tokens == whole.usage.completion_tokens
    assert stream.reply.choices == whole.choices


def test_a_stream_is_plain_text_too(client: Any) -> None:
    with client.stream(QUESTION, **ENDLESS, max_completion_tokens=500) as stream:
        texts = list(stream.texts())
    assert len(texts) > 5
    assert "".join(texts) == stream.text


def test_several_choices_come_apart(client: Any) -> None:
    whole = client.chat("Hello!", **GREEDY, n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    with client.stream("Hello!", **GREEDY, n=3) as stream:
        assert {delta.index for delta in stream} == {0, 1, 2}
    assert stream.reply.choices == whole.choices


def test_messages_have_several_forms(client: Any) -> None:
    first = client.chat([system("You are Bob."), "What is your name?"], **GREEDY)
    assert "Bob" in first.text
    talk = [{"role": "user", "content": [{"type": "text", "text": "Hello! My name is Ada."}]}]
    talk += [assistant("Nice to meet you, Ada!"), user("What is ", "my name?")]
    assert "Ada" in client.chat(talk, **GREEDY).text
    assert client.chat(["Hello!", client.chat("Hello!", **GREEDY), QUESTION], **GREEDY).text


def test_the_prompt_is_the_same_over_both_wires(server: Glmserve) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "description": "Größe", "default": 2.50}}}
    weather = {"type": "function", "function": {"name": "weather", "description": "Météo", "parameters": schema}}
    replies = []
    for wire in ("grpc", "http"):
        with Client(url_of(server, wire)) as client:
            reply = client.chat(QUESTION, **GREEDY, tools=[weather], stop="zzz", top_k=3, logit_bias={5: 1})
            assert reply.usage is not None
            replies.append((reply.text, reply.usage.prompt_tokens, reply.ignored))
    assert replies[0] == replies[1]
    assert replies[0][2] == ("logit_bias",)


def test_preferences_that_cannot_be_honoured_are_named(client: Any) -> None:
    wishes = {"presence_penalty": 1.2, "seed": 7, "min_p": 0.1, "top_k": 3}
    assert client.chat("Hello!", **GREEDY, **wishes).ignored == ("min_p", "presence_penalty", "seed")
    with client.stream("Hello!", **GREEDY, **wishes, reasoning_effort="low") as stream:
        assert set(stream.ignored) >= {"min_p", "presence_penalty", "seed", "reasoning_effort"}


@pytest.mark.parametrize(
    ("parameters", "kind", "field"),
    [
        ({"temperature": 2.5}, BadRequest, "temperature"),
        ({"temperature": "warm"}, BadRequest, "temperature"),
        ({"max_completion_tokens": 0}, BadRequest, "max_completion_tokens"),
        ({"n": 9}, Unsupported, "n"),
        ({"stop": ["a", ""]}, BadRequest, "stop[1]"),
        ({"logprobs": True}, Unsupported, "logprobs"),
        ({"response_format": {"type": "json_object"}}, Unsupported, "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "no no"}}]}, BadRequest, "tools[0].function.name"),
        ({"messages": [{"role": "nobody", "content": "Hello!"}]}, BadRequest, "messages[0].role"),
        ({"messages": []}, BadRequest, "messages"),
        ({"messages": [user("What is this?", image(PNG))]}, Unsupported, "messages"),
        ({"messages": ["word " * 5000]}, ContextLengthExceeded, None),
    ],
)
def test_a_bad_request_names_the_argument(
    client: Any, parameters: dict[str, Any], kind: type[BadRequest], field: str | None
) -> None:
    arguments = {"model": MODEL, "messages": ["Hello!"], **parameters}
    for call in (client.chat, lambda *args, **kwargs: client.stream(*args, **kwargs).__enter__()):
        with pytest.raises(BadRequest) as raised:
            call(**arguments)
        assert type(raised.value) is kind
        assert raised.value.retry_after is None
        if field is not None:
            (violation,) = raised.value.violations
            assert violation.field.startswith(field)
            assert violation.description


def test_an_unknown_model_is_not_found(client: Any) -> None:
    with pytest.raises(UnknownModel, match="'gpt-9' does not exist"):
        client.chat("Hello!", model="gpt-9")


def test_an_argument_that_does_not_exist_is_a_type_error(client: Any) -> None:
    with pytest.raises(TypeError, match="temprature"):
        client.chat("Hello!", temprature=1)
    with pytest.raises(TypeError, match="seconds"):
        client.models(seconds=1)


def test_models_are_listed(client: Any, server: Glmserve) -> None:
    models = client.models()
    assert [model.id for model in models] == [MODEL, "scripted"]
    assert all(model.created > 1e9 and model.owned_by for model in models)
    with Client(f"grpc://{server.grpc_address}") as grpc:
        capabilities = grpc.models()[0].capabilities
        assert capabilities is not None
        assert capabilities.max_choices == 8


def test_tokens_are_counted_over_grpc(client: Any) -> None:
    asked = client.chat(QUESTION, **GREEDY).usage
    try:
        count = client.count_tokens(QUESTION, **GREEDY, include_token_ids=True)
    except NotSupported as error:
        assert "HTTP" in str(error)  # noqa: PT017 (one of the two wires cannot)
        return
    assert count.prompt_tokens == asked.prompt_tokens == len(count.token_ids)
    assert count.context_length == 2048
    assert client.count_tokens("word " * 5000, **GREEDY).prompt_tokens > 2048


def test_health_says_whether_requests_are_taken(client: Any) -> None:
    assert client.health() is True


def test_other_paths_are_for_http(server: Glmserve) -> None:
    with Client(server.openai_url) as client:
        assert client.get("models").json["data"][0]["id"] == MODEL
        assert client.get(f"models/{MODEL}").headers["content-type"] == "application/json"
        assert client.get("/healthz").body == b"ok\n"
        assert client.get("/healthz").json is None
        assert client.post("chat/completions", json={**GREEDY, "messages": [user("Hello!")]}).status == 200
        assert client.head("/healthz").body == b""
        for method in (client.delete, client.put, client.patch):
            with pytest.raises((NotFound, NotSupported)):
                method("models")
        with pytest.raises(UnknownModel):
            client.get("models/nothing")
        with pytest.raises(ConfigurationError, match="leads away"):
            client.get("http://example.com/v1/models")
        with pytest.raises(ConfigurationError, match="leads away"):
            client.get("//example.com/models")
        with pytest.raises(BadRequest, match="JSON"):
            client.post("chat/completions", json={"messages": {1, 2}})
    with Client(f"grpc://{server.grpc_address}") as client, pytest.raises(NotSupported):
        client.get("models")


def test_leaving_a_stream_frees_the_worker(single: Glmserve, open_client: Open) -> None:
    with open_client(single) as client:
        for _ in range(3):
            with client.stream(QUESTION, **ENDLESS) as stream:
                assert len(list(islice(stream, 3))) == 3
            assert "Paris" in client.chat(QUESTION, **GREEDY).text
        (process,) = single.workers()
        assert process.is_running()


def test_a_call_whose_time_is_over_frees_the_worker(single: Glmserve, open_client: Open) -> None:
    with open_client(single) as client:
        with client.stream(QUESTION, **ENDLESS, n=8) as stream:
            next(stream)
            with pytest.raises(DeadlineExceeded):  # the only worker is busy with the stream
                client.chat(QUESTION, **GREEDY, timeout=0.2)
        assert "Paris" in client.chat(QUESTION, **GREEDY).text


def test_the_time_of_a_stream_is_its_whole_time(single: Glmserve, open_client: Open) -> None:
    with open_client(single) as client, client.stream(QUESTION, **ENDLESS, n=8, timeout=0.3) as stream:
        with pytest.raises(DeadlineExceeded):
            for _ in stream:
                pass
        assert stream.text
        assert stream.finish_reason is None


def test_a_full_queue_says_when_to_try_again(single: Glmserve, open_client: Open) -> None:
    def asked() -> Any:
        with open_client(single, retries=0) as client:
            return client.chat(QUESTION, **GREEDY, timeout=1)

    (process,) = single.workers()
    with open_client(single) as client, ThreadPoolExecutor() as threads, client.stream(QUESTION, **ENDLESS) as stream:
        next(stream)
        process.suspend()
        try:
            raised = [future.exception() for future in [threads.submit(asked) for _ in range(3)]]
        finally:
            process.resume()
    waits = [error.retry_after for error in raised if isinstance(error, RateLimited)]
    assert waits
    assert all(seconds is not None and seconds >= 1 for seconds in waits)


def test_a_full_queue_is_waited_for(single: Glmserve, open_client: Open) -> None:
    def asked() -> str:
        with open_client(single, retries=20) as client:
            return str(client.chat(QUESTION, **GREEDY, timeout=60).text)

    with ThreadPoolExecutor() as threads:
        assert all("Paris" in future.result() for future in [threads.submit(asked) for _ in range(5)])


def test_a_worker_that_dies_is_unavailable(single: Glmserve, open_client: Open) -> None:
    with open_client(single) as client, client.stream(QUESTION, **ENDLESS) as stream:
        next(stream)
        (process,) = single.workers()
        process.suspend()  # so that the stream cannot end before the kill
        process.kill()
        with pytest.raises(Unavailable, match="process ended in the middle"):
            list(stream)
        assert stream.text
        assert "Paris" in client.chat(QUESTION, **GREEDY).text


def test_a_server_that_is_gone_breaks_the_stream_and_is_not_reached_again(open_client: Open) -> None:
    with Glmserve("up", "--model", "scripted") as server, open_client(server, retries=0) as client:
        with client.stream("/slow", model="scripted") as stream:
            next(stream)
            for process in reversed(server.family()):
                process.kill()
            with pytest.raises(BrokenStream, match="broke off"):
                list(stream)
        server.wait()
        with pytest.raises(ConnectionFailed):
            client.chat("Hello!", model="scripted")
        with pytest.raises(ConnectionFailed):
            client.health()


def test_a_closed_client_says_so(server: Glmserve, open_client: Open) -> None:
    with open_client(server) as client:
        stream = client.stream(QUESTION, **ENDLESS)
        client.close()
        for call in (lambda: client.chat("Hello!", model=MODEL), client.models, stream.__enter__):
            with pytest.raises(ClientClosed):
                call()


@pytest.mark.parametrize("wire", ["grpc", "http"])
def test_closing_a_client_ends_calls_of_other_threads(server: Glmserve, wire: str) -> None:
    begun = threading.Event()

    def read(client: Client) -> None:
        with client.stream("/slow", model="scripted") as stream:
            for _ in stream:
                begun.set()

    with ThreadPoolExecutor() as threads, Client(url_of(server, wire)) as client:
        reading = threads.submit(read, client)
        begun.wait()
        client.close()
        with pytest.raises(ClientClosed):
            reading.result()


@pytest.mark.parametrize("wire", ["grpc", "http"])
def test_one_client_serves_many_threads(server: Glmserve, wire: str) -> None:
    def read(client: Client, number: int) -> str:
        with client.stream(f"/count {number}", model="scripted") as stream:
            return "".join(stream.texts())

    with ThreadPoolExecutor(16) as threads, Client(url_of(server, wire)) as client:
        texts = [threads.submit(read, client, number) for number in range(1, 65)]
        for number, text in enumerate(texts, start=1):
            assert text.result().split() == [str(count) for count in range(1, number + 1)]


@pytest.mark.parametrize("wire", ["grpc", "http"])
async def test_many_calls_share_a_loop(server: Glmserve, wire: str) -> None:
    async with AsyncClient(url_of(server, wire)) as client:
        replies = await asyncio.gather(*(client.chat(f"number {i}", model="scripted") for i in range(50)))
        assert [reply.text for reply in replies] == [f"number {i}" for i in range(50)]


@pytest.mark.parametrize("wire", ["grpc", "http"])
async def test_a_task_that_is_cancelled_leaves_its_call(single: Glmserve, wire: str) -> None:
    async with AsyncClient(url_of(single, wire)) as client:
        begun = asyncio.Event()

        async def read() -> None:
            async with client.stream(QUESTION, **ENDLESS, n=8) as stream:
                async for _ in stream:
                    begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "Paris" in (await client.chat(QUESTION, **GREEDY)).text


def test_a_client_that_is_forgotten_ends_its_thread(server: Glmserve) -> None:
    client = Client(server.openai_url)
    client.models()
    (thread,) = (thread for thread in threading.enumerate() if thread is client._loop._thread)
    del client
    gc.collect()
    thread.join()


async def test_a_stream_must_be_entered_once(server: Glmserve) -> None:
    async with AsyncClient(server.openai_url) as client:
        stream = client.stream("Hello!", model="scripted")
        with pytest.raises(RuntimeError, match="enter the stream first"):
            await anext(stream)
        async with stream:
            assert [delta async for delta in stream][-1] == Delta(finish_reason=FinishReason.STOP)
        with pytest.raises(RuntimeError, match="once"):
            await stream.__aenter__()


def test_no_limit_is_infinite(client: Any) -> None:
    assert client.chat("Hello!", model="scripted", timeout=math.inf).text == "Hello!"
    with client.stream("Hello!", model="scripted", timeout=math.inf, token_timeout=math.inf) as stream:
        assert "".join(stream.texts()) == "Hello!"


def test_what_is_too_large_for_the_server_is_a_bad_request(server: Glmserve) -> None:
    with Client(f"grpc://{server.grpc_address}") as client:
        with pytest.raises(BadRequest, match="too large for the server"):
            client.chat("word " * 10_000_000, **GREEDY)
        assert "Paris" in client.chat(QUESTION, **GREEDY).text


def test_the_edge_speaks_grpc_too(server: Glmserve) -> None:
    with Client(server.edge_url.replace("http", "grpc", 1)) as client:
        assert "Paris" in client.chat(QUESTION, **GREEDY).text
        with client.stream(QUESTION, **GREEDY) as stream:
            assert "Paris" in "".join(stream.texts())


PROGRAMS = {
    "forgets to close its client": "client.models()",
    "ends in the middle of a stream": "next(client.stream('/slow', model='scripted').__enter__())",
    "fails in the middle of a stream": """
        try:
            with client, client.stream('/slow', model='scripted') as stream:
                raise LookupError(next(stream))
        except LookupError:
            pass
    """,
    "goes on in a child": """
        client.models()
        pid = os.fork()
        if not pid:
            try:
                client.models()
            except glmserve_client.ClientClosed:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    """,
    "is interrupted": """
        with client.stream('/slow', model='scripted') as stream:
            next(stream)
            try:
                threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
                list(stream)
            except KeyboardInterrupt:
                print("interrupted")
        assert client.models()
    """,
}


ENDINGS = [(program, wire) for program in PROGRAMS for wire in ("grpc", "http")]
ENDINGS.remove(("goes on in a child", "grpc"))  # gRPC itself must not be forked


@pytest.mark.parametrize(("program", "wire"), ENDINGS)
def test_a_program_ends_quietly_that(program: str, wire: str, server: Glmserve) -> None:
    head = f"import glmserve_client, os, signal, threading\nclient = glmserve_client.Client({url_of(server, wire)!r})\n"
    code = head + textwrap.dedent(PROGRAMS[program])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

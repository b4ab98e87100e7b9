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
from pathlib import Path
from typing import Any

import pytest
from client_ways import WAYS, opened, url_of
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
    Conversation,
    Delta,
    FinishReason,
    NotFound,
    NotSupported,
    UnknownModel,
    user,
)

QUESTION = "What is the capital of France?"
GREEDY: Any = {"model": MODEL, "temperature": 0}
ENDLESS: Any = {**GREEDY, "ignore_eos": True}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)

Open = Callable[..., AbstractContextManager[Any]]


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


def test_the_surface_is_what_it_says() -> None:
    names = [name for name in vars(glmserve_client) if not name.startswith("_")]
    modules = {path.stem for path in Path(glmserve_client.__file__).parent.iterdir()}
    assert sorted(set(names) - modules - set(glmserve_client.__all__)) == []
    assert all(hasattr(glmserve_client, name) for name in glmserve_client.__all__)


def test_both_clients_have_the_same_methods() -> None:
    for sync, other in ((Client, AsyncClient), (glmserve_client.Stream, glmserve_client.AsyncStream)):
        mine, theirs = ({name for name in dir(kind) if not name.startswith("_")} for kind in (sync, other))
        assert mine - {"close"} == theirs - {"aclose"}


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


def test_an_argument_that_does_not_exist_is_a_type_error(client: Any) -> None:
    with pytest.raises(TypeError, match="temprature"):
        client.chat("Hello!", temprature=1)
    with pytest.raises(TypeError, match="seconds"):
        client.models(seconds=1)


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
async def test_a_task_that_is_cancelled_leaves_its_call(server: Glmserve, wire: str) -> None:
    ended = server.log.count("CANCELLED")
    async with AsyncClient(url_of(server, wire)) as client:
        begun = asyncio.Event()

        async def read() -> None:
            async with client.stream("/slow", model="scripted") as stream:
                async for _ in stream:
                    begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.await_log, "CANCELLED", ended + 1)


def test_a_client_that_is_forgotten_ends_its_thread(server: Glmserve) -> None:
    client = Client(server.openai_url)
    client.models()
    (thread,) = (thread for thread in threading.enumerate() if thread is client._loop._thread)
    del client
    gc.collect()
    thread.join()


@pytest.mark.parametrize("wire", ["grpc", "http"])
def test_a_client_lives_as_long_as_what_it_gave(server: Glmserve, wire: str) -> None:
    conversation = Conversation(Client(url_of(server, wire)), model="scripted")
    gc.collect()
    assert conversation.say("Hello!").text == "Hello!"
    with Conversation(Client(url_of(server, wire)), model="scripted").stream("Hello!") as stream:
        assert "".join(stream.texts()) == "Hello!"
    with Client(url_of(server, wire)).stream("Hello!", model="scripted") as stream:
        gc.collect()
        assert "".join(stream.texts()) == "Hello!"


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
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
        with client.stream('/slow', model='scripted') as stream:
            next(stream)
            try:
                threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
                list(stream)
            except KeyboardInterrupt:
                print("interrupted")
            else:
                raise AssertionError("not interrupted")
        assert client.models()
    """,
    "is interrupted out of its streams": """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for _ in range(20):
            try:
                with client.stream('/slow', model='scripted') as stream:
                    next(stream)
                    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()  # while a piece is waited for
                    list(stream)
                raise AssertionError("not interrupted")
            except KeyboardInterrupt:
                pass
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

"""What happens when a worker process dies, a caller leaves, or the queue is full: with the real engine."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing, suppress
from itertools import islice
from pathlib import Path

import grpc
import psutil
import pytest
from faces import Face, Refused, opened
from running import COMMAND, MODEL, SMOLLM2, Glmserve, health_of, llama_server, smollm2_server

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message
from glmserve_server.bundled import BUNDLED

Way = Callable[[Glmserve], AbstractContextManager[Face]]

QUESTION = [("user", "Hello!")]
"""Every model begins its answer with the same word."""
ENDLESS = {"model": MODEL, "temperature": 0, "ignore_eos": True}
"""Goes on until the context is full."""
GREEDY = {"model": MODEL, "temperature": 0, "max_completion_tokens": 8}


ENGINES = ["chatglm", pytest.param("llama", marks=pytest.mark.llama)]


def server_of(engine: str, *flags: str, command: str = "up") -> Glmserve:
    """A server that answers one caller at a time, with the embedded model or, by its name, another."""
    if engine == "chatglm":
        return Glmserve(command, "--model", MODEL, "--workers", "1", *flags)
    if engine == "smollm2":
        return smollm2_server(*flags, slots=1, command=command)
    return llama_server("--model", MODEL, *flags, slots=1, command=command)


@pytest.fixture(scope="module", params=[*ENGINES, SMOLLM2])
def single(request: pytest.FixtureRequest) -> Iterator[Glmserve]:
    """The same for all tests, with a short queue."""
    with server_of(request.param, "--threads", "1", "--queue-limit", "1") as running:
        yield running


def worker(server: Glmserve) -> psutil.Process:
    """The one worker of a server."""
    (process,) = server.workers()
    return process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_worker_that_dies_in_a_stream_fails_that_call_and_no_other(
    single: Glmserve, way: Way, number: signal.Signals
) -> None:
    with way(single) as face:
        stream = face.stream(QUESTION, **ENDLESS)
        first = next(reply.text for reply in stream if reply.text)
        process = worker(single)
        process.suspend()  # so that the stream cannot end before the signal
        process.send_signal(number)
        with suppress(psutil.NoSuchProcess):  # which it did not wait for
            process.resume()
        with pytest.raises(Refused, match=rf"process ended in the middle of the answer: .* signal {number}") as refused:
            for _ in stream:
                pass
        assert first
        assert refused.value.status == 503
        assert "Hello" in face.ask(QUESTION, **GREEDY).text
        assert worker(single).pid != process.pid


def test_a_worker_killed_while_it_waits_is_replaced_unseen(single: Glmserve, way: Way) -> None:
    with way(single) as face:
        for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT):
            process = worker(single)
            process.send_signal(number)
            process.wait()
            assert "Hello" in face.ask(QUESTION, **GREEDY).text


def test_a_caller_who_leaves_frees_the_worker(single: Glmserve, way: Way) -> None:
    with way(single) as face:
        process = worker(single)
        for _ in range(5):
            with closing(face.stream(QUESTION, **ENDLESS)) as stream:
                list(islice(stream, 3))
            assert "Hello" in face.ask(QUESTION, **GREEDY).text
        assert worker(single).pid == process.pid


def test_more_callers_than_the_queue_holds_are_refused_at_once(single: Glmserve, way: Way) -> None:
    with way(single) as face, ThreadPoolExecutor() as threads:
        running = face.stream(QUESTION, **ENDLESS)
        list(islice(running, 2))
        process = worker(single)
        process.suspend()
        try:
            asked = [threads.submit(face.ask, QUESTION, **GREEDY) for _ in range(3)]
            done, _ = wait(asked, return_when=FIRST_COMPLETED)
            with pytest.raises(Refused, match="1 requests wait for this model already") as refused:
                done.pop().result()
        finally:
            process.resume()
        assert refused.value.status == 429
        running.close()
        answers = [call.result().text for call in asked if call.exception() is None]
        assert answers
        assert all("Hello" in answer for answer in answers)


@pytest.mark.parametrize("single", ["chatglm"], indirect=True)  # it is about the server, not the engine
def test_what_was_refused_is_not_kept(single: Glmserve, way: Way) -> None:
    server = psutil.Process(single.pid)
    with way(single) as face:
        for number in range(10):
            with pytest.raises(Refused, match="maximum context length"):
                face.ask([("user", "x" * (20 << 20))], **GREEDY)
            if number == 1:
                before = server.memory_info().rss
        # Kept, each would be there several times over, 700 MiB of them together; one that is being freed may still be.
        assert server.memory_info().rss - before < 300 << 20


def test_a_deadline_that_passes_in_the_queue_gives_the_place_back(single: Glmserve) -> None:
    message = Message(role=message_pb2.ROLE_USER, content=[ContentPart(text="Hello!")])
    request = ChatCompletionRequest(model=MODEL, messages=[message])
    with grpc.insecure_channel(single.grpc_address) as channel, opened("grpc", single) as face:
        stub = ChatServiceStub(channel)
        running = face.stream(QUESTION, **ENDLESS)
        worker(single).suspend()
        for _ in range(3):  # the queue has one place
            with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                stub.CreateChatCompletion(request, timeout=0.2)
        worker(single).resume()
        running.close()
        assert "Hello" in face.ask(QUESTION, **GREEDY).text


def test_a_model_that_cannot_be_loaded_again_is_unavailable_until_it_can(tmp_path: Path, way: Way) -> None:
    file = tmp_path / "model.bin"
    shutil.copy(BUNDLED[MODEL], file)
    with Glmserve("up", "--model", str(file), "--workers", "1") as server, way(server) as face:
        assert "Hello" in face.ask(QUESTION, model="model", temperature=0).text
        file.rename(tmp_path / "elsewhere.bin")
        worker(server).kill()
        with pytest.raises(Refused, match="cannot be loaded") as refused:
            face.ask(QUESTION, model="model", temperature=0)
        assert refused.value.status == 503
        (tmp_path / "elsewhere.bin").rename(file)
        while not (reply := asked_again(face)):
            pass
        assert "Hello" in reply


def test_health_follows_the_model(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    shutil.copy(BUNDLED[MODEL], file)
    with (
        Glmserve("serve", "--model", str(file), "--model", "scripted", "--workers", "1") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        statuses = health_of(channel, "model")
        assert next(statuses) == "SERVING"
        file.rename(tmp_path / "elsewhere.bin")
        worker(server).kill()
        assert next(statuses) == "NOT_SERVING"
        assert next(health_of(channel, "")) == "SERVING"  # there is another model
        (tmp_path / "elsewhere.bin").rename(file)
        assert next(statuses) == "SERVING"


def test_a_silent_worker_is_replaced(way: Way) -> None:
    with Glmserve("up", "--model", MODEL, "--workers", "1", "--silence-limit", "4") as server, way(server) as face:
        stream = face.stream(QUESTION, **ENDLESS)
        list(islice(stream, 2))
        process = worker(server)
        process.suspend()
        with pytest.raises(Refused, match="said nothing for 4 seconds"):
            list(stream)
        assert "Hello" in face.ask(QUESTION, **GREEDY).text
        worker(server).suspend()  # while it waits: nobody notices
        assert "Hello" in face.ask(QUESTION, **GREEDY).text


def asked_again(face: Face) -> str:
    """The answer, or nothing while the model is unavailable."""
    try:
        return face.ask(QUESTION, model="model", temperature=0).text
    except Refused:
        return ""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reader_who_takes_nothing_is_given_up_and_harms_nobody(engine: str) -> None:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
    with (
        server_of(engine, "--stall-limit", "1", command="serve") as server,
        grpc.insecure_channel(server.grpc_address, options) as slow,
        opened("grpc", server) as face,
    ):
        message = Message(role=message_pb2.ROLE_USER, content=[ContentPart(text="Hello!")])
        request = ChatCompletionRequest(
            model=MODEL, messages=[message], ignore_eos=True, n=8
        )  # more than fits on the way
        stalled = ChatServiceStub(slow).StreamChatCompletion(request)
        next(stalled)
        while "DEADLINE_EXCEEDED" not in server.log and "CANCELLED" not in server.log:
            assert face.ask(QUESTION, **ENDLESS, max_completion_tokens=1900).completion_tokens == 1900
        stalled.cancel()
        assert face.ask(QUESTION, **ENDLESS, max_completion_tokens=1900).completion_tokens == 1900


def test_prompts_that_are_given_up_do_not_take_the_model_out_of_service(tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    subprocess.run([COMMAND, "bench-model", str(file), "--parameters", "60M"], check=True, capture_output=True)
    with (
        Glmserve("serve", "--model", str(file), "--workers", "1") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
        opened("grpc", server) as face,
    ):
        for number in range(4):
            message = Message(
                role=message_pb2.ROLE_USER, content=[ContentPart(text=f"{number} " + "ab cd ef gh " * 250)]
            )
            request = ChatCompletionRequest(messages=[message], max_completion_tokens=1)
            with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                ChatServiceStub(channel).CreateChatCompletion(request, timeout=0.2)
            assert next(health_of(channel, "large")) == "SERVING"
        assert face.ask(QUESTION, model="large", max_completion_tokens=1).completion_tokens == 1
        assert "again and again" not in server.log


def test_choices_of_one_request_do_not_fill_the_queue(way: Way) -> None:
    with Glmserve("up", "--model", MODEL, "--workers", "1", "--queue-limit", "1") as server, way(server) as face:
        assert "Hello" in face.ask(QUESTION, **GREEDY, n=8).text

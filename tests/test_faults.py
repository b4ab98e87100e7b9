"""What happens when a worker process dies, a caller leaves, or the queue is full: with the real engine."""

import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing
from itertools import islice
from pathlib import Path

import psutil
import pytest
from faces import Face, Refused
from running import MODEL, Glmserve

from glmserve_server.wiring import EMBEDDED

Way = Callable[[Glmserve], AbstractContextManager[Face]]

QUESTION = [("user", "What is the capital of France?")]
GREEDY = {"model": MODEL, "temperature": 0}
ENDLESS = {**GREEDY, "ignore_eos": True}
"""Goes on until the context is full."""


@pytest.fixture(scope="module")
def single() -> Iterator[Glmserve]:
    """A server with one worker."""
    with Glmserve("up", "--model", MODEL, "--workers", "1", "--threads", "1", "--queue-limit", "1") as running:
        yield running


def worker(server: Glmserve) -> psutil.Process:
    """The one worker of a server."""
    (process,) = server.workers()
    return process


def test_a_worker_killed_in_a_stream_fails_that_call_and_no_other(single: Glmserve, way: Way) -> None:
    with way(single) as face:
        stream = face.stream(QUESTION, **ENDLESS)
        first = next(reply.text for reply in stream if reply.text)
        process = worker(single)
        process.suspend()  # so that the stream cannot end before the kill
        process.kill()
        with pytest.raises(Refused, match=r"process ended in the middle of the answer: .* signal 9") as refused:
            for _ in stream:
                pass
        assert first
        assert refused.value.status == 503
        assert "Paris" in face.ask(QUESTION, **GREEDY).text
        assert worker(single).pid != process.pid


def test_a_worker_killed_while_it_waits_is_replaced_unseen(single: Glmserve, way: Way) -> None:
    with way(single) as face:
        for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT):
            process = worker(single)
            process.send_signal(number)
            process.wait()
            assert "Paris" in face.ask(QUESTION, **GREEDY).text


def test_a_caller_who_leaves_frees_the_worker(single: Glmserve, way: Way) -> None:
    with way(single) as face:
        process = worker(single)
        for _ in range(5):
            with closing(face.stream(QUESTION, **ENDLESS)) as stream:
                list(islice(stream, 3))
            assert "Paris" in face.ask(QUESTION, **GREEDY).text
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
        assert all("Paris" in answer for answer in answers)


def test_a_model_that_cannot_be_loaded_again_is_unavailable_until_it_can(tmp_path: Path, way: Way) -> None:
    file = tmp_path / "model.bin"
    shutil.copy(EMBEDDED[MODEL], file)
    with Glmserve("up", "--model", str(file), "--workers", "1") as server, way(server) as face:
        assert "Paris" in face.ask(QUESTION, model="model", temperature=0).text
        file.rename(tmp_path / "elsewhere.bin")
        worker(server).kill()
        with pytest.raises(Refused, match="cannot be loaded") as refused:
            face.ask(QUESTION, model="model", temperature=0)
        assert refused.value.status == 503
        (tmp_path / "elsewhere.bin").rename(file)
        while not (reply := asked_again(face)):
            pass
        assert "Paris" in reply


def asked_again(face: Face) -> str:
    """The answer, or nothing while the model is unavailable."""
    try:
        return face.ask(QUESTION, model="model", temperature=0).text
    except Refused:
        return ""

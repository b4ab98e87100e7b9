"""The process that runs chatglm-cpp: purely token ids, knows nothing of text, HTTP or gRPC.

Started as `python -m glmserve_server.engines.chatglm.worker FD MODEL CONTEXT`; FD is one end of a
`multiprocessing.Pipe`. Both ends send frames of JSON:

    → {"run": k, "ids": [...], "limit": n, "stop": [...], "sampling": {...}}   run this prompt, the k-th
    → {"cancel": k}                                                  stop that run, within one token
    ← {"ready": true}                                                the model is loaded
    ← {"token": id}                                                  the next token, stop tokens left out
    ← {"end": "stop" | "length" | "cancel", "token": id or null}     the run has ended
    ← {"error": "..."}                                               the model cannot be loaded, or the run has failed

A separate process, because the library holds the GIL for as long as it computes and aborts its process on many faults.
"""

import ctypes
import json
import select
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

Frame = dict[str, Any]

_PR_SET_PDEATHSIG: Final = 1
_THREADS_LIBRARY: Final = Path(__file__).with_name("libhardware_concurrency.so")


def main(descriptor: str, model: str, context_length: str) -> None:
    """Loads the model and runs prompts until the other end closes."""
    _live_no_longer_than_the_parent()
    link = Link(Connection(int(descriptor)))
    try:
        runner = Runner(model, int(context_length))
    except Exception as error:  # noqa: BLE001 (the library raises what it likes; the server gets the text)
        link.send({"error": f"{error}"})
        return
    link.send({"ready": True})
    while (frame := link.receive()) is not None:
        if "run" in frame:
            runner.run(frame, link)


class Link:
    """The pipe to the server, as frames."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)

    def send(self, frame: Frame) -> None:
        self._connection.send_bytes(json.dumps(frame).encode())

    def receive(self) -> Frame | None:
        """Waits for a frame; None when the server is gone."""
        try:
            frame: Frame = json.loads(self._connection.recv_bytes())
        except EOFError:
            return None
        return frame

    def cancelled(self, run: int) -> bool:
        """Whether the run is to stop, because the server says so or is gone. Does not wait."""
        while self._poll.poll(0):
            frame = self.receive()
            if frame is None or frame.get("cancel") == run:
                return True
        return False


class Runner:
    """One loaded model and its key-value cache."""

    def __init__(self, model: str, context_length: int) -> None:
        ctypes.CDLL(str(_THREADS_LIBRARY), mode=ctypes.RTLD_GLOBAL)
        from chatglm_cpp import _C

        self._library = _C
        self._pipeline = _C.Pipeline(model, context_length)

    def run(self, job: Frame, link: Link) -> None:
        """Runs a prompt and sends its tokens and its end."""
        try:
            link.send(self._generate(job, link))
        except (RuntimeError, IndexError) as error:
            link.send({"error": f"chatglm-cpp: {error}"})

    def _generate(self, job: Frame, link: Link) -> Frame:
        step, ids = self._pipeline.model.generate_next_token, job["ids"]
        config, stops = self._config(job["sampling"]), frozenset(job["stop"])
        prompt, past = len(ids), 0
        for _ in range(job["limit"]):
            token = step(ids, None, config, past, prompt)
            past = len(ids)
            if token in stops:
                return {"end": "stop", "token": token}
            ids.append(token)
            link.send({"token": token})
            if link.cancelled(job["run"]):
                return {"end": "cancel", "token": None}
        return {"end": "length", "token": None}

    def _config(self, sampling: Mapping[str, Any]) -> Any:
        return self._library.GenerationConfig(**sampling)


def _live_no_longer_than_the_parent() -> None:
    """Ctrl-C is the server's business; when the server dies, however it dies, this process does too (Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])

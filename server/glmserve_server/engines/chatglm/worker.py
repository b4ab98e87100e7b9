"""The process that runs chatglm-cpp: purely token ids, knows nothing of text, HTTP or gRPC.

Started as `python -m glmserve_server.engines.chatglm.worker FD MODEL CONTEXT REUSE`; FD is one end of a
`multiprocessing.Pipe`, REUSE is 1 or 0. Both ends send frames of JSON:

    → {"run": k, "ids": [...], "limit": n, "stop": [...], "sampling": {...}, "openings": [[...], ...], "picture": p}
                                                                     run this prompt, the k-th; p is null or
                                                                     {"at": i, "patch": id}, and then the next frame
                                                                     is no JSON but the picture's pixels
    → {"cancel": k}                                                  stop that run, within one token
    ← {"ready": {...}}                                               the model is loaded; its `Costs`
    ← {"begun": n}                                                   the run begins; n ids of the prompt are cached
    ← {"token": id}                                                  the next token, stop tokens left out
    ← {"end": "stop" | "length" | "cancel", "token": id or null}     the run has ended
    ← {"error": "..."}                                               the model cannot be loaded, or the run has failed

A separate process, because the library holds the GIL for as long as it computes and aborts its process on many faults.
"""

import contextlib
import ctypes
import dataclasses
import json
import select
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from glmserve_server.engines.chatglm.picture import Picture
from glmserve_server.engines.chatglm.sequence import Sequence

Frame = dict[str, Any]

_PR_SET_PDEATHSIG: Final = 1
_THREADS_LIBRARY: Final = Path(__file__).with_name("libhardware_concurrency.so")


def main(descriptor: str, model: str, context_length: str, reuse: str) -> None:
    """Loads the model and runs prompts until the other end closes."""
    _live_no_longer_than_the_parent()
    link = Link(Connection(int(descriptor)))
    try:
        ctypes.CDLL(str(_THREADS_LIBRARY), mode=ctypes.RTLD_GLOBAL)
        from chatglm_cpp import _C

        sequence = Sequence(_C, model, int(context_length), reuse=reuse == "1")
    except Exception as error:  # noqa: BLE001 (the library raises what it likes; the server gets the text)
        link.send({"error": f"{error}"})
        return
    link.send({"ready": dataclasses.asdict(sequence.costs)})
    with contextlib.suppress(EOFError):
        while (frame := link.receive()) is not None:
            if "run" in frame:
                picture = Picture(link.receive_bytes(), **frame["picture"]) if frame["picture"] else None
                run(frame, picture, sequence, link)


class Link:
    """The pipe to the server, as frames."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)

    def send(self, frame: Frame) -> None:
        """Sends a frame."""
        self._connection.send_bytes(json.dumps(frame).encode())

    def receive(self) -> Frame | None:
        """Waits for a frame; None when the server is gone."""
        try:
            frame: Frame = json.loads(self._connection.recv_bytes())
        except EOFError:
            return None
        return frame

    def receive_bytes(self) -> bytes:
        """Waits for a frame that is no JSON. Raises EOFError when the server is gone."""
        return self._connection.recv_bytes()

    def cancelled(self, run: int) -> bool:
        """Whether the run is to stop, because the server says so or is gone. Does not wait."""
        while self._poll.poll(0):
            frame = self.receive()
            if frame is None or frame.get("cancel") == run:
                return True
        return False


def run(job: Frame, picture: Picture | None, sequence: Sequence, link: Link) -> None:
    """Runs a prompt and sends its tokens and its end."""
    try:
        for frame in _frames(job, picture, sequence, link):
            link.send(frame)
    except (RuntimeError, IndexError) as error:
        sequence.forget()
        link.send({"error": f"chatglm-cpp: {error}"})


def _frames(job: Frame, picture: Picture | None, sequence: Sequence, link: Link) -> Iterator[Frame]:
    stops, left = frozenset(job["stop"]), job["limit"]
    yield {"begun": sequence.begin(job["ids"], picture)}
    for token in sequence.tokens(job["sampling"], job["openings"]):
        if link.cancelled(job["run"]):
            yield {"end": "cancel", "token": None}
            return
        if token is None:  # one more token of the prompt is done
            continue
        if token in stops:
            yield {"end": "stop", "token": token}
            return
        yield {"token": token}
        left -= 1
        if left == 0:
            yield {"end": "length", "token": None}
            return


def _live_no_longer_than_the_parent() -> None:
    """Signals are the server's business, even those that reach all; when the server dies, however it dies, this process
    does too (Linux)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])

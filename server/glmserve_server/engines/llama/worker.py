"""The process that runs llama.cpp: many conversations at a time, knows nothing of gRPC or of what the JSON means.

Started as `python -m glmserve_server.engines.llama.worker FD`; FD is one end of a socket pair. Lines both ways:

    → {"load": {...}}                 the model and llama.cpp's parameters, once, first
    → {"run": k, "ids": bool, "body": {...}}
                                      answer this, the k-th: a prompt of token ids, or a conversation
    → {"cancel": k}                   stop that run
    ← ready                           the model is loaded
    ← fault TEXT                      it cannot be
    ← k {...}                         a chunk of the k-th answer, as llama.cpp made it
    ← k                               the run has ended and its slot is free

A separate process, because the library aborts it on some faults. Each run has a thread, which waits in the library
without Python's lock; the library batches all runs in a thread of its own.
"""

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_BAD_REQUEST: Final = 400
_FAILED: Final = 500
_ERRORS: Final = 1
"""What llama.cpp writes to standard error; of higher numbers it makes lines for each request."""


def main(descriptor: str) -> None:
    """Loads the model and answers until the other end closes."""
    _live_no_longer_than_the_parent()
    link = Link(socket.socket(fileno=int(descriptor)))
    try:
        server = loaded(link.receive()["load"])
    except Exception as error:  # noqa: BLE001 (the library raises what it likes; the server gets the text)
        link.send(b"fault " + " ".join(str(error).split()).encode())
        return
    link.send(b"ready")
    runs: dict[int, Run] = {}
    while frame := link.receive():
        if "run" in frame:
            run = runs[frame["run"]] = Run(frame["run"], link)
            handle = server.handle_completions if frame["ids"] else server.handle_chat_completions
            threading.Thread(target=run.answer, args=(handle, frame["body"], runs), daemon=True).start()
        elif (cancelled := runs.get(frame["cancel"])) is not None:
            cancelled.cancelled = True
    os._exit(0)  # without waiting for runs that nobody reads any more


def loaded(load: dict[str, Any]) -> Any:
    """llama.cpp with a model. Raises whatever the library likes."""
    import xllamacpp

    if not Path(load["model"]).is_file():
        raise FileNotFoundError(f"there is no file {load['model']}")
    params = xllamacpp.CommonParams()
    params.model.path = load["model"]
    params.model_alias = {"model"}
    if load["projector"]:
        params.mmproj.path = load["projector"]
        params.mmproj_use_gpu = False
    params.n_parallel = load["slots"]
    params.n_ctx = load["context_length"] * load["slots"]  # the library divides it over the slots
    params.n_batch = params.n_ubatch = load["batch"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = load["threads"]
    params.n_threads_http = 1
    params.cache_ram_mib = load["cache_mebibytes"]
    params.flash_attn_type = getattr(
        xllamacpp.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{'AUTO' if load['flash_attention'] else 'DISABLED'}"
    )
    params.fit_params = False  # what was planned holds
    params.n_gpu_layers = 0
    params.verbosity = _ERRORS
    params.ui = False
    params.endpoint_slots = False
    params.use_jinja = True
    params.prefill_assistant = False  # a conversation may end with the assistant, who then begins another turn
    params.api_keys = [secrets.token_urlsafe(32)]  # nobody has the key to its HTTP server while that listens
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    server = xllamacpp.Server(params)
    for number, handler in handlers.items():  # the library takes them for itself, and would stop answering
        signal.signal(number, handler)
    _close_listeners()
    return server


def _close_listeners() -> None:
    """Ends the library's HTTP server, which has begun to listen on a port of this machine."""
    for place in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(place.name))) as end:
            if end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                end.shutdown(socket.SHUT_RDWR)


class Link:
    """The socket to the server, as lines."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lines = end.makefile("rb")
        self._sending = threading.Lock()

    def send(self, line: bytes) -> None:
        """Sends a line. A server that is gone ends this process."""
        with self._sending:
            try:
                self._end.sendall(line + b"\n")
            except OSError:
                os._exit(0)

    def receive(self) -> dict[str, Any]:
        """Waits for a line; an empty dict when the server is gone."""
        try:
            line = self._lines.readline()
        except OSError:
            return {}
        frame: dict[str, Any] = json.loads(line) if line else {}
        return frame


class Run:
    """One answer on its way."""

    def __init__(self, number: int, link: Link) -> None:
        self._name = str(number).encode()
        self._link = link
        self._number = number
        self.cancelled = False

    def answer(self, handle: Any, body: dict[str, Any], runs: dict[int, "Run"]) -> None:
        """Runs it; in a thread of its own."""
        try:
            handle(json.dumps(body).encode(), self._pass_on)
        except Exception as error:  # noqa: BLE001 (raised for what cannot be made a prompt; the server gets the text)
            fault = {"code": _FAILED if isinstance(error, MemoryError) else _BAD_REQUEST, "message": str(error)}
            self._link.send(self._name + b" " + json.dumps({"error": fault}).encode())
        finally:
            del runs[self._number]
            self._link.send(self._name)

    def _pass_on(self, chunk: bytes) -> bool:
        """Called by the library with each chunk; True ends the run."""
        if not self.cancelled:
            self._link.send(self._name + b" " + chunk)
        return self.cancelled


def _live_no_longer_than_the_parent() -> None:
    """Signals are the server's business, even those that reach all; when the server dies, however it dies, this process
    does too (Linux)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])

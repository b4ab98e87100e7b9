"""A worker process, seen from the server: started, given one job at a time, stopped, killed."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from glmserve_server.errors import ModelUnavailable, ServeError

KILL_GRACE: Final = 5.0


class WorkerLost(Exception):
    """The process has ended in the middle of its work; the text says how."""


class WorkerFault(ServeError):
    """The library refused to go on with a job; the process lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A prompt to run: token ids, the most tokens to add, the tokens that end it, and chatglm-cpp's sampling knobs."""

    ids: list[int]
    limit: int
    stop_ids: tuple[int, ...]
    sampling: dict[str, float | int | bool]


@dataclass(frozen=True, slots=True)
class End:
    """How a run has ended, and the stop token if one ended it."""

    reason: Literal["stop", "length", "cancel"]
    token: int | None


class WorkerProcess:
    """Used by one thread, which starts and drives it; `cancel` and `kill` may be called from any other.

    `connection` becomes readable outside of `run` only when the process has ended.
    """

    def __init__(self, model: Path, context_length: int, threads: int) -> None:
        """Returns once the model is loaded. Raises `ModelUnavailable` with the reason if it cannot be."""
        self.connection, theirs = multiprocessing.Pipe()
        self._sending = threading.Lock()
        self._runs = 0
        try:
            with theirs:
                self._process = _spawned(theirs.fileno(), model, context_length, threads)
            frame = self._receive()
        except (OSError, WorkerLost) as error:
            raise ModelUnavailable(f"{model}: cannot be loaded: {error}") from None
        if "error" in frame:
            self.close()
            raise ModelUnavailable(f"{model}: cannot be loaded: {frame['error']}")

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def run(self, job: Job) -> Iterator[int | End]:
        """The tokens of the answer as they come, then its end.

        Raises `WorkerLost` when the process dies, `WorkerFault` when the library gives up.
        """
        self._runs += 1
        frame = {"run": self._runs, "ids": job.ids, "limit": job.limit, "stop": job.stop_ids, "sampling": job.sampling}
        try:
            self._send(frame)
        except OSError:
            raise self.epitaph() from None
        while True:
            answer = self._receive()
            if "error" in answer:
                raise WorkerFault(answer["error"])
            if "end" in answer:
                yield End(answer["end"], answer["token"])
                return
            yield answer["token"]

    def cancel(self) -> None:
        """Asks the process to end its present run, which it does after the token that it is computing."""
        with contextlib.suppress(OSError):  # a process that is gone has stopped already
            self._send({"cancel": self._runs})

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process and waits for its end."""
        self.connection.close()
        try:
            self._process.wait(KILL_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, frame: dict[str, Any]) -> None:
        with self._sending:
            self.connection.send_bytes(json.dumps(frame).encode())

    def _receive(self) -> dict[str, Any]:
        try:
            frame: dict[str, Any] = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise self.epitaph() from None
        return frame

    def epitaph(self) -> WorkerLost:
        """How the process ended, which it has or is about to."""
        self.close()
        status = self._process.returncode
        how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
        return WorkerLost(f"the worker process {how}")


def _spawned(descriptor: int, model: Path, context_length: int, threads: int) -> subprocess.Popen[bytes]:
    arguments = [str(descriptor), str(model), str(context_length)]
    return subprocess.Popen(
        [sys.executable, "-m", "glmserve_server.engines.chatglm.worker", *arguments],
        env={**os.environ, "GLMSERVE_THREADS": str(threads)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[descriptor],
    )

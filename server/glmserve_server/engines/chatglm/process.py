"""A worker process, seen from the server: started, given one job at a time, stopped, killed."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from glmserve_server.engines.chatglm.job import Begun, End, Job, WorkerFault, WorkerLost
from glmserve_server.errors import ModelUnavailable

KILL_GRACE: Final = 5.0
"""Seconds that a process has to end when its pipe is closed."""

_SLOWER: Final = 20
"""A prompt may take so many times what the measured costs say: machines are shared."""


class WorkerProcess:
    """Used by one thread, which starts and drives it; `cancel` and `kill` may be called from any other.

    `connection` becomes readable outside of `run` only when the process has ended.
    """

    def __init__(self, model: Path, *, context_length: int, threads: int, reuse: bool, silence: float) -> None:
        """Returns once the model is loaded. Raises `ModelUnavailable` with the reason if it cannot be.

        `silence`: seconds without a word in a run, beyond those that the prompt needs, after which the process is
        taken for dead.
        """
        self.connection, theirs = multiprocessing.Pipe()
        self._sending = threading.Lock()
        self._runs = 0
        self._silence = silence
        try:
            with theirs:
                self._process = _spawned(theirs.fileno(), model, context_length, threads, reuse)
            frame = self._receive(None)
        except (OSError, WorkerLost) as error:
            raise ModelUnavailable(f"{model}: cannot be loaded: {error}") from None
        if "error" in frame:
            self.close()
            raise ModelUnavailable(f"{model}: cannot be loaded: {frame['error']}")
        self._prefill_seconds: float = frame["ready"]

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def run(self, job: Job) -> Iterator[Begun | int | End]:
        """That the run has begun, the tokens of the answer as they come, then its end.

        Raises `WorkerLost` when the process dies, `WorkerFault` when the library gives up.
        """
        self._runs += 1
        frame = {"run": self._runs, "ids": job.ids, "limit": job.limit, "stop": job.stop_ids, "sampling": job.sampling}
        try:
            self._send(frame)
        except OSError:
            raise self.epitaph() from None
        patience = self._silence + len(job.ids) * self._prefill_seconds * _SLOWER
        while True:
            answer = self._receive(patience)
            if (token := answer.get("token")) is not None and "end" not in answer:
                patience = self._silence
                yield token
            elif "begun" in answer:
                yield Begun(answer["begun"])
            elif "error" in answer:
                raise WorkerFault(answer["error"])
            else:
                yield End(answer["end"], answer["token"])
                return

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

    def epitaph(self) -> WorkerLost:
        """How the process ended, which it has or is about to."""
        self.close()
        status = self._process.returncode
        how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
        return WorkerLost(f"the worker process {how}")

    def _send(self, frame: dict[str, Any]) -> None:
        with self._sending:
            self.connection.send_bytes(json.dumps(frame).encode())

    def _receive(self, patience: float | None) -> dict[str, Any]:
        try:
            if not self.connection.poll(patience):
                self.kill()
                self.close()
                raise WorkerLost(f"the worker process said nothing for {patience:.0f} seconds and was killed")
            frame = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise self.epitaph() from None
        except ValueError:
            frame = None
        if not isinstance(frame, dict):
            self.kill()
            self.close()
            raise WorkerLost("the worker process sent garbage and was killed")
        return frame


def _spawned(descriptor: int, model: Path, context_length: int, threads: int, reuse: bool) -> subprocess.Popen[bytes]:
    arguments = [str(descriptor), str(model), str(context_length), str(int(reuse))]
    return subprocess.Popen(
        [sys.executable, "-m", "glmserve_server.engines.chatglm.worker", *arguments],
        env={**os.environ, "GLMSERVE_THREADS": str(threads)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[descriptor],
    )

"""A worker process, seen from the server: started, given one job at a time, stopped, killed."""

import json
import multiprocessing
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from glmserve_server.dialects.progress import Begun, End
from glmserve_server.engines.chatglm.costs import Costs
from glmserve_server.engines.chatglm.job import Job, WorkerFault, WorkerLost
from glmserve_server.errors import ModelUnavailable

CANCEL_GRACE: Final = 1.0
"""Seconds that a process has to end a cancelled run (a prompt cannot be interrupted) before it is killed."""

_LOAD_SECONDS: Final = 900.0
"""A process that loads a model for longer is taken for dead."""

_END_SECONDS: Final = 5.0
"""Seconds that a process has to end when its pipe is closed."""

_SLOWER: Final = 20
"""A prompt may take so many times what the measured costs say: machines are shared."""


class WorkerProcess:
    """Used by one thread, which starts and drives it; only `kill` may be called from any other.

    `connection` becomes readable outside of `run` only when the process has ended.
    """

    def __init__(
        self, model: Path, *, context_length: int, threads: int, reuse: bool, silence: float, bell: Connection
    ) -> None:
        """Starts the process. `silence`: seconds without a word in a run, beyond those that the prompt needs, after
        which it is taken for dead. `bell` becomes readable when there is something to see to, such as a cancel.

        Raises OSError.
        """
        self._model = model
        self._silence = silence
        self._bell = bell
        self._runs = 0
        self.costs = Costs(prefill=0.0, step=0.0, picture=0.0)
        self.connection, theirs = multiprocessing.Pipe()
        with theirs:
            self._process = _spawned(theirs.fileno(), model, context_length, threads, reuse)
        _limit_sending(self.connection, silence)
        self._poll = select.poll()
        self._poll.register(self.connection.fileno(), select.POLLIN)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def load(self) -> None:
        """Waits until the model is loaded. Raises `ModelUnavailable` with the reason if it cannot be."""
        try:
            frame = self._receive(time.monotonic() + _LOAD_SECONDS)
        except WorkerLost as lost:
            raise ModelUnavailable(f"{self._model}: cannot be loaded: {lost}") from None
        if frame is None or "ready" not in frame:
            self.close()
            raise ModelUnavailable(f"{self._model}: cannot be loaded: {(frame or {}).get('error')}")
        self.costs = Costs(**frame["ready"])

    def run(self, job: Job, cancelled: threading.Event) -> Iterator[Begun | int | End]:
        """That the run has begun, the tokens of the answer as they come, then its end.

        Set `cancelled` and ring the bell to end it early. Raises `WorkerLost` when the process dies or is killed
        because it did not end, `WorkerFault` when the library gives up.
        """
        self._runs += 1
        picture = job.picture
        self._send(
            {
                "run": self._runs,
                "ids": job.ids,
                "limit": job.limit,
                "stop": job.stop_ids,
                "sampling": job.sampling,
                "openings": job.openings,
                "picture": {"at": picture.at, "patch": picture.patch} if picture else None,
            }
        )
        if picture:
            self._send_bytes(picture.pixels)
        self._poll.register(self._bell.fileno(), select.POLLIN)
        try:
            yield from self._answer(job, cancelled)
        finally:
            self._poll.unregister(self._bell.fileno())

    def _answer(self, job: Job, cancelled: threading.Event) -> Iterator[Begun | int | End]:
        needs = self.costs.prompt(len(job.ids), picture=job.picture is not None)
        deadline = time.monotonic() + self._silence + needs * _SLOWER
        asked = False
        while True:
            if cancelled.is_set() and not asked:
                asked = True
                deadline = time.monotonic() + CANCEL_GRACE
                self._send({"cancel": self._runs})
            frame = self._receive(deadline, wanted=asked)
            if frame is None:
                continue
            if "error" in frame:
                raise WorkerFault(frame["error"])
            if "begun" in frame:
                yield Begun(frame["begun"])
            elif "end" in frame:
                yield End(frame["end"], frame["token"])
                return
            else:
                if not asked:
                    deadline = time.monotonic() + self._silence
                yield frame["token"]

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process and waits for its end."""
        self.connection.close()
        try:
            self._process.wait(_END_SECONDS)
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
        self._send_bytes(json.dumps(frame).encode())

    def _send_bytes(self, data: bytes) -> None:
        try:
            self.connection.send_bytes(data)
        except BlockingIOError:
            raise self._killed(f"the worker process took nothing for {self._silence:g} seconds") from None
        except OSError:
            raise self.epitaph() from None

    def _receive(self, deadline: float, *, wanted: bool = False) -> dict[str, Any] | None:
        """The next frame, or None when the bell has rung first."""
        patience = max(0.0, deadline - time.monotonic())
        ready = dict(self._poll.poll(patience * 1000))
        if not ready:
            how = "did not end its run" if wanted else f"said nothing for {patience:.0f} seconds"
            raise self._killed(f"the worker process {how}", wanted=wanted)
        if self.connection.fileno() not in ready:
            self._bell.recv_bytes()
            return None
        try:
            frame = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise self.epitaph() from None
        except ValueError:
            frame = None
        if not isinstance(frame, dict):
            raise self._killed("the worker process sent garbage")
        return frame

    def _killed(self, reason: str, *, wanted: bool = False) -> WorkerLost:
        self.kill()
        self.close()
        return WorkerLost(f"{reason} and was killed", wanted=wanted)


def _spawned(descriptor: int, model: Path, context_length: int, threads: int, reuse: bool) -> subprocess.Popen[bytes]:
    arguments = [str(descriptor), str(model), str(context_length), str(int(reuse))]
    return subprocess.Popen(
        [sys.executable, "-m", "glmserve_server.engines.chatglm.worker", *arguments],
        env={**os.environ, "GLMSERVE_THREADS": str(threads)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[descriptor],
    )


def _limit_sending(connection: Connection, seconds: float) -> None:
    """Lets a send fail when the other end takes nothing for so long: a stopped process reads no long prompt."""
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        whole, part = divmod(seconds, 1)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(whole), int(part * 1_000_000)))

"""The worker process, seen from the server: started, spoken to, ended."""

import asyncio
import json
import os
import secrets
import socket
import sys
from dataclasses import asdict, dataclass
from typing import Any, Final

from glmserve_server.errors import ModelUnavailable

_LONGEST_LINE: Final = 1 << 24
_LOAD_SECONDS: Final = 900.0
_END_SECONDS: Final = 5.0

WAITING: Final = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
"""For libgomp, which reads it when it is loaded, unless threads may spin: one that waits for the others looks a
thousand times, some microseconds, and then gives its CPU away. Without looking, two threads are half as fast on CPUs of
their own; with a hundred times as much they fall to a twentieth on CPUs that others use too."""

MARKER: Final = "<__media"
"""What the mark begins with that llama.cpp puts into a prompt where a picture belongs; the rest nobody can guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What llama.cpp is told when it loads a model."""

    model: str
    projector: str
    """The file with which the model sees; empty without."""
    slots: int
    context_length: int
    """Tokens of each slot."""
    threads: int
    batch: int
    """The most tokens of one step: how long a long prompt keeps running answers waiting, and a cancel."""
    cache_mebibytes: int
    """For prompts that no slot holds any more."""
    flash_attention: bool
    spin: bool
    """Whether threads that wait for each other keep their CPUs, as libgomp lets them by itself."""

    @property
    def files(self) -> str:
        """What is loaded, for people."""
        return f"{self.model} with the projector {self.projector}" if self.projector else self.model


def line_of(frame: dict[str, Any]) -> bytes:
    """A frame as the worker reads it. Of the standard library, because numbers may have any size."""
    return json.dumps(frame, separators=(",", ":")).encode() + b"\n"


class WorkerProcess:
    """Used on the event loop."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, load: Load) -> "WorkerProcess":
        """Starts the process and waits until it has loaded the model. Raises `ModelUnavailable` with the reason."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "glmserve_server.engines.llama.worker", str(theirs.fileno())),
                env={
                    **os.environ,
                    **({} if load.spin else WAITING),
                    "LLAMA_MEDIA_MARKER": f"{MARKER}_{secrets.token_hex(16)}__>",
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LONGEST_LINE)
        worker = cls(process, reader, writer)
        try:
            worker.send(line_of({"load": asdict(load)}))
            async with asyncio.timeout(_LOAD_SECONDS):
                answer = await worker.line()
        except BaseException as error:
            await worker.close()
            if isinstance(error, TimeoutError):
                raise ModelUnavailable(f"{load.files}: was not loaded in {_LOAD_SECONDS:g} seconds") from None
            raise
        if answer != b"ready":
            how = await worker.close()
            reason = answer.removeprefix(b"fault ").decode("utf-8", "replace") or f"the worker process {how}"
            raise ModelUnavailable(f"{load.files}: cannot be loaded: {reason}")
        return worker

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, line: bytes) -> None:
        """Sends a line of `line_of`; to a process that has ended, nothing."""
        if not self._writer.is_closing():
            self._writer.write(line)

    async def line(self) -> bytes:
        """The next line, without its end; empty when the process has ended, in the middle of a line or not."""
        try:
            line = await self._reader.readline()
        except (OSError, ValueError):  # ValueError: a line that is too long to be one of the library's
            return b""
        return line[:-1] if line.endswith(b"\n") else b""

    def kill(self) -> None:
        """Ends the process at once."""
        if self._process.returncode is None:
            self._process.kill()

    async def close(self) -> str:
        """Ends the process and waits for its end. Returns how it ended, in words."""
        self._writer.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                status = await self._process.wait()
        except TimeoutError:
            self.kill()
            status = await self._process.wait()
        return f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"

"""Decoder processes, one for each picture: what a file has done to one, the next picture never meets.

Starting one takes about 50 ms of a CPU, so one waits ready once there has been a first picture.
"""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from typing import Final

from glmserve_server.errors import ModelUnavailable, QueueFull
from glmserve_server.images import limits
from glmserve_server.images.frame import SIZE_BYTES, Frame, Pixels, unpacked_size
from glmserve_server.images.unusable import Unusable

_COMMAND: Final = (sys.executable, "-I", "-m", "glmserve_server.images.decoder")

_MOST_WORDS: Final = 1024
"""Bytes of the longest reason for not decoding a picture."""


class Decoders:
    """Decodes pictures, some at a time; others wait, a bounded number of them."""

    def __init__(self, *, at_once: int, queue_limit: int, seconds: float = limits.WALL_SECONDS) -> None:
        """`seconds`: how long one picture may take."""
        self._slots = asyncio.Semaphore(at_once)
        self._queue_limit = queue_limit
        self._seconds = seconds
        self._waiting = 0
        self._ready: Process | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._closed = False

    async def decode(self, data: bytes, frame: Frame) -> Pixels:
        """A picture, brought into the frame as `decoder.py` describes it. Cancelling it ends its process.

        Raises `Unusable`, `QueueFull` when too many wait, `ModelUnavailable` when no process can be started, or none
        gets as far as the picture.
        """
        async with self._slot():
            try:
                return await self._decode(data, frame)
            except _Died as died:
                if died.by == signal.SIGXCPU:
                    raise Unusable(f"takes more than {limits.CPU_SECONDS} seconds of a CPU to decode") from None
            try:  # once more: the process may have been ended from outside
                return await self._decode(data, frame)
            except _Died as died:
                if died.by:
                    raise Unusable(f"cannot be decoded: its decoder {died}, twice") from None
                raise ModelUnavailable(f"Images cannot be decoded at present: the decoder {died}.") from None

    async def aclose(self) -> None:
        """Ends the process that waits."""
        self._closed = True
        if self._preparing is not None:
            await asyncio.wait([self._preparing])
        if self._ready is not None:
            await _end(self._ready)

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._slots.locked() and self._waiting >= self._queue_limit:
            raise QueueFull(f"{self._waiting} images wait to be decoded already, which is the limit.", retry_after=1.0)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def _decode(self, data: bytes, frame: Frame) -> Pixels:
        try:
            process = self._taken() or await _started()
        except OSError as error:
            raise ModelUnavailable(f"Images cannot be decoded at present: {error.strerror}.") from None
        try:
            async with asyncio.timeout(self._seconds):
                answer = await _exchange(process, data, frame)
        except TimeoutError:
            raise Unusable(f"takes longer than {self._seconds:g} seconds to decode") from None
        finally:
            await _end(process)
            self._prepare()
        if isinstance(answer, str):
            raise Unusable(answer)
        return answer

    def _taken(self) -> Process | None:
        """The process that waits, if it still lives."""
        process, self._ready = self._ready, None
        return process if process and process.returncode is None else None

    def _prepare(self) -> None:
        """Starts a process to wait, unless there is one."""
        if not self._closed and self._ready is None and (self._preparing is None or self._preparing.done()):
            self._preparing = asyncio.create_task(self._make_ready())

    async def _make_ready(self) -> None:
        with contextlib.suppress(OSError):  # it is tried again when it is needed
            self._ready = await _started()


class _Died(Exception):
    """A decoder has ended without an answer; `by` is the signal that ended it, or 0."""

    def __init__(self, status: int) -> None:
        super().__init__(f"was ended by signal {-status}" if status < 0 else f"exited with status {status}")
        self.by = -min(status, 0)


async def _started() -> Process:
    """A decoder that has inherited nothing: no descriptors, no environment. Raises OSError."""
    return await asyncio.create_subprocess_exec(
        *_COMMAND, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, cwd="/", limit=1 << 20
    )


async def _exchange(process: Process, data: bytes, frame: Frame) -> Pixels | str:
    """What a decoder says to a picture: all pixels, or words. Raises `_Died`."""
    assert process.stdin is not None  # noqa: S101 (both are pipes)
    assert process.stdout is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # dead: its answer will say so
        process.stdin.write(frame.head)
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
    kind = await _read(process.stdout, 1)
    if kind == b"+" and len(head := await _read(process.stdout, SIZE_BYTES)) == SIZE_BYTES:
        width, height = unpacked_size(head)
        if frame.holds(width, height):
            rows = await _read(process.stdout, 3 * width * height)
            if len(rows) == 3 * width * height:
                return Pixels(width, height, rows)
    elif kind == b"-" and len(words := await _read(process.stdout, _MOST_WORDS + 1)) <= _MOST_WORDS:
        return words.decode("utf-8", "replace")
    raise _Died(await process.wait())


async def _read(stream: asyncio.StreamReader, most: int) -> bytes:
    """So many bytes, or those before the end."""
    made = bytearray()
    while len(made) < most and (piece := await stream.read(most - len(made))):
        made += piece
    return bytes(made)


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()  # reads what is left: the end of a pipe that is full is never seen

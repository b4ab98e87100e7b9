"""The `glmserve` command as a child process, with everything that it starts."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

COMMAND = Path(sys.executable).with_name("glmserve")
MODEL = "tiny-glm4"
SEEING = "tiny-glm4v"


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
            text=True,
            env={**os.environ, "GLMSERVE_CONFIG": ""},  # none that happens to lie here
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
        return [process for process in self.family() if "glmserve_server.engines.chatglm.worker" in process.cmdline()]

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

"""The bare token loop of chatglm-cpp in a process of its own: what a server can reach at most.

`python -m benchmarks.bare MODEL CONTEXT` reads lines `{"ids": [...], "tokens": n}` and answers each with
`{"first": seconds, "total": seconds, "ids": [...]}`. The number of threads comes from GLMSERVE_THREADS.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import glmserve_server.engines.chatglm

THREADS_LIBRARY: Final = Path(glmserve_server.engines.chatglm.__file__).with_name("libhardware_concurrency.so")


class Bare:
    """That process, from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, ids: list[int], tokens: int) -> dict[str, Any]:
        """Runs a prompt and that many greedy steps."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has no pipes")
        self._process.stdin.write(json.dumps({"ids": ids, "tokens": tokens}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def bare(model: Path, *, context: int, threads: int) -> Iterator[Bare]:
    """The process, for one model."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bare", str(model), str(context)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GLMSERVE_THREADS": str(threads)},
    ) as process:
        yield Bare(process)
        process.stdin.close()  # type: ignore[union-attr]


def main(model: str, context: str) -> None:
    """Answers lines until the input ends."""
    ctypes.CDLL(str(THREADS_LIBRARY), mode=ctypes.RTLD_GLOBAL)
    from chatglm_cpp import _C

    pipeline, greedy = _C.Pipeline(model, int(context)), _C.GenerationConfig(do_sample=False)
    for line in sys.stdin:
        job = json.loads(line)
        sys.stdout.write(json.dumps(_run(pipeline.model.generate_next_token, greedy, job)) + "\n")
        sys.stdout.flush()


def _run(step: Any, greedy: Any, job: dict[str, Any]) -> dict[str, Any]:
    ids = list(job["ids"])
    prompt, past, first = len(ids), 0, 0.0
    begun = time.perf_counter()
    for _ in range(job["tokens"]):
        token = step(ids, None, greedy, past, prompt)
        past = len(ids)
        ids.append(token)
        first = first or time.perf_counter() - begun
    return {"first": first, "total": time.perf_counter() - begun, "ids": ids[prompt:]}


if __name__ == "__main__":
    main(*sys.argv[1:])

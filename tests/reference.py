"""What chatglm-cpp itself makes of conversations: `python reference.py MODEL LIMIT`, conversations as JSON on stdin.

Prints, for each, the ids of the prompt, the text of the likeliest answer, and the number of its tokens. A process of
its own, because the library takes all CPUs unless it is told otherwise before it is imported.
"""

import ctypes
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glmserve_server.engines.chatglm.worker import _THREADS_LIBRARY


@dataclass(frozen=True)
class Answer:
    """What the library does with a conversation."""

    prompt: list[int]
    text: str
    tokens: int


def library_answers(model: Path, talks: list[list[tuple[str, str]]], *, limit: int) -> list[Answer]:
    """The library's answers, greedy and of so many tokens at most."""
    done = subprocess.run(
        [sys.executable, __file__, str(model), str(limit)],
        input=json.dumps(talks),
        env={**os.environ, "GLMSERVE_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Answer(**answer) for answer in json.loads(done.stdout)]


def _answer(library: Any, pipeline: Any, talk: list[tuple[str, str]], limit: int) -> dict[str, Any]:
    messages = [library.ChatMessage(role=role, content=text) for role, text in talk]
    prompt = pipeline.tokenizer.apply_chat_template(messages, 1 << 20)
    stops = {pipeline.model.config.eos_token_id, *pipeline.model.config.extra_eos_token_ids}
    config = library._C.GenerationConfig(do_sample=False)
    ids, past = list(prompt), 0
    while len(ids) < len(prompt) + limit:
        token = pipeline.model.generate_next_token(ids, None, config, past, len(prompt))
        if token in stops:
            break
        past = len(ids)
        ids.append(token)
    said = ids[len(prompt) :]
    return {"prompt": prompt, "text": _decoded(pipeline, said), "tokens": len(said)}


def _decoded(pipeline: Any, ids: list[int]) -> str:
    for size in range(len(ids), -1, -1):  # the limit may cut a character
        try:
            return str(pipeline.tokenizer.decode(ids[:size]))
        except UnicodeDecodeError:
            continue
    return ""


if __name__ == "__main__":
    ctypes.CDLL(str(_THREADS_LIBRARY), mode=ctypes.RTLD_GLOBAL)
    import chatglm_cpp

    loaded = chatglm_cpp.Pipeline(sys.argv[1])
    json.dump([_answer(chatglm_cpp, loaded, talk, int(sys.argv[2])) for talk in json.load(sys.stdin)], sys.stdout)

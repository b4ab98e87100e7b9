"""What JSON costs: requests parsed and answers rendered, with orjson as it is used and with the standard module."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import process_time
from types import SimpleNamespace
from typing import Any, Final

from benchmarks.comparison import Session, main
from benchmarks.result import Result, Table, ratio, spread
from glmserve.v1 import chat_pb2
from glmserve_gateway import body, render
from glmserve_gateway.parse import parse_chat_call

SIDES: Final = ("json", "orjson")
SECONDS: Final = 0.2
"""CPU time for one measurement."""

Measured = dict[str, dict[str, list[float]]]
"""By what was done and side: microseconds of CPU, one number per round."""


async def compare(session: Session) -> Result:
    """The two sides in turns, in one process; the gateway's own code is the same on both."""
    parsing = {name: _parse(_body(request)) for name, request in _requests().items()}
    rendering = {"an event of one token": _render_event(), "a whole answer of 100 words": _render_answer()}
    seen: Measured = {name: {side: [] for side in SIDES} for name in (*parsing, *rendering)}
    for number in range(session.rounds):
        for side in SIDES[:: -1 if number % 2 else 1]:
            with _with(side):
                for name, work in (*parsing.items(), *rendering.items()):
                    seen[name][side].append(_microseconds(work, 0.01 if session.quick else SECONDS))
    return Result(
        title="Requests parsed and answers rendered",
        method=f"CPU time of one call in one process, {session.rounds} rounds in turns. Parsing is from the bytes of a "
        "body to a ChatCompletionRequest, rendering from the contract's message to the bytes that are sent. Medians, "
        "least and greatest in brackets.",
        tables=[_table("Parse, µs of CPU per request", parsing, seen), _table("Render, µs of CPU", rendering, seen)],
        raw=seen,
    )


def _table(title: str, names: dict[str, Any], seen: Measured) -> Table:
    rows = [[name, *(spread(seen[name][side]) for side in SIDES), ratio(*seen[name].values())] for name in names]
    return Table(title=title, columns=["", *SIDES, "less"], rows=rows)


@contextmanager
def _with(side: str) -> Iterator[None]:
    """Puts one of the two in the place where the gateway looks for orjson."""
    if side == "orjson":
        yield
        return
    used = body.orjson
    standard = SimpleNamespace(
        loads=json.loads, dumps=_dumps, JSONDecodeError=json.JSONDecodeError, JSONEncodeError=TypeError
    )
    body.orjson = render.orjson = standard  # type: ignore[assignment, attr-defined]
    try:
        yield
    finally:
        body.orjson = render.orjson = used  # type: ignore[attr-defined]


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _microseconds(work: Callable[[], object], seconds: float) -> float:
    work()
    times = 1
    while True:
        began = process_time()
        for _ in range(times):
            work()
        if (took := process_time() - began) >= seconds:
            return took / times * 1e6
        times = max(times * 2, int(times * seconds / took) if took else 0)


def _parse(data: bytes) -> Callable[[], object]:
    return lambda: parse_chat_call(data)


def _render_event() -> Callable[[], object]:
    renderer = render.ChunkRenderer(chat_pb2.Started(id="chatcmpl-" + "a" * 32, model="tiny-glm4"))
    event = chat_pb2.StreamChatCompletionResponse(text=chat_pb2.TextDelta(text=" word"))
    renderer.render(event)  # the first one brings the role along
    return lambda: renderer.render(event)


def _render_answer() -> Callable[[], object]:
    response = chat_pb2.CreateChatCompletionResponse(id="chatcmpl-" + "a" * 32, model="tiny-glm4")
    response.choices.add(finish_reason=chat_pb2.FINISH_REASON_STOP).message.content.add(text=_words(100))
    return lambda: render.chat_completion(response)


def _requests() -> dict[str, dict[str, Any]]:
    return {
        "a chat of 2 messages": {"messages": _messages(2)},
        "a chat of 50 messages": {"messages": _messages(50)},
        "20 tools": {"messages": _messages(2), "tools": [_tool(number) for number in range(20)]},
        "an image of 1 MB": {"messages": [_picture(10**6)]},
        "10,000 numbers": {"messages": _messages(2), "metadata": {"numbers": list(range(10_000))}},
    }


def _body(request: dict[str, Any]) -> bytes:
    return _dumps({"model": "tiny-glm4", "temperature": 0.8, "max_tokens": 256, "stream": True, **request})


def _words(number: int) -> str:
    return " ".join(["word"] * number)


def _messages(number: int) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[i % 2], "content": _words(50)} for i in range(number)]


def _tool(number: int) -> dict[str, Any]:
    names = [f"parameter_{i}" for i in range(5)]
    properties = {name: {"type": "string", "description": _words(10), "enum": ["a", "b", "c"]} for name in names}
    parameters = {"type": "object", "properties": properties, "required": names}
    function = {"name": f"tool_{number}", "description": _words(20), "parameters": parameters}
    return {"type": "function", "function": function}


def _picture(size: int) -> dict[str, Any]:
    url = "data:image/png;base64," + base64.b64encode(os.urandom(size)).decode()
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


if __name__ == "__main__":
    main(compare, name="parse_render", rounds=5)

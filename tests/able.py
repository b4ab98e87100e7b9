"""An upstream that does what a request asks: calls functions, holds to schemas, tells log probabilities.

It stands for an able model where a test is about the packages that ask for such things. It knows no language.
"""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

from upstreams import DONE, HEAD, Upstream, chunk, failure, usage

BUSY = failure("429 Too Many Requests", "retry-after: 1", message="Too many callers.")
"""What a question gets that begins with `/busy`, when it is asked for the first time."""


class Able(Upstream):
    """Serves `able`. See the rules at `_said`."""

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    def respond(self, connection: socket.socket, body: bytes) -> None:
        """See `Upstream.respond`."""
        request = json.loads(body)
        question = _question(request)
        if question.startswith("/busy") and question not in self._known:
            connection.sendall(BUSY)
        else:
            connection.sendall(HEAD + b"".join(_events(request)) + DONE)
        self._known.add(question)


def _events(request: dict[str, Any]) -> Iterator[bytes]:
    called = _called(request)
    if called is None:
        pieces = re.findall(r"\s*\S+", _said(request))
        limit = request.get("max_completion_tokens", len(pieces))
        for piece in pieces[:limit]:
            token = {"token": piece, "logprob": -0.5, "bytes": list(piece.encode()), "top_logprobs": []}
            more: dict[str, Any] = {"logprobs": {"content": [token]}} if request.get("logprobs") else {}
            yield chunk({"content": piece}, **more)
        yield chunk(finish="stop" if limit >= len(pieces) else "length")
    else:
        name, arguments = called
        yield chunk({"tool_calls": [{"index": 0, "id": "call-1", "function": {"name": name, "arguments": ""}}]})
        for piece in re.findall(".{1,7}", arguments, re.DOTALL):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        yield chunk(finish="tool_calls")
    yield usage(11, 7)


def _called(request: dict[str, Any]) -> tuple[str, str] | None:
    """The function that is called, with its arguments: the one that was named, else the first one."""
    choice = request.get("tool_choice", "auto")
    if "tools" not in request or choice == "none" or request["messages"][-1]["role"] == "tool":
        return None
    functions = {tool["function"]["name"]: tool["function"] for tool in request["tools"]}
    name = choice["function"]["name"] if isinstance(choice, dict) else next(iter(functions))
    schema = functions[name].get("parameters", {})
    return name, json.dumps(_example(schema, schema, _question(request)), ensure_ascii=False)


def _said(request: dict[str, Any]) -> str:
    """JSON if it is asked for, the result if a function was called, else a greeting."""
    form = request.get("response_format", {"type": "text"})
    if form["type"] == "json_schema":
        schema = form["json_schema"]["schema"]
        return json.dumps(_example(schema, schema, _question(request)))
    if form["type"] == "json_object":
        return json.dumps(dict.fromkeys(re.findall(r"'(\w+)'", _question(request)), "word"))
    last = request["messages"][-1]
    return f"It says {last['content']}." if last["role"] == "tool" else "Hello, here I am."


def _question(request: dict[str, Any]) -> str:
    contents = [message["content"] for message in request["messages"] if message["role"] == "user"]
    return contents[-1] if isinstance(contents[-1], str) else ""


def _example(schema: dict[str, Any], root: dict[str, Any], question: str) -> Any:
    """A value that fits a schema; numbers and quoted texts are those of the question."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        schema = schema["anyOf"][0]
    match schema.get("type", "object"):
        case "object":
            return {name: _example(part, root, question) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [_example(schema["items"], root, question)]
        case "integer" | "number":
            return int((re.findall(r"\d+", question) or ["1"])[0])
        case "boolean":
            return True
        case _:
            return (re.findall(r"'([^']+)'", question) or ["word"])[0]

"""The body of a `POST` to `chat/completions` to a `ChatCompletionRequest`.

Pure. Checks the form of everything and the range of nothing but what protobuf cannot hold: ranges are the server's,
which checks the typed request once for both faces.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from glmserve.v1 import chat_pb2
from glmserve_gateway.body import Json, decode
from glmserve_gateway.errors import InvalidRequest
from glmserve_gateway.fields import FIELDS, Fate, Field

NOTHING: Mapping[str, Json] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """A request, and what the contract does not hold because it only shapes the HTTP answer."""

    request: chat_pb2.ChatCompletionRequest
    stream: bool
    """Answer with server-sent events."""
    include_usage: bool
    """End the events with the usage."""
    functions: bool
    """The tools came as `functions`, so calls go back as `function_call`."""
    ignored: tuple[str, ...]
    """Preferences that no model here can honour, by name."""
    answer: Mapping[str, Any]
    """What the fields say that shape the answer, by name."""
    names: Mapping[str, str]
    """The contract's fields that the request gave under another name, for the paths in errors."""
    others: tuple[chat_pb2.ChatCompletionRequest, ...] = ()
    """The same request with other prompts, whose answers are part of the answer."""
    echo: tuple[str, ...] = ()
    """The prompts' texts, if the answer is to begin with them; known once the answer begins."""

    @property
    def requests(self) -> tuple[chat_pb2.ChatCompletionRequest, ...]:
        """All requests that the backend gets."""
        return (self.request, *self.others)

    def given_names(self, fields: Iterable[str]) -> list[str]:
        """The names under which the request gave fields of the contract."""
        names: list[str] = []
        for field in fields:
            given = [name for target, name in self.names.items() if target.partition(".")[0] == field]
            names += given or [field]
        return names


def parse_chat_call(
    data: bytes,
    fields: Sequence[Field] = FIELDS,
    *,
    required: Sequence[str] = ("messages",),
    defaults: Mapping[str, Json] = NOTHING,
) -> ChatCall:
    """Reads a request body by a table of fields; raises `InvalidRequest` naming the first that is wrong.

    `required`: one of these must be there. `defaults` stand for fields that are not there; null is there.
    """
    body = {**defaults, **decode(data)}
    request = chat_pb2.ChatCompletionRequest()
    answer: dict[str, Any] = {}
    ignored: list[str] = []
    sources: dict[str, str] = {}
    for field in fields:
        if (value := body.get(field.name)) is None:
            continue
        read = field.read(value, field.name)
        match field.target:
            case Fate.ANSWER:
                answer[field.name] = read
            case Fate.IGNORED if read:
                ignored.append(field.name)
            case str(target) if read is not None:
                _put(request, target, read, source=field.name, earlier=sources.get(target))
                sources[target] = field.name
    if all(body.get(name) is None for name in required):
        raise InvalidRequest(f"{' or '.join(required)} is required", required[0])
    return _chat_call(request, answer, tuple(ignored), sources)


def _chat_call(
    request: chat_pb2.ChatCompletionRequest, answer: dict[str, Any], ignored: tuple[str, ...], sources: dict[str, str]
) -> ChatCall:
    stream = answer.get("stream", False)
    if "stream_options" in answer and not stream:
        raise InvalidRequest('stream_options is allowed only with "stream": true', "stream_options")
    return ChatCall(
        request=request,
        stream=stream,
        include_usage=answer.get("stream_options", False),
        functions=sources.get("tools") == "functions",
        ignored=ignored,
        answer=answer,
        names={target: source for target, source in sources.items() if target != source},
    )


def _put(request: Message, target: str, value: Any, *, source: str, earlier: str | None) -> None:
    """Sets the field that `target` leads to. `earlier` is another name that has set it already."""
    *parents, name = target.split(".")
    holder = request
    for parent in parents:
        holder = getattr(holder, parent)
    held = getattr(holder, name)
    if earlier is not None:
        if held != value:
            raise InvalidRequest(f"{earlier} and {source} are two names for one thing and must not differ", source)
    elif isinstance(value, list):
        held.extend(value)
    elif isinstance(value, dict):
        held.update(value)
    elif isinstance(value, Message):
        held.CopyFrom(value)
    else:
        setattr(holder, name, value)

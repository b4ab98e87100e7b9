"""The form of an answer: what llama.cpp is told to hold it to, and whether it has.

llama.cpp's grammars know less of JSON Schema than llguidance, which holds the other answers, and gives up where one
takes it too long. What comes out is read here once more, byte by byte, which is easy, so that nobody takes an answer
that is none for good.
"""

import json
from typing import Any, Final

from glmserve.v1.chat_pb2 import (
    FINISH_REASON_LENGTH,
    FINISH_REASON_TOOL_CALLS,
    ChatCompletionRequest,
    StreamChatCompletionResponse,
)
from glmserve_server.errors import InvalidArgument

_ONE_LINE: Final = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""llguidance's, by its documentation of JSON Schema. White space would else have no bound, and small models write
nothing else until their limit. (A pattern with a bound is kept by newer versions than the one in llama.cpp.)"""


def response_schema(request: ChatCompletionRequest) -> dict[str, Any] | bool | None:
    """The schema that the text of an answer follows; None: any text will do."""
    match request.response_format.WhichOneof("format"):
        case "json_object":
            return {"type": "object"}
        case "json_schema":
            schema: dict[str, Any] | bool = json.loads(request.response_format.json_schema.schema_json)
            return schema
    return None


def one_line(schema: dict[str, Any] | bool) -> str:
    """A grammar for llama.cpp with which JSON comes as `json.dumps` writes it."""
    return _grammar(on_one_line(schema))


def on_one_line(schema: dict[str, Any] | bool) -> dict[str, Any] | bool:
    """A schema for llama.cpp, with which JSON comes as `json.dumps` writes it."""
    return _guided(schema, _ONE_LINE)


class Form:
    """One answer beside the schema of its text. Without a schema everything is right, and so are calls of tools."""

    def __init__(self, request: ChatCompletionRequest) -> None:
        """For a thread: a large schema takes its time."""
        schema = response_schema(request)
        self._request = request
        self._matcher = matcher(schema) if schema is not None else None

    def check(self, event: StreamChatCompletionResponse) -> None:
        """Raises `InvalidArgument` for the first text that the schema does not allow, and for an end too early."""
        if self._matcher is None:
            return
        if event.HasField("text") and not self._matcher.consume_tokens(list(event.text.text.encode())):
            raise left(self._request)
        if event.HasField("finished") and not (
            event.finished.finish_reason in (FINISH_REASON_LENGTH, FINISH_REASON_TOOL_CALLS)
            or event.finished.HasField("stop_string")
            or self._matcher.is_accepting()
        ):
            raise left(self._request)


def matcher(schema: dict[str, Any] | bool) -> Any:
    """llguidance's matcher of the bytes of an answer, with any white space between the parts of its JSON."""
    from llguidance import LLMatcher, LLTokenizer

    return LLMatcher(LLTokenizer("byte"), _grammar(_guided(schema, {})), log_level=0)


def _grammar(schema: dict[str, Any] | bool) -> str:
    return f"%llguidance {{}}\nstart: %json {json.dumps(schema)}"


def _guided(schema: dict[str, Any] | bool, settings: dict[str, Any]) -> dict[str, Any] | bool:
    """A schema with llguidance's settings. Those that came with it are not heard: `lenient` passes over half of it."""
    return schema is not False and ({} if schema is True else schema) | {"x-guidance": settings}


def left(request: ChatCompletionRequest) -> InvalidArgument:
    """What is said of an answer that is no longer what its schema wants."""
    kind = request.response_format.WhichOneof("format")
    field = "response_format" + (".json_schema.schema_json" if kind == "json_schema" else "")
    return InvalidArgument(
        f"{field} asks for more than this model's answers can be held to, and the answer has left it: make it "
        "simpler, above all its patterns and the bounds of its numbers",
        field=field,
    )

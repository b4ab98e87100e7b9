"""The face of Zhipu's SDKs, `zhipuai` and `zai-sdk`: `/api/paas/v4`."""

import re
from collections.abc import Mapping
from dataclasses import replace

import grpc
from google.rpc import status_pb2
from typing_extensions import override

from glmserve.v1 import chat_pb2, error_pb2, tool_pb2
from glmserve_gateway import render
from glmserve_gateway.body import Json
from glmserve_gateway.errors import InvalidRequest, OpenAIError, Unsupported, error_body, openai_error
from glmserve_gateway.face import ClosingChunks, Face
from glmserve_gateway.fields import Fate, Field, unsupported, with_fields
from glmserve_gateway.parse import ChatCall, parse_chat_call
from glmserve_gateway.tools import tools
from glmserve_gateway.values import Reader, boolean, items, mapping, number, reads, string

_R = error_pb2.ErrorReason

CODES: Mapping[error_pb2.ErrorReason.ValueType, str] = {
    _R.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: "1261",  # the prompt is too long
    _R.ERROR_REASON_MODEL_NOT_FOUND: "1211",  # there is no such model
    _R.ERROR_REASON_INVALID_API_KEY: "1002",  # the token is not valid
    _R.ERROR_REASON_QUEUE_FULL: "1302",  # too many requests at once
    _R.ERROR_REASON_DEADLINE_EXCEEDED: "1230",  # the call went wrong
    _R.ERROR_REASON_WORKER_DIED: "1230",
    _R.ERROR_REASON_SHUTTING_DOWN: "1305",  # the model is not to be had at present
    _R.ERROR_REASON_MODEL_UNAVAILABLE: "1305",
    _R.ERROR_REASON_INTERNAL: "500",
}
"""The numbers that Zhipu documents for what can go wrong here. Requests at fault have `INVALID` or `INVALID_FIELD`."""

INVALID = "1210"
INVALID_FIELD = "1214"

FINISH_REASONS: render.FinishReasons = {
    **render.FINISH_REASONS,
    chat_pb2.FINISH_REASON_CONTENT_FILTER: "sensitive",
}

_HOSTED_TOOLS = ("code_interpreter", "drawing_tool", "mcp", "retrieval", "web_browser", "web_search")
_SANE_ID = re.compile(r"[!-~]{1,128}")


def between(least: float, most: float) -> Reader[float]:
    """Numbers in the range that the hosted service takes."""

    @reads({"type": "number", "minimum": least, "maximum": most})
    def read(value: Json, path: str) -> float:
        given = number(value, path)
        if not least <= given <= most:
            raise InvalidRequest(f"{path} must be from {least:g} to {most:g}, not {given:g}", path)
        return given

    return read


@reads({"type": "string"})
def request_id(value: Json, path: str) -> str | None:
    """The caller's name for the request, if it is short and printable."""
    given = string(value, path)
    return given if _SANE_ID.fullmatch(given) else None


@reads({"type": "array", "maxItems": 128, "items": {"$ref": "#/components/schemas/ZhipuTool"}})
def functions_only(value: Json, path: str) -> list[tool_pb2.Tool]:
    """The tools, none of them one that the hosted service runs itself; one that is turned off is left out."""
    wanted = []
    for i, tool in enumerate(items(value, path)):
        type_ = mapping(tool, f"{path}[{i}]").get("type")
        if type_ in _HOSTED_TOOLS and not _is_off(tool.get(type_)):
            raise Unsupported(f"{path}[{i}].type must not be {type_}: only Zhipu runs that tool", f"{path}[{i}].type")
        if type_ not in _HOSTED_TOOLS:
            wanted.append(tool)
    return tools(wanted, path)


def _is_off(options: Json) -> bool:
    return isinstance(options, dict) and options.get("enable") is False


FIELDS = with_fields(
    Field("tools", "tools", functions_only, "Functions that the model may call, none that only Zhipu runs"),
    Field("temperature", "temperature", between(0, 1), "Randomness; 0 is always the likeliest token"),
    Field("top_p", "top_p", between(0, 1), "Draw among the likeliest tokens that have this probability together"),
    Field("user_id", "user", string, "Another name of `user`"),
    Field("request_id", Fate.ANSWER, request_id, "Echoed, if it is at most 128 printable ASCII characters"),
    Field("do_sample", Fate.ANSWER, boolean, "`false`: greedy, whatever `temperature` and `top_p` say"),
    Field("tool_stream", Fate.ANSWER, boolean, "`true`: the arguments of a call come in pieces"),
    Field("meta", Fate.ACCEPTED, mapping, "Who plays which role"),
    Field("watermark_enabled", Fate.ACCEPTED, boolean, "A mark in pictures"),
    Field("sensitive_word_check", Fate.IGNORED, mapping, "A filter of words"),
    Field("extra", Fate.REFUSED, unsupported("it is for CodeGeeX"), "Code around the cursor"),
)
"""OpenAI's fields, and Zhipu's own."""


class ZhipuChunks(ClosingChunks):
    """Gives a tool call whole, as the hosted service does unless `tool_stream` asks for its pieces."""

    def __init__(
        self, started: chat_pb2.Started, *, functions: bool = False, tool_stream: bool, more: Mapping[str, str]
    ) -> None:
        super().__init__(started, functions=functions, reasons=FINISH_REASONS, more=more)
        self._tool_stream = tool_stream
        self._call: chat_pb2.ToolCallDelta | None = None
        """The call that is being made."""
        self._arguments: list[str] = []
        """The pieces of its arguments, joined at its end: each `+=` would copy all that came before."""

    @override
    def render(self, event: chat_pb2.StreamChatCompletionResponse) -> bytes:
        if self._tool_stream or not event.HasField("tool_call"):
            return self._end_call() + super().render(event)
        call, piece = self._call, event.tool_call
        if call is not None and (call.choice_index, call.index) == (piece.choice_index, piece.index):
            self._arguments.append(piece.arguments_json)
            return b""
        ended = self._end_call()
        self._call, self._arguments = chat_pb2.ToolCallDelta(), [piece.arguments_json]
        self._call.CopyFrom(piece)
        return ended

    def _end_call(self) -> bytes:
        call, self._call = self._call, None
        if call is None:
            return b""
        call.arguments_json = "".join(self._arguments)
        return super().render(chat_pb2.StreamChatCompletionResponse(tool_call=call))


def zhipu_error(status: status_pb2.Status, names: Mapping[str, str] | None = None) -> OpenAIError:
    """Words a rich status as Zhipu's API does: a number as a string, and a message."""
    error = openai_error(status, names)
    number_ = CODES.get(error.reason)
    if number_ is None:
        number_ = "500" if error.http_status >= 500 else INVALID_FIELD if error.param else INVALID
    return replace(
        error,
        # The SDKs have a class for 400 and none for 404.
        code=grpc.StatusCode.INVALID_ARGUMENT if error.code is grpc.StatusCode.NOT_FOUND else error.code,
        http_status=400 if error.http_status == 404 else error.http_status,
        body=error_body({"code": number_, "message": error.message}),
    )


def _parse(data: bytes) -> ChatCall:
    call = parse_chat_call(data, FIELDS)
    if call.answer.get("do_sample") is False:
        call.request.temperature = 0
        call.request.ClearField("top_p")
    return call


def _whole(response: chat_pb2.CreateChatCompletionResponse, call: ChatCall) -> bytes:
    more = {"request_id": call.answer.get("request_id") or response.id}
    return render.chat_completion(response, functions=call.functions, reasons=FINISH_REASONS, more=more)


def _chunks(started: chat_pb2.Started, call: ChatCall) -> render.ChunkRenderer:
    more = {"request_id": call.answer.get("request_id") or started.id}
    tool_stream = call.answer.get("tool_stream", False)
    return ZhipuChunks(started, functions=call.functions, tool_stream=tool_stream, more=more)


ZHIPU = Face(parse=_parse, whole=_whole, chunks=_chunks, error=zhipu_error)
"""`/api/paas/v4`."""

"""Answers of `glmserve.v1` to OpenAI's JSON and server-sent events, byte for byte.

Pure. Knows nothing about requests but the facts that shape an answer.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from glmserve.v1 import chat_pb2, message_pb2, model_pb2
from glmserve_gateway.errors import OpenAIError
from glmserve_gateway.parameters import parameters

JSON_TYPE = "application/json"
EVENTS_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"

FinishReasons: TypeAlias = Mapping[chat_pb2.FinishReason.ValueType, str]

FINISH_REASONS: FinishReasons = {
    chat_pb2.FINISH_REASON_STOP: "stop",
    chat_pb2.FINISH_REASON_LENGTH: "length",
    chat_pb2.FINISH_REASON_TOOL_CALLS: "tool_calls",
    chat_pb2.FINISH_REASON_CONTENT_FILTER: "content_filter",
}
NOTHING: Mapping[str, str] = {}
_CAPABILITIES = model_pb2.Capabilities.DESCRIPTOR.fields
_LEAST_LOGPROB = -9999.0
"""What OpenAI gives for minus infinity, which JSON cannot hold."""


def chat_completion(
    response: chat_pb2.CreateChatCompletionResponse,
    *,
    functions: bool = False,
    reasons: FinishReasons = FINISH_REASONS,
    more: Mapping[str, str] = NOTHING,
) -> bytes:
    """A whole answer as `chat.completion`.

    `functions`: calls go back as `function_call`, the old form. `reasons` are words for the end, `more` is added.
    """
    return orjson.dumps(
        {
            "id": response.id,
            "object": "chat.completion",
            "created": response.created.seconds,
            "model": response.model,
            **more,
            "choices": [_choice(choice, functions, reasons) for choice in response.choices],
            "usage": usage_json(response.usage),
        }
    )


def model(model: model_pb2.Model, *, refuse_ignored: bool = False) -> bytes:
    """One model."""
    return orjson.dumps(_model(model, refuse_ignored))


def model_list(models: Sequence[model_pb2.Model], *, refuse_ignored: bool = False) -> bytes:
    """The list of models."""
    return orjson.dumps({"object": "list", "data": [_model(model, refuse_ignored) for model in models]})


def error_event(error: OpenAIError) -> bytes:
    """An error after the first byte. Nothing may follow: after `[DONE]` the answer would pass for a whole one."""
    return b"data: " + error.body + b"\n\n"


class ChunkRenderer:
    """Turns the events of one stream into server-sent events of `chat.completion.chunk`.

    The first piece of each choice brings the chunk with its role along, so that nothing leaves before it.
    """

    kind = "chat.completion.chunk"
    """What `object` says."""

    def __init__(
        self,
        started: chat_pb2.Started,
        *,
        include_usage: bool = False,
        functions: bool = False,
        reasons: FinishReasons = FINISH_REASONS,
        more: Mapping[str, str] = NOTHING,
    ) -> None:
        head = {
            "id": started.id,
            "object": self.kind,
            "created": started.created.seconds,
            "model": started.model,
            **more,
        }
        self._head = b"data: " + orjson.dumps(head)[:-1] + b',"choices":['
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._text_end = b'},"logprobs":null,"finish_reason":null}' + self._tail
        self._text_begin: dict[int, bytes] = {}
        self._include_usage = include_usage
        self._functions = functions
        self._reasons = reasons

    def render_all(self, events: Iterable[chat_pb2.StreamChatCompletionResponse]) -> bytes:
        """The bytes for some events, one after the other."""
        return b"".join(map(self.render, events))

    def render(self, event: chat_pb2.StreamChatCompletionResponse) -> bytes:
        """The bytes for an event; empty for one that the caller does not see. The usage, the last, ends with `DONE`."""
        match event.WhichOneof("event"):
            case "text":
                return self._text(event.text)
            case "reasoning":
                delta = {"reasoning_content": event.reasoning.text}
                return self._delta(event.reasoning.choice_index, delta)
            case "tool_call":
                return self._call_delta(event.tool_call)
            case "finished":
                return self._finished(event.finished)
            case "usage":
                return self._usage(event.usage) + DONE
            case _:
                return b""

    def _call_delta(self, call: chat_pb2.ToolCallDelta) -> bytes:
        if self._functions and call.index > 0:  # the old form has room for one, as in a whole answer
            return b""
        delta = _function_delta(call) if self._functions else _tool_delta(call)
        return self._delta(call.choice_index, delta, content=None)

    def _finished(self, finished: chat_pb2.Finished) -> bytes:
        reason = _finish_reason(finished.finish_reason, self._functions, self._reasons)
        return self._delta(finished.choice_index, {}, finish_reason=reason)

    def _usage(self, usage: chat_pb2.Usage) -> bytes:
        if not self._include_usage:
            return b""
        return self._head + b'],"usage":' + orjson.dumps(usage_json(usage)) + b"}\n\n"

    def _text(self, delta: chat_pb2.TextDelta) -> bytes:
        begin = self._text_begin.get(delta.choice_index)
        if begin is None or delta.logprobs:
            return self._delta(delta.choice_index, {"content": delta.text}, logprobs=logprobs(delta.logprobs))
        return begin + orjson.dumps(delta.text) + self._text_end

    def _delta(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        content: str | None = "",
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> bytes:
        """Any chunk; before the first of a choice, the one with the role, whose `content` is empty or null."""
        role = b""
        if index not in self._text_begin:
            self._text_begin[index] = self._head + b'{"index":%d,"delta":{"content":' % index
            role = self._chunk(index, {"role": "assistant", "content": content, "refusal": None}, None, None)
        return role + self._chunk(index, delta, logprobs, finish_reason)

    def _chunk(
        self, index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None, finish_reason: str | None
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._head + orjson.dumps(choice) + self._tail


def _choice(choice: chat_pb2.Choice, functions: bool, reasons: FinishReasons) -> dict[str, Any]:
    return {
        "index": choice.index,
        "message": _message(choice.message, functions),
        "logprobs": logprobs(choice.logprobs),
        "finish_reason": _finish_reason(choice.finish_reason, functions, reasons),
    }


def _message(message: message_pb2.Message, functions: bool) -> dict[str, Any]:
    content = "".join(part.text for part in message.content)
    made: dict[str, Any] = {
        "role": "assistant",
        "content": content if content or not message.tool_calls else None,
        "refusal": None,
    }
    if message.HasField("reasoning_content"):
        made["reasoning_content"] = message.reasoning_content
    if message.tool_calls and functions:
        call = message.tool_calls[0]
        made["function_call"] = {"name": call.name, "arguments": call.arguments_json}
    elif message.tool_calls:
        made["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    return made


def _tool_call(call: message_pb2.ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_json}}


def _tool_delta(call: chat_pb2.ToolCallDelta) -> dict[str, Any]:
    delta: dict[str, Any] = {"index": call.index}
    function = {"arguments": call.arguments_json}
    if call.HasField("id"):
        delta |= {"id": call.id, "type": "function"}
        function = {"name": call.name, **function}
    return {"tool_calls": [{**delta, "function": function}]}


def _function_delta(call: chat_pb2.ToolCallDelta) -> dict[str, Any]:
    name = {"name": call.name} if call.HasField("name") else {}
    return {"function_call": {**name, "arguments": call.arguments_json}}


def _finish_reason(reason: chat_pb2.FinishReason.ValueType, functions: bool, reasons: FinishReasons) -> str:
    name = reasons.get(reason, "stop")
    return "function_call" if functions and name == "tool_calls" else name


def usage_json(usage: chat_pb2.Usage) -> dict[str, Any]:
    """The tokens of an answer, counted."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def logprobs(tokens: Iterable[chat_pb2.TokenLogprob]) -> dict[str, Any] | None:
    """The log probabilities of a piece of an answer; None if there are none."""
    content = [{**_token(token), "top_logprobs": [_token(other) for other in token.top_logprobs]} for token in tokens]
    return {"content": content, "refusal": None} if content else None


def _token(token: chat_pb2.TokenLogprob | chat_pb2.TopLogprob) -> dict[str, Any]:
    return {"token": token.token, "logprob": finite(token.logprob), "bytes": list(token.bytes)}


def finite(logprob: float) -> float:
    """A log probability as JSON can hold it."""
    return logprob if math.isfinite(logprob) else _LEAST_LOGPROB


def _model(model: model_pb2.Model, refuse_ignored: bool) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created.seconds,
        "owned_by": model.owned_by,
        "glmserve": {
            "engine": model.engine,
            "aliases": list(model.aliases),
            "context_length": model.context_length or None,
            "capabilities": {field.name: getattr(model.capabilities, field.name) for field in _CAPABILITIES},
            "parameters": parameters(model, refuse_ignored=refuse_ignored),
        },
    }

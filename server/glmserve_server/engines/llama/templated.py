"""Answers in the words of llama.cpp's own templates and parsers: conversations go to it as OpenAI's JSON.

The JSON and the reading of its chunks are those of the upstream engine.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import orjson

from glmserve.v1.chat_pb2 import (
    FINISH_REASON_STOP,
    ChatCompletionRequest,
    Finished,
    StreamChatCompletionResponse,
    TextDelta,
    TokenLogprob,
    Usage,
)
from glmserve.v1.tool_pb2 import ToolChoice
from glmserve_server.dialects.prompts import least_tokens, too_long
from glmserve_server.engines.llama.batch import Chunk
from glmserve_server.engines.llama.form import one_line, response_schema
from glmserve_server.engines.llama.ggufheader import GgufHeader, tokens_of
from glmserve_server.engines.llama.logprobs import asked_of_llama
from glmserve_server.engines.llama.process import MARKER
from glmserve_server.engines.llama.specials import SpecialTokens
from glmserve_server.engines.upstream.reply import Reply
from glmserve_server.engines.upstream.request import chat_body
from glmserve_server.errors import InvalidArgument, Unsupported
from glmserve_server.text import StopStrings

_OURS: Final = (
    "model",
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
    "stop",
    "ignore_eos",
    "top_logprobs",
    "prompt_cache_key",
    "user",
    "tool_choice",
)
"""What of OpenAI's JSON is said otherwise."""

_LOGPROBS: Final = "logprobs: this model gives no log probabilities"

_MAX_DEPTH: Final = 64
"""Of the arguments of an earlier call, as of all of a request over HTTP."""

_TEMPLATE_KEY: Final = "tokenizer.chat_template"


class Template:
    """What a file's own chat template makes of requests."""

    def __init__(self, header: GgufHeader, *, sees: bool = False) -> None:
        """`sees`: it is shown pictures."""
        text = "".join(str(value) for key, value in header.values.items() if key.startswith(_TEMPLATE_KEY))
        self.known = bool(text)
        """Whether the file has one; else llama.cpp takes the most common one, without tools."""
        self.tools = "tool_calls" in text and "tools" in text
        """Whether it shows tools, and earlier calls in the way of OpenAI's API; there are some that do but the one."""
        self.reasoning = "enable_thinking" in text
        """Whether it can switch thoughts on and off."""
        self._thinks = "think" in text
        self._longest_token = max((len(token.encode()) for token in tokens_of(header.path)), default=0) or 1 << 20
        self._special = SpecialTokens(header.special | {MARKER} if sees else header.special)

    def check_length(self, request: ChatCompletionRequest, context_length: int, *, most: int) -> None:
        """Raises `ContextLengthExceeded` for what must have more than `most` tokens: llama.cpp would read all of it."""
        if (least := least_tokens(request, self._longest_token)) > most:
            raise too_long(request, context_length, f"at least {least}")

    def body(self, request: ChatCompletionRequest) -> dict[str, Any]:
        """What is asked of llama.cpp, but for the sampling. For a thread: texts may be long.

        Raises `Unsupported` for what it would not hold, `InvalidArgument` for what the template cannot show.
        """
        body = {name: value for name, value in chat_body(_narrowed(request), "").items() if name not in _OURS}
        body |= {
            "return_progress": True,
            "timings_per_token": True,
            "verbose": True,
            "max_tokens": body.pop("max_completion_tokens", -1),
        }
        body["messages"] = [
            self._special.message(_joined(_with_objects(message, f"messages[{index}]")))
            for index, message in enumerate(body["messages"])
        ]
        body |= self._tools(body.pop("tools", []), request)
        if (schema := response_schema(request)) is not None:
            del body["response_format"]
            body |= self._form(schema, calls="tools" in body)
        if request.logprobs:
            if "tools" in body:
                raise Unsupported(f"{_LOGPROBS} together with tools", field="logprobs")
            body["top_logprobs"] = asked_of_llama(request)
        return body

    def _form(self, schema: dict[str, Any] | bool, *, calls: bool) -> dict[str, Any]:
        """llama.cpp's own way leaves room for thoughts and calls, but holds to less than a schema can say."""
        if calls or self._thinks:
            return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
        return {"grammar": one_line(schema)}

    def _tools(self, tools: list[dict[str, Any]], request: ChatCompletionRequest) -> dict[str, Any]:
        """What the model is shown of tools: none of those that it must not call."""
        mode = _mode(request.tool_choice)
        if not tools or mode == "none":
            return {}
        places = {tool.function.name: f"tools[{place}].function" for place, tool in enumerate(request.tools)}
        return {"tools": [self._tool(tool, places) for tool in json.loads(orjson.dumps(tools))], "tool_choice": mode}

    def _tool(self, tool: dict[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
        if tool["type"] != "function":
            raise Unsupported(f"tools: this model knows functions only, not {tool['type']}", field="tools")
        return self._special.tool(tool, places[tool["function"]["name"]])


def _with_objects(message: dict[str, Any], field: str) -> dict[str, Any]:
    """A message with calls whose arguments are JSON objects: templates take them apart."""
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        function["arguments"] = function["arguments"].strip() or "{}"
        _check_object(function["arguments"], f"{field}.tool_calls[{index}].arguments_json")
    return message


def _check_object(text: str, field: str) -> None:
    """Raises `InvalidArgument` for what is no JSON object, or one too deep to be gone through."""
    try:
        value = json.loads(text)
        deep = _is_deep(value)
    except ValueError:
        value, deep = None, False
    except RecursionError:
        deep = True
    if deep:
        raise InvalidArgument(f"{field} is nested deeper than {_MAX_DEPTH} levels", field=field)
    if not isinstance(value, dict):
        raise InvalidArgument(f"{field} must be a JSON object, not {text[:64]!r}", field=field)


def _is_deep(value: Any) -> bool:
    """Whether JSON has more levels than may be. Goes from level to level, not into the depth."""
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        level = [node for node in level if isinstance(node, dict | list)]
        if not level:
            return False
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
    return True


def _joined(message: dict[str, Any]) -> dict[str, Any]:
    """A message in which no text follows another: llama.cpp would put a line's end between."""
    if isinstance(message["content"], list):
        message["content"] = list(_parts(message["content"]))
    return message


def _parts(parts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for kind, group in groupby(parts, itemgetter("type")):
        if kind == "text":
            yield {"type": kind, "text": "".join(part["text"] for part in group)}
        else:
            yield from group


def _narrowed(request: ChatCompletionRequest) -> ChatCompletionRequest:
    """The same without the functions that must not be called: llama.cpp knows no choice among them."""
    match request.tool_choice.WhichOneof("choice"):
        case "function_name":
            names = {request.tool_choice.function_name}
        case "allowed_tools":
            names = set(request.tool_choice.allowed_tools.function_names)
        case _:
            return request
    narrowed = ChatCompletionRequest()
    narrowed.CopyFrom(request)
    del narrowed.tools[:]
    narrowed.tools.extend(tool for tool in request.tools if tool.function.name in names)
    return narrowed


def _mode(choice: ToolChoice) -> str:
    modes = (choice.mode, choice.allowed_tools.mode)
    if choice.HasField("function_name") or ToolChoice.MODE_REQUIRED in modes:
        return "required"
    return "none" if choice.mode == ToolChoice.MODE_NONE else "auto"


class TemplatedAnswer:
    """One choice, from chunk to events. Stop strings are looked for in the text, not in thoughts and arguments."""

    def __init__(self, request: ChatCompletionRequest, index: int) -> None:
        self._reply = Reply(ChatCompletionRequest(logprobs=request.logprobs), ())
        self._stops = StopStrings(request.stop)
        self._index = index
        self._most = request.top_logprobs
        self._usage = Usage()
        self._logprobs: list[TokenLogprob] = []
        """Those of text that is held back, for it could become a stop string."""
        self._stopped = False
        self.ended = False

    def read(self, chunk: Chunk) -> Iterator[StreamChatCompletionResponse]:
        """The events that a chunk makes."""
        if progress := chunk.get("prompt_progress"):
            self._usage = Usage(prompt_tokens=progress["total"], cached_tokens=progress["cache"])
            return
        self._usage.completion_tokens = (chunk.get("timings") or {}).get("predicted_n", 0)
        self._stopped = self._stopped or (chunk.get("__verbose") or {}).get("stop_type") == "eos"
        for event in self._reply.read(orjson.dumps(chunk).decode()):
            yield from map(self._placed, self._shown(event))
            if self.ended:
                return
        if chunk.get("usage"):
            self.ended = True
            yield self._placed(self._reply.end())

    def _shown(self, event: StreamChatCompletionResponse) -> Iterator[StreamChatCompletionResponse]:
        """The event, or what a stop string leaves of it."""
        if event.HasField("text"):
            self._logprobs += event.text.logprobs
            yield from self._text(self._stops.feed(event.text.text))
            if self._stops.matched is not None:
                self.ended = True
                finished = Finished(finish_reason=FINISH_REASON_STOP, stop_string=self._stops.matched)
                yield StreamChatCompletionResponse(finished=finished)
                yield StreamChatCompletionResponse(usage=self._usage)
            return
        if event.HasField("reasoning"):
            self._usage.reasoning_tokens = self._usage.completion_tokens
        yield from self._text(self._stops.flush())
        yield event

    def _text(self, text: str) -> Iterator[StreamChatCompletionResponse]:
        if text:
            yield StreamChatCompletionResponse(text=TextDelta(text=text, logprobs=self._logprobs))
            self._logprobs = []

    def _placed(self, event: StreamChatCompletionResponse) -> StreamChatCompletionResponse:
        kind = event.WhichOneof("event")
        if kind == "started":
            event.started.prompt_tokens = self._usage.prompt_tokens
            event.started.cached_tokens = self._usage.cached_tokens
        elif kind == "usage":
            event.usage.completion_tokens -= self._stopped  # llama.cpp counts the end token
            event.usage.reasoning_tokens = self._usage.reasoning_tokens  # it does not count these
        elif kind is not None:
            getattr(event, kind).choice_index = self._index
        if kind == "text":
            for token in event.text.logprobs:
                del token.top_logprobs[self._most :]
        return event

"""Answers in the words of our dialects: prompts go to llama.cpp as token ids, and its tokens through a reader.

`Answer`, which knows of stop strings, calls and limits, is the same as for the chatglm engine.
"""

import json
from collections.abc import Iterator, Set
from typing import Any

from glmserve.v1.chat_pb2 import ChatCompletionRequest, StreamChatCompletionResponse
from glmserve.v1.tool_pb2 import FunctionTool
from glmserve_server.dialects.answer import Answer, Piece
from glmserve_server.dialects.dialect import AnswerReader, Prompt
from glmserve_server.dialects.progress import Begun, End, Written
from glmserve_server.dialects.toolbox import Toolbox
from glmserve_server.engines.llama import schemas
from glmserve_server.engines.llama.batch import Chunk
from glmserve_server.engines.llama.form import on_one_line, response_schema
from glmserve_server.engines.llama.logprobs import Logprobs, asked_of_llama
from glmserve_server.errors import Unsupported


def body_of(request: ChatCompletionRequest, prompt: Prompt, limit: int) -> dict[str, Any]:
    """What is asked of llama.cpp, but for the sampling. Raises `Unsupported` for a form that it cannot hold."""
    body: dict[str, Any] = {
        "prompt": prompt.ids,
        "max_tokens": limit,
        "stream": True,
        "return_progress": True,
        "verbose": True,  # else it shows no ids
    }
    if request.logprobs:
        body["logprobs"] = asked_of_llama(request)
    return body | _form(request)


def _form(request: ChatCompletionRequest) -> dict[str, Any]:
    """What holds the answer to a form: of the response, or of the call that it must be."""
    toolbox = Toolbox.of(request)
    _check_strict(request, toolbox)
    if len(toolbox.required) > 1:
        names = " | ".join(json.dumps(f"{name}\n") for name in toolbox.required)
        return {"grammar": f"root ::= ({names}) [^\\x00]*"}
    if toolbox.required:
        [function] = (function for function in toolbox.functions if function.name == toolbox.required[0])
        return {"json_schema": on_one_line(_arguments(function))}
    schema = response_schema(request)
    return {} if schema is None else {"json_schema": on_one_line(schema)}


def _arguments(function: FunctionTool) -> dict[str, Any]:
    """The schema that a call's arguments are held to: its own, or any object if llama.cpp cannot follow that."""
    schema: dict[str, Any] = json.loads(function.parameters_json or "{}")
    return schema if schema.get("properties") and schemas.fault(schema) is None else {"type": "object"}


def _check_strict(request: ChatCompletionRequest, toolbox: Toolbox) -> None:
    """Only a call that the answer begins with can be held to a schema."""
    for index, tool in enumerate(request.tools):
        function, field = tool.function, f"tools[{index}].function.strict"
        if not function.strict or not toolbox:
            continue
        if toolbox.required != (function.name,):
            raise Unsupported(
                f"{field}: this model's calls are strict only if tool_choice names the function", field=field
            )
        if reason := schemas.fault(json.loads(function.parameters_json or "{}")):
            raise Unsupported(f"{field}: the parameters cannot be followed: {reason}", field=field)


class SpokenAnswer:
    """One choice, from chunk to events."""

    def __init__(
        self,
        reader: AnswerReader,
        stop_ids: Set[int],
        request: ChatCompletionRequest,
        index: int,
        prompt_tokens: int,
    ) -> None:
        self._answer = Answer(reader, request, index, prompt_tokens)
        self._stop_ids = stop_ids
        self._stop_token: int | None = None
        self._logprobs = Logprobs(request)

    @property
    def ended(self) -> bool:
        """Whether nothing more is wanted."""
        return self._answer.ended

    def read(self, chunk: Chunk) -> Iterator[StreamChatCompletionResponse]:
        """The events that a chunk makes."""
        piece = self._piece(chunk)
        for event in self._answer.read(piece) if piece is not None else ():
            if event.HasField("usage"):
                event.usage.completion_tokens = chunk["__verbose"]["tokens_predicted"] - (self._stop_token is not None)
            yield self._logprobs.given_to(event)

    def _piece(self, chunk: Chunk) -> Piece | None:
        if progress := chunk.get("prompt_progress"):
            return Begun(progress["cache"])
        shown, choice = chunk["__verbose"], chunk["choices"][0]
        if choice["finish_reason"] is not None:
            return End("stop", self._stop_token) if shown["stop_type"] == "eos" else End("length", None)
        token, text = shown["tokens"][0], choice["text"]
        if token in self._stop_ids:
            self._stop_token = token
            return None
        self._logprobs.add(choice["logprobs"])
        # Tokens that complete no character do not come; those that are no text have their meaning by id.
        return [Written(text) if text else token]

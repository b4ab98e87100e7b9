"""One chat call over either face, with the same words for what comes back."""

import base64
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import grpc
import openai
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from openai.types.chat import ChatCompletionChunk
from running import Glmserve

from glmserve.v1 import chat_pb2, message_pb2, tool_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart, Image
from glmserve.v1.message_pb2 import Message, ToolCall
from glmserve.v1.tool_pb2 import AllowedTools, FunctionTool, Tool, ToolChoice

Turn = tuple[str, str] | dict[str, Any]
"""A role, as OpenAI calls it, and what is said; or a whole message of OpenAI's."""

Call = tuple[str, str]
"""A tool call: the name and the arguments."""


@dataclass
class Reply:
    """An answer, whole or put together from its pieces."""

    text: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ignored: list[str] = field(default_factory=list)
    call_ids: list[str] = field(default_factory=list, compare=False)
    cached_tokens: int = field(default=0, compare=False)

    def add_call(self, index: int, call_id: str | None, name: str | None, arguments: str) -> None:
        """A piece of a call: the first names it, once and whole, the others do not."""
        if index == len(self.calls):
            assert call_id
            assert name
            self.call_ids.append(call_id)
            self.calls.append((name, arguments))
        else:
            assert not call_id
            assert not name
            self.calls[index] = (self.calls[index][0], self.calls[index][1] + arguments)


class Refused(Exception):
    """An error, as the caller sees it: HTTP's status number, the parameter, OpenAI's code, the message."""

    def __init__(self, status: int, param: str | None, code: str | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code


class Face(Protocol):
    """A way to the server."""

    def ask(self, turns: Sequence[Turn], **parameters: Any) -> Reply:
        """One answer, whole. Raises `Refused`."""
        ...

    def stream(self, turns: Sequence[Turn], **parameters: Any) -> Generator[Reply, None, None]:
        """The answer so far, after each piece. Raises `Refused`. Closing the generator leaves the call."""
        ...


class GrpcFace:
    """Generated stubs, straight to the server."""

    _STATUS: ClassVar = {
        grpc.StatusCode.INVALID_ARGUMENT: 400,
        grpc.StatusCode.NOT_FOUND: 404,
        grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
        grpc.StatusCode.UNAVAILABLE: 503,
        grpc.StatusCode.INTERNAL: 500,
        grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    }
    _CODE: ClassVar = {
        "ERROR_REASON_CONTEXT_LENGTH_EXCEEDED": "context_length_exceeded",
        "ERROR_REASON_MODEL_NOT_FOUND": "model_not_found",
    }

    def __init__(self, stub: ChatServiceStub) -> None:
        self._stub = stub

    def ask(self, turns: Sequence[Turn], **parameters: Any) -> Reply:
        """See `Face.ask`."""
        try:
            response = self._stub.CreateChatCompletion(_request(turns, parameters))
        except grpc.RpcError as error:
            raise self._refused(error) from None
        choice = response.choices[0]
        return Reply(
            text="".join(part.text for part in choice.message.content),
            reasoning=choice.message.reasoning_content,
            calls=[(call.name, call.arguments_json) for call in choice.message.tool_calls],
            call_ids=[call.id for call in choice.message.tool_calls],
            finish=_finish(choice.finish_reason),
            prompt_tokens=response.usage.prompt_tokens,
            completion_tokens=response.usage.completion_tokens,
            cached_tokens=response.usage.cached_tokens,
            ignored=list(response.ignored),
        )

    def stream(self, turns: Sequence[Turn], **parameters: Any) -> Generator[Reply, None, None]:
        """See `Face.stream`."""
        call = self._stub.StreamChatCompletion(_request(turns, parameters))
        reply = Reply()
        try:
            for event in call:
                match event.WhichOneof("event"):
                    case "started":
                        reply.ignored = list(event.started.ignored)
                    case "text":
                        reply.text += event.text.text
                    case "reasoning":
                        reply.reasoning += event.reasoning.text
                    case "tool_call":
                        call_id, name = event.tool_call.id, event.tool_call.name
                        reply.add_call(event.tool_call.index, call_id, name, event.tool_call.arguments_json)
                    case "finished":
                        reply.finish = _finish(event.finished.finish_reason)
                    case "usage":
                        reply.prompt_tokens = event.usage.prompt_tokens
                        reply.completion_tokens = event.usage.completion_tokens
                yield reply
        except grpc.RpcError as error:
            raise self._refused(error) from None
        finally:
            call.cancel()

    def _refused(self, error: Any) -> Refused:
        field_name, reason = None, ""
        for detail in rpc_status.from_call(error).details:
            bad, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
            if detail.Unpack(bad):
                field_name = bad.field_violations[0].field
            if detail.Unpack(info):
                reason = info.reason
        return Refused(self._STATUS[error.code()], field_name, self._CODE.get(reason), error.details())


class HttpFace:
    """The official SDK, through Envoy."""

    def __init__(self, server: Glmserve) -> None:
        self._client = openai.OpenAI(
            base_url=server.openai_url, api_key="none", max_retries=0, _strict_response_validation=True
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def ask(self, turns: Sequence[Turn], **parameters: Any) -> Reply:
        """See `Face.ask`."""
        try:
            raw = self._client.chat.completions.with_raw_response.create(messages=_messages(turns), **_sdk(parameters))
        except openai.APIStatusError as error:
            raise _http_refused(error) from None
        completion = raw.parse()
        message = completion.choices[0].message
        calls = message.tool_calls or []
        return Reply(
            text=message.content or "",
            reasoning=getattr(message, "reasoning_content", ""),
            calls=[(call.function.name, call.function.arguments) for call in calls],
            call_ids=[call.id for call in calls],
            finish=completion.choices[0].finish_reason,
            prompt_tokens=completion.usage.prompt_tokens,
            completion_tokens=completion.usage.completion_tokens,
            cached_tokens=completion.usage.prompt_tokens_details.cached_tokens,
            ignored=_listed(raw.headers.get("x-glmserve-ignored")),
        )

    def stream(self, turns: Sequence[Turn], **parameters: Any) -> Generator[Reply, None, None]:
        """See `Face.stream`."""
        reply = Reply()
        try:
            with self._client.chat.completions.create(
                messages=_messages(turns), stream=True, stream_options={"include_usage": True}, **_sdk(parameters)
            ) as chunks:
                reply.ignored = _listed(chunks.response.headers.get("x-glmserve-ignored"))
                for chunk in chunks:
                    _add(reply, chunk)
                    yield reply
        except openai.APIStatusError as error:
            raise _http_refused(error) from None
        except openai.APIError as error:  # in the middle of a stream there is no status any more
            raise Refused(503, None, error.code, error.message) from None


def _add(reply: Reply, chunk: ChatCompletionChunk) -> None:
    for choice in chunk.choices:
        reply.text += choice.delta.content or ""
        reply.reasoning += getattr(choice.delta, "reasoning_content", "")
        for call in choice.delta.tool_calls or []:
            assert call.function is not None
            reply.add_call(call.index, call.id, call.function.name, call.function.arguments or "")
        reply.finish = choice.finish_reason or reply.finish
    if chunk.usage is not None:
        reply.prompt_tokens = chunk.usage.prompt_tokens
        reply.completion_tokens = chunk.usage.completion_tokens


def _request(turns: Sequence[Turn], parameters: dict[str, Any]) -> ChatCompletionRequest:
    """A request of the contract from OpenAI's words for one."""
    if "tools" in parameters:
        parameters["tools"] = [_tool(tool) for tool in parameters["tools"]]
    if "tool_choice" in parameters:
        parameters["tool_choice"] = _tool_choice(parameters["tool_choice"])
    return ChatCompletionRequest(messages=[_message(turn) for turn in turns], **parameters)


def _message(turn: Turn) -> Message:
    if isinstance(turn, tuple):
        turn = {"role": turn[0], "content": turn[1]}
    return Message(
        role=message_pb2.Role.Value(f"ROLE_{turn['role'].upper()}"),
        content=list(_parts(turn.get("content"))),
        tool_call_id=turn.get("tool_call_id"),
        tool_calls=[
            ToolCall(id=call["id"], name=call["function"]["name"], arguments_json=call["function"]["arguments"])
            for call in turn.get("tool_calls", [])
        ],
    )


def _parts(content: Any) -> Iterator[ContentPart]:
    parts: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    for part in parts:
        if part["type"] == "text":
            yield ContentPart(text=part["text"])
        else:
            head, comma, data = part["image_url"]["url"].partition(";base64,")
            yield ContentPart(image=Image(data=base64.b64decode(data)) if comma else Image(url=head))


def _tool(tool: dict[str, Any]) -> Tool:
    if tool["type"] != "function":
        return Tool(builtin=tool_pb2.BuiltinTool.Value(f"BUILTIN_TOOL_{tool['type'].upper()}"))
    function = dict(tool["function"])
    if "parameters" in function:
        function["parameters_json"] = json.dumps(function.pop("parameters"))
    return Tool(function=FunctionTool(**function))


def _tool_choice(choice: Any) -> ToolChoice:
    if isinstance(choice, str):
        return ToolChoice(mode=ToolChoice.Mode.Value(f"MODE_{choice.upper()}"))
    if choice["type"] == "function":
        return ToolChoice(function_name=choice["function"]["name"])
    allowed = choice["allowed_tools"]
    names = [tool["function"]["name"] for tool in allowed["tools"]]
    mode = ToolChoice.Mode.Value(f"MODE_{allowed['mode'].upper()}")
    return ToolChoice(allowed_tools=AllowedTools(mode=mode, function_names=names))


def _finish(reason: chat_pb2.FinishReason.ValueType) -> str:
    return chat_pb2.FinishReason.Name(reason).removeprefix("FINISH_REASON_").lower()


def _messages(turns: Sequence[Turn]) -> Any:
    return [{"role": turn[0], "content": turn[1]} if isinstance(turn, tuple) else turn for turn in turns]


def _sdk(parameters: dict[str, Any]) -> Any:
    """What OpenAI does not know goes into `extra_body`."""
    extra = {
        name: parameters.pop(name)
        for name in ("top_k", "min_p", "repetition_penalty", "ignore_eos")
        if name in parameters
    }
    return {**parameters, "extra_body": extra}


def _listed(header: str | None) -> list[str]:
    return [name.strip() for name in header.split(",")] if header else []


def _http_refused(error: openai.APIStatusError) -> Refused:
    body = json.loads(error.response.content)["error"]
    return Refused(error.status_code, body["param"], body["code"], body["message"])


@contextmanager
def opened(name: str, server: Glmserve) -> Iterator[Face]:
    """The way called `grpc` or `http` to a server."""
    if name == "grpc":
        with grpc.insecure_channel(server.grpc_address) as channel:
            yield GrpcFace(ChatServiceStub(channel))
    else:
        face = HttpFace(server)
        try:
            yield face
        finally:
            face.close()

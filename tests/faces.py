"""One chat call over either face, with the same words for what comes back."""

import base64
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import client_ways
import grpc
import httpx
import openai
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from openai.types.chat import ChatCompletionChunk
from running import Glmserve

from glmserve.v1 import chat_pb2, message_pb2, tool_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest, Prompt, TokenIds
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart, Image
from glmserve.v1.message_pb2 import Message, ToolCall
from glmserve.v1.token_pb2 import DetokenizeRequest, TokenizeRequest
from glmserve.v1.token_pb2_grpc import TokenServiceStub
from glmserve.v1.tool_pb2 import AllowedTools, FunctionTool, Tool, ToolChoice
from glmserve_client import Usage, errors

Turn = tuple[str, str] | dict[str, Any]
"""A role, as OpenAI calls it, and what is said; or a whole message of OpenAI's."""

Raw = str | list[int]
"""A raw prompt: a text or tokens."""

Tokenized = tuple[list[int], list[str], int]
"""Ids, what they stand for if asked for, and the context length."""

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

    def complete(self, prompt: Raw, **parameters: Any) -> Reply:
        """What follows a raw prompt, whole. Raises `Refused`."""
        ...

    def complete_stream(self, prompt: Raw, **parameters: Any) -> Generator[Reply, None, None]:
        """The same so far, after each piece. Raises `Refused`. Closing the generator leaves the call."""
        ...

    def tokenize(self, text: str | Sequence[Turn], **parameters: Any) -> Tokenized:
        """The tokens of a text or a conversation. Raises `Refused`."""
        ...

    def detokenize(self, ids: Sequence[int], model: str) -> str:
        """The text of tokens. Raises `Refused`."""
        ...


class GrpcFace:
    """Generated stubs, straight to the server."""

    _STATUS: ClassVar = {
        grpc.StatusCode.INVALID_ARGUMENT: 400,
        grpc.StatusCode.UNAUTHENTICATED: 401,
        grpc.StatusCode.NOT_FOUND: 404,
        grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
        grpc.StatusCode.UNAVAILABLE: 503,
        grpc.StatusCode.INTERNAL: 500,
        grpc.StatusCode.DEADLINE_EXCEEDED: 504,
        grpc.StatusCode.UNIMPLEMENTED: 501,
    }
    _CODE: ClassVar = {
        "ERROR_REASON_CONTEXT_LENGTH_EXCEEDED": "context_length_exceeded",
        "ERROR_REASON_MODEL_NOT_FOUND": "model_not_found",
    }

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = ChatServiceStub(channel)
        self._tokens = TokenServiceStub(channel)

    def ask(self, turns: Sequence[Turn], **parameters: Any) -> Reply:
        """See `Face.ask`."""
        return self._whole(request_of(turns, parameters))

    def stream(self, turns: Sequence[Turn], **parameters: Any) -> Generator[Reply, None, None]:
        """See `Face.stream`."""
        return self._pieces(request_of(turns, parameters))

    def complete(self, prompt: Raw, **parameters: Any) -> Reply:
        """See `Face.complete`."""
        return self._whole(_raw_request(prompt, parameters))

    def complete_stream(self, prompt: Raw, **parameters: Any) -> Generator[Reply, None, None]:
        """See `Face.complete_stream`."""
        return self._pieces(_raw_request(prompt, parameters))

    def tokenize(self, text: str | Sequence[Turn], *, texts: bool = False, **parameters: Any) -> Tokenized:
        """See `Face.tokenize`."""
        chat = _raw_request(text, parameters) if isinstance(text, str) else request_of(text, parameters)
        try:
            response = self._tokens.Tokenize(TokenizeRequest(chat=chat, include_token_texts=texts))
        except grpc.RpcError as error:
            raise self._refused(error) from None
        return list(response.token_ids), list(response.token_texts), response.context_length

    def detokenize(self, ids: Sequence[int], model: str) -> str:
        """See `Face.detokenize`."""
        try:
            return self._tokens.Detokenize(DetokenizeRequest(model=model, token_ids=ids)).text
        except grpc.RpcError as error:
            raise self._refused(error) from None

    def _whole(self, request: ChatCompletionRequest) -> Reply:
        try:
            response = self._stub.CreateChatCompletion(request)
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

    def _pieces(self, request: ChatCompletionRequest) -> Generator[Reply, None, None]:
        call = self._stub.StreamChatCompletion(request)
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
                        reply.cached_tokens = event.usage.cached_tokens
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
        # For text completions the SDK's types know no chunk before the last, whose finish_reason is null.
        self._lenient = openai.OpenAI(base_url=server.openai_url, api_key="none", max_retries=0)
        self._edge = server.edge_url

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()
        self._lenient.close()

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

    def complete(self, prompt: Raw, **parameters: Any) -> Reply:
        """See `Face.complete`."""
        try:
            raw = self._client.completions.with_raw_response.create(prompt=prompt, **_sdk(_older(parameters)))
        except openai.APIStatusError as error:
            raise _http_refused(error) from None
        completion = raw.parse()
        choice = completion.choices[0]
        return Reply(
            text=choice.text,
            finish=choice.finish_reason,
            prompt_tokens=completion.usage.prompt_tokens,
            completion_tokens=completion.usage.completion_tokens,
            cached_tokens=completion.usage.prompt_tokens_details.cached_tokens,
            ignored=_listed(raw.headers.get("x-glmserve-ignored")),
        )

    def complete_stream(self, prompt: Raw, **parameters: Any) -> Generator[Reply, None, None]:
        """See `Face.complete_stream`."""
        reply = Reply()
        try:
            with self._lenient.completions.create(
                prompt=prompt, stream=True, stream_options={"include_usage": True}, **_sdk(_older(parameters))
            ) as chunks:
                reply.ignored = _listed(chunks.response.headers.get("x-glmserve-ignored"))
                for chunk in chunks:
                    for choice in chunk.choices:
                        reply.text += choice.text
                        reply.finish = choice.finish_reason or reply.finish
                    if chunk.usage is not None:
                        reply.prompt_tokens = chunk.usage.prompt_tokens
                        reply.completion_tokens = chunk.usage.completion_tokens
                        reply.cached_tokens = chunk.usage.prompt_tokens_details.cached_tokens
                    yield reply
        except openai.APIStatusError as error:
            raise _http_refused(error) from None
        except openai.APIError as error:
            raise Refused(503, None, error.code, error.message) from None

    def tokenize(self, text: str | Sequence[Turn], *, texts: bool = False, **parameters: Any) -> Tokenized:
        """See `Face.tokenize`."""
        given = {"prompt": text} if isinstance(text, str) else {"messages": _messages(text)}
        made = self._post("tokenize", {**given, "return_token_strs": texts, **parameters})
        assert made["count"] == len(made["tokens"])
        return made["tokens"], made["token_strs"] or [], made["max_model_len"]

    def detokenize(self, ids: Sequence[int], model: str) -> str:
        """See `Face.detokenize`."""
        return str(self._post("detokenize", {"model": model, "tokens": ids})["prompt"])

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        response = httpx.post(f"{self._edge}/{path}", json=body, timeout=30)
        if response.is_error:
            error = response.json()["error"]
            raise Refused(response.status_code, error["param"], error["code"], error["message"])
        return response.json()


class ClientFace:
    """The project's own client, over either wire: what of a face it has."""

    _STATUS: ClassVar = {
        errors.BadRequest: 400,
        errors.NotFound: 404,
        errors.RateLimited: 429,
        errors.ServerError: 500,
        errors.Unavailable: 503,
        errors.DeadlineExceeded: 504,
    }
    _CODE: ClassVar = {
        errors.ContextLengthExceeded: "context_length_exceeded",
        errors.UnknownModel: "model_not_found",
    }

    def __init__(self, client: Any) -> None:
        self._client = client

    def ask(self, turns: Sequence[Turn], **parameters: Any) -> Reply:
        """See `Face.ask`."""
        try:
            return self._reply(self._client.chat(_messages(turns), **parameters))
        except errors.GlmserveError as error:
            raise self._refused(error) from None

    def stream(self, turns: Sequence[Turn], **parameters: Any) -> Generator[Reply, None, None]:
        """See `Face.stream`."""
        try:
            with self._client.stream(_messages(turns), **parameters) as stream:
                for _ in stream:
                    yield self._reply(stream)
                yield self._reply(stream)
        except errors.GlmserveError as error:
            raise self._refused(error) from None

    def _reply(self, answer: Any) -> Reply:
        """From a reply, or a stream that holds as much of it as has come."""
        usage = answer.usage or Usage(prompt_tokens=0, completion_tokens=0)
        return Reply(
            text=answer.text,
            reasoning=answer.reasoning,
            calls=[(call.name, call.arguments) for call in answer.tool_calls],
            call_ids=[call.id for call in answer.tool_calls],
            finish=str(answer.finish_reason or ""),
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            ignored=list(answer.ignored),
        )

    def _refused(self, error: errors.GlmserveError) -> Refused:
        status = next(status for kind, status in self._STATUS.items() if isinstance(error, kind))
        violations = error.violations if isinstance(error, errors.BadRequest) else ()
        return Refused(status, violations[0].field if violations else None, self._CODE.get(type(error)), str(error))


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
        assert chunk.usage.prompt_tokens_details
        reply.cached_tokens = chunk.usage.prompt_tokens_details.cached_tokens or 0


def request_of(turns: Sequence[Turn], parameters: dict[str, Any]) -> ChatCompletionRequest:
    """A request of the contract from OpenAI's words for one."""
    if "tools" in parameters:
        parameters["tools"] = [_tool(tool) for tool in parameters["tools"]]
    if "tool_choice" in parameters:
        parameters["tool_choice"] = _tool_choice(parameters["tool_choice"])
    return ChatCompletionRequest(messages=[_message(turn) for turn in turns], **parameters)


def _raw_request(prompt: Raw, parameters: dict[str, Any]) -> ChatCompletionRequest:
    special = parameters.pop("add_special_tokens", None)
    raw = Prompt(text=prompt) if isinstance(prompt, str) else Prompt(token_ids=TokenIds(ids=prompt))
    if special is not None:
        raw.add_special_tokens = special
    return ChatCompletionRequest(prompt=raw, **parameters)


def _older(parameters: dict[str, Any]) -> dict[str, Any]:
    """The contract's words as those of OpenAI's older API."""
    most = parameters.pop("max_completion_tokens", None)
    return {**parameters, "max_tokens": most}


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
        for name in ("top_k", "min_p", "repetition_penalty", "ignore_eos", "add_special_tokens", "prompt_cache_key")
        if name in parameters
    }
    return {**parameters, "extra_body": extra}


def _listed(header: str | None) -> list[str]:
    return [name.strip() for name in header.split(",")] if header else []


def _http_refused(error: openai.APIStatusError) -> Refused:
    body = json.loads(error.response.content)["error"]
    return Refused(error.status_code, body["param"], body["code"], body["message"])


WAYS = (("grpc", "direct"), ("http", "direct"), *client_ways.ROUTES)
"""Ways to a model: those of `chatting`, and whether straight or through a server that has it upstream."""

BATCHED_WAYS = [pytest.param((wire, "batched"), marks=pytest.mark.llama) for wire in ("grpc", "http")]
"""The same to a model that llama.cpp runs."""

SMOLLM2_WAYS = [pytest.param((wire, "smollm2"), marks=pytest.mark.llama) for wire in ("grpc", "http")]
"""The same to SmolLM2."""


@contextmanager
def opened(name: str, server: Glmserve) -> Iterator[Face]:
    """The way called `grpc` or `http` to a server."""
    if name == "grpc":
        with grpc.insecure_channel(server.grpc_address) as channel:
            yield GrpcFace(channel)
    else:
        face = HttpFace(server)
        try:
            yield face
        finally:
            face.close()


@contextmanager
def chatting(name: str, server: Glmserve) -> Iterator[Any]:
    """The same, or by the client in one of `client_ways.WAYS`."""
    wire, _, style = name.partition("-")
    if style:
        with client_ways.opened(style, client_ways.url_of(server, wire), retries=0) as client:
            yield ClientFace(client)
    else:
        with opened(name, server) as face:
            yield face

"""`OpenAIService`: HTTP bodies in, HTTP bodies out, with a typed chat service between them.

Knows nothing about HTTP connections, which are the edge's, and nothing about engines, which are the backend's.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from time import perf_counter
from typing import Any, TypeVar

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.rpc import status_pb2
from typing_extensions import override

from glmserve.v1 import chat_pb2, openai_pb2, openai_pb2_grpc, token_pb2
from glmserve_gateway import render
from glmserve_gateway.backend import Backend
from glmserve_gateway.completions import COMPLETIONS
from glmserve_gateway.dbgpt import DBGPT
from glmserve_gateway.errors import InvalidRequest, OpenAIError, Unsupported
from glmserve_gateway.face import OPENAI, Face
from glmserve_gateway.parse import ChatCall
from glmserve_gateway.tokens import detokenized, parse_detokenize, parse_tokenize, tokenized
from glmserve_gateway.zhipu import ZHIPU

logger = logging.getLogger(__name__)

IGNORED_METADATA = "x-glmserve-ignored"
TIME_METADATA = "openai-processing-ms"

_LARGE_BODY = 64 * 1024
"""From here on a body is parsed in a thread: pictures and many values take longer than the event loop may wait."""

_SERVICE = openai_pb2.DESCRIPTOR.services_by_name["OpenAIService"].full_name
_FACES = {
    "CreateDbgptChatCompletion": DBGPT,
    "CreateZhipuChatCompletion": ZHIPU,
    "CreateCompletion": COMPLETIONS,
}
"""Those of the methods that have another one than OpenAI's."""

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")


class OpenAIServicer(openai_pb2_grpc.OpenAIServiceServicer):
    """Answers requests of OpenAI's API, and of those that are like it, with what `backend` says.

    `refuse_ignored`: what no model here honours is refused, where it would be ignored and named.
    """

    def __init__(self, backend: Backend, *, refuse_ignored: bool = False) -> None:
        self._backend = backend
        self._refuse_ignored = refuse_ignored

    @override
    async def CreateChatCompletion(self, request: HttpBody, context: Context) -> AsyncGenerator[HttpBody, None]:
        """One body of JSON, or a body per server-sent event."""
        async with aclosing(self._answer(OPENAI, request, context)) as bodies:
            async for body in bodies:
                yield body

    @override
    async def CreateDbgptChatCompletion(self, request: HttpBody, context: Context) -> AsyncGenerator[HttpBody, None]:
        """The same for DB-GPT's client."""
        async with aclosing(self._answer(DBGPT, request, context)) as bodies:
            async for body in bodies:
                yield body

    @override
    async def CreateZhipuChatCompletion(self, request: HttpBody, context: Context) -> AsyncGenerator[HttpBody, None]:
        """The same for Zhipu's SDKs."""
        async with aclosing(self._answer(ZHIPU, request, context)) as bodies:
            async for body in bodies:
                yield body

    async def _answer(self, face: Face, request: HttpBody, context: Context) -> AsyncGenerator[HttpBody, None]:
        call: ChatCall | None = None
        begun = False
        arrived = perf_counter()
        try:
            call = await _parse(face.parse, request)
            if self._refuse_ignored and call.ignored:
                raise Unsupported(f"{call.ignored[0]} is not supported by any model here", call.ignored[0])
            async with aclosing(self._bodies(face, call, context)) as bodies:
                async for body in bodies:
                    begun = True
                    yield body
        except Exception as error:  # noqa: BLE001 -- the border: whatever it is, the caller must see an error
            failure = self._failure(face, error, call)
            if not begun:
                await context.abort(failure.code, failure.details, (*failure.trailers, _time_since(arrived)))
            yield HttpBody(data=render.error_event(failure))

    @override
    async def CreateCompletion(self, request: HttpBody, context: Context) -> AsyncGenerator[HttpBody, None]:
        """The same for raw prompts."""
        async with aclosing(self._answer(COMPLETIONS, request, context)) as bodies:
            async for body in bodies:
                yield body

    @override
    async def Tokenize(self, request: HttpBody, context: Context) -> AsyncGenerator[HttpBody, None]:
        """The tokens of a text or a conversation."""
        yield await self._body(context, self._tokenized(request))

    @override
    async def Detokenize(self, request: HttpBody, context: Context) -> AsyncGenerator[HttpBody, None]:
        """The text of tokens."""
        yield await self._body(context, self._detokenized(request))

    @override
    async def ListModels(
        self, request: openai_pb2.ListOpenAIModelsRequest, context: Context
    ) -> AsyncGenerator[HttpBody, None]:
        """The list of models."""
        yield await self._body(context, self._models())

    @override
    async def RetrieveModel(
        self, request: openai_pb2.RetrieveOpenAIModelRequest, context: Context
    ) -> AsyncGenerator[HttpBody, None]:
        """One model."""
        yield await self._body(context, self._model(request.model))

    async def _models(self) -> bytes:
        return render.model_list(self._backend.list_models(), refuse_ignored=self._refuse_ignored)

    async def _model(self, name: str) -> bytes:
        return render.model(self._backend.get_model(name), refuse_ignored=self._refuse_ignored)

    async def _tokenized(self, body: HttpBody) -> bytes:
        request = await _parse(parse_tokenize, body)
        return tokenized(await self._backend.tokenize(request), texts=request.include_token_texts)

    async def _detokenized(self, body: HttpBody) -> bytes:
        return detokenized(await self._backend.detokenize(await _parse(parse_detokenize, body)))

    def _bodies(self, face: Face, call: ChatCall, context: Context) -> AsyncGenerator[HttpBody, None]:
        return self._events(face, call, context) if call.stream else self._whole(face, call, context)

    async def _whole(self, face: Face, call: ChatCall, context: Context) -> AsyncGenerator[HttpBody, None]:
        began = perf_counter()
        response = await self._backend.create_chat_completion(*call.requests)
        data = face.whole(response, await self._echoing(call))
        await _send_head(context, began, (*call.given_names(response.ignored), *call.ignored))
        yield HttpBody(content_type=render.JSON_TYPE, data=data)

    async def _events(self, face: Face, call: ChatCall, context: Context) -> AsyncGenerator[HttpBody, None]:
        began = perf_counter()
        async with aclosing(self._backend.stream_chat_completion(*call.requests)) as answer:
            events = await anext(answer)
            started = events[0].started
            chunks = face.chunks(started, await self._echoing(call))
            while not (data := chunks.render_all(events)):  # an error can set the HTTP status until there is something
                events = await anext(answer)
            await _send_head(
                context, began, (*call.given_names(started.ignored), *call.ignored), ("cache-control", "no-cache")
            )
            yield HttpBody(content_type=render.EVENTS_TYPE, data=data)
            async for events in answer:
                if data := chunks.render_all(events):
                    yield HttpBody(data=data)

    async def _echoing(self, call: ChatCall) -> ChatCall:
        """The call with the texts of its prompts, if it wants them. The backend has found the prompts sound already."""
        if not call.answer.get("echo"):
            return call
        return replace(call, echo=tuple([await self._text(request) for request in call.requests]))

    async def _text(self, request: chat_pb2.ChatCompletionRequest) -> str:
        if not request.prompt.HasField("token_ids"):
            return request.prompt.text
        ids = token_pb2.DetokenizeRequest(model=request.model, token_ids=request.prompt.token_ids.ids)
        return (await self._backend.detokenize(ids)).text

    async def _body(self, context: Context, making: Awaitable[bytes]) -> HttpBody:
        began = perf_counter()
        try:
            data = await making
        except Exception as error:  # noqa: BLE001 -- as above
            failure = self._failure(OPENAI, error, None)
            await context.abort(failure.code, failure.details, (*failure.trailers, _time_since(began)))
        await _send_head(context, began, ())
        return HttpBody(content_type=render.JSON_TYPE, data=data)

    def _failure(self, face: Face, error: Exception, call: ChatCall | None) -> OpenAIError:
        if isinstance(error, InvalidRequest):
            return face.error(error.status, None)
        status = self._backend.status_of(error)
        if status.code == grpc.StatusCode.INTERNAL.value[0]:
            logger.error("unforeseen error", exc_info=error)
        return face.error(status, call.names if call else None)


def worded(method: str, status: status_pb2.Status) -> tuple[tuple[str, str], ...]:
    """The trailing metadata of a call that failed outside of the servicer; none, if it is no call of its service.

    `method` is a full name, such as `glmserve.v1.OpenAIService/ListModels`.
    """
    service, _, name = method.partition("/")
    if service != _SERVICE:
        return ()
    return _FACES.get(name, OPENAI).error(status, None).trailers


async def _parse(read: Callable[[bytes], T], request: HttpBody) -> T:
    media_type = request.content_type.partition(";")[0].strip().lower()
    if media_type != render.JSON_TYPE:  # browsers let pages of anywhere post other types, and none, without asking
        raise InvalidRequest(f"the content type must be {render.JSON_TYPE}, not {media_type[:64] or 'missing'}")
    if len(request.data) > _LARGE_BODY:
        return await asyncio.to_thread(read, request.data)
    return read(request.data)


async def _send_head(context: Context, began: float, ignored: Sequence[str], *more: tuple[str, str]) -> None:
    """Sends the headers. Not before there is a body: an error must be able to set the HTTP status until then."""
    head = [_time_since(began), *more]
    if ignored:
        head.append((IGNORED_METADATA, ", ".join(ignored)))
    await context.send_initial_metadata(head)


def _time_since(began: float) -> tuple[str, str]:
    return TIME_METADATA, str(round((perf_counter() - began) * 1000))

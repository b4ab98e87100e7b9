"""The gRPC services of glmserve.v1 over `Chat`: call, convert, return. Errors are the interceptor's."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from typing_extensions import override

from glmserve.v1 import chat_pb2_grpc, model_pb2_grpc, token_pb2_grpc
from glmserve.v1.chat_pb2 import ChatCompletionRequest, CreateChatCompletionResponse, StreamChatCompletionResponse
from glmserve.v1.model_pb2 import GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse
from glmserve.v1.token_pb2 import (
    CountTokensRequest,
    CountTokensResponse,
    DetokenizeRequest,
    DetokenizeResponse,
    TokenizeRequest,
    TokenizeResponse,
)
from glmserve_server.chat import Chat

Context = grpc.aio.ServicerContext[Any, Any]


class ChatServicer(chat_pb2_grpc.ChatServiceServicer):
    """See `ChatService` in chat.proto."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    @override
    async def CreateChatCompletion(
        self, request: ChatCompletionRequest, context: Context
    ) -> CreateChatCompletionResponse:
        """The whole answer."""
        return await self._chat.create_chat_completion(request)

    @override
    async def StreamChatCompletion(
        self, request: ChatCompletionRequest, context: Context
    ) -> AsyncIterator[StreamChatCompletionResponse]:
        """The answer as it is made."""
        async with contextlib.aclosing(self._chat.stream_chat_completion(request)) as answer:
            async for events in answer:
                for event in events:
                    yield event


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """See `ModelService` in model.proto."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    @override
    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        """All models."""
        return ListModelsResponse(models=self._chat.list_models())

    @override
    async def GetModel(self, request: GetModelRequest, context: Context) -> GetModelResponse:
        """One model."""
        return GetModelResponse(model=self._chat.get_model(request.model))


class TokenServicer(token_pb2_grpc.TokenServiceServicer):
    """See `TokenService` in token.proto."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    @override
    async def CountTokens(self, request: CountTokensRequest, context: Context) -> CountTokensResponse:
        """The size of a conversation."""
        return await self._chat.count_tokens(request)

    @override
    async def Tokenize(self, request: TokenizeRequest, context: Context) -> TokenizeResponse:
        """The tokens of a conversation or a text."""
        return await self._chat.tokenize(request)

    @override
    async def Detokenize(self, request: DetokenizeRequest, context: Context) -> DetokenizeResponse:
        """The text of tokens."""
        return await self._chat.detokenize(request)

"""What the gateway asks of the server behind it."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from google.rpc import status_pb2

from glmserve.v1 import chat_pb2, model_pb2, token_pb2


class Backend(Protocol):
    """The chat service without a wire. Methods raise whatever they like; `status_of` explains it."""

    async def create_chat_completion(
        self, *requests: chat_pb2.ChatCompletionRequest
    ) -> chat_pb2.CreateChatCompletionResponse:
        """The whole answer. Cancelling the task stops the model.

        Several requests, which differ in their prompt alone, have one answer: the choices of the first prompt come
        first, the usage is the sum, and a prompt at fault is named `prompt[i]`.
        """
        ...

    def stream_chat_completion(
        self, *requests: chat_pb2.ChatCompletionRequest
    ) -> AsyncGenerator[Sequence[chat_pb2.StreamChatCompletionResponse], None]:
        """The answer as it is made, `started` first, `usage` last, in lists (never empty) of what is ready together.

        `aclose` stops the model. Errors raise, in any place.
        """
        ...

    async def tokenize(self, request: token_pb2.TokenizeRequest, /) -> token_pb2.TokenizeResponse:
        """The tokens of a conversation or a text."""
        ...

    async def detokenize(self, request: token_pb2.DetokenizeRequest, /) -> token_pb2.DetokenizeResponse:
        """The text of tokens."""
        ...

    def list_models(self) -> Sequence[model_pb2.Model]:
        """All models, in the order of the configuration."""
        ...

    def get_model(self, name: str, /) -> model_pb2.Model:
        """The model with this id or alias; raises if there is none."""
        ...

    def status_of(self, error: Exception, /) -> status_pb2.Status:
        """The rich status of an error that a method raised; of an unknown one INTERNAL, without its text."""
        ...

"""What the gateway asks of the server behind it."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from google.rpc import status_pb2

from glmserve.v1 import chat_pb2, model_pb2


class Backend(Protocol):
    """The chat service without a wire. Methods raise whatever they like; `status_of` explains it."""

    async def create_chat_completion(
        self, request: chat_pb2.ChatCompletionRequest, /
    ) -> chat_pb2.CreateChatCompletionResponse:
        """The whole answer. Cancelling the task stops the model."""
        ...

    def stream_chat_completion(
        self, request: chat_pb2.ChatCompletionRequest, /
    ) -> AsyncGenerator[Sequence[chat_pb2.StreamChatCompletionResponse], None]:
        """The answer as it is made, `started` first, `usage` last, in lists (never empty) of what is ready together.

        `aclose` stops the model. Errors raise, in any place.
        """
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

"""What people put before a gRPC engine today: FastAPI and sse-starlette, as short as their documentation shows it.

`python -m benchmarks.their_proxy PORT GRPC_ADDRESS`
"""

import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sse_starlette.sse import EventSourceResponse

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest, StreamChatCompletionResponse
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message
from glmserve.v1.model_pb2 import ListModelsRequest
from glmserve.v1.model_pb2_grpc import ModelServiceStub


class ChatMessage(BaseModel):
    """One turn."""

    role: str
    content: str


class ChatRequest(BaseModel):
    """The fields that the comparison sends."""

    model: str
    messages: list[ChatMessage]
    max_tokens: int | None = None
    temperature: float | None = None
    stream: bool = False


def application(address: str) -> FastAPI:
    """The proxy for the engine at an address."""
    proxy = FastAPI()
    channels: list[grpc.aio.Channel] = []

    def channel() -> grpc.aio.Channel:
        if not channels:  # it belongs to the event loop of the first call
            channels.append(grpc.aio.insecure_channel(address))
        return channels[0]

    @proxy.get("/v1/models")
    async def models() -> dict[str, Any]:
        listed = await ModelServiceStub(channel()).ListModels(ListModelsRequest())
        return {"object": "list", "data": [{"id": model.id, "object": "model"} for model in listed.models]}

    @proxy.post("/v1/chat/completions")
    async def chat(request: ChatRequest) -> EventSourceResponse:
        return EventSourceResponse(_events(ChatServiceStub(channel()), request))

    return proxy


async def _events(stub: Any, request: ChatRequest) -> AsyncIterator[str]:
    created, answer = int(time.time()), ""
    async for event in stub.StreamChatCompletion(_typed(request)):
        kind = event.WhichOneof("event")
        if kind == "started":
            answer = event.started.id
        yield json.dumps(
            {
                "id": answer,
                "object": "chat.completion.chunk",
                "created": created,
                "model": request.model,
                **_content(kind, event),
            }
        )
    yield "[DONE]"


def _content(kind: str, event: StreamChatCompletionResponse) -> dict[str, Any]:
    if kind == "usage":
        usage = {"prompt_tokens": event.usage.prompt_tokens, "completion_tokens": event.usage.completion_tokens}
        return {"choices": [], "usage": usage}
    delta = {"content": event.text.text} if kind == "text" else {}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": "stop" if kind == "finished" else None}]}


def _typed(request: ChatRequest) -> ChatCompletionRequest:
    return ChatCompletionRequest(
        model=request.model,
        messages=[
            Message(
                role=message_pb2.Role.Value(f"ROLE_{message.role.upper()}"),
                content=[ContentPart(text=message.content)],
            )
            for message in request.messages
        ],
        max_completion_tokens=request.max_tokens,
        temperature=request.temperature,
    )


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[2]), port=int(sys.argv[1]), log_level="warning")

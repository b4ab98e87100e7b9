"""The Python client and the command line of glmserve. What is named here is what programs may use."""

from glmserve_client.blocking import Client, Conversation, Stream
from glmserve_client.client import AsyncClient
from glmserve_client.conversation import AsyncConversation, AsyncTurn
from glmserve_client.errors import (
    BadRequest,
    BrokenStream,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    ContextLengthExceeded,
    DeadlineExceeded,
    FieldViolation,
    GlmserveError,
    InvalidAnswer,
    NotFound,
    NotSupported,
    PermissionDenied,
    RateLimited,
    RequestFailed,
    ServerError,
    Stalled,
    TooManyRounds,
    Unauthenticated,
    Unavailable,
    UnknownModel,
    Unsupported,
)
from glmserve_client.functions import function_tool
from glmserve_client.messages import Message, Messages, assistant, image, system, tool, user
from glmserve_client.model import Capabilities, Model, TokenCount
from glmserve_client.options import Options
from glmserve_client.parameters import Limits, Parameters
from glmserve_client.reply import Choice, Delta, FinishReason, Reply, TokenLogprob, ToolCall, ToolCallDelta, Usage
from glmserve_client.stream import AsyncStream
from glmserve_client.wires.wire import Answer

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncConversation",
    "AsyncStream",
    "AsyncTurn",
    "BadRequest",
    "BrokenStream",
    "Capabilities",
    "Choice",
    "Client",
    "ClientClosed",
    "ConfigurationError",
    "ConnectionFailed",
    "ContextLengthExceeded",
    "Conversation",
    "DeadlineExceeded",
    "Delta",
    "FieldViolation",
    "FinishReason",
    "GlmserveError",
    "InvalidAnswer",
    "Limits",
    "Message",
    "Messages",
    "Model",
    "NotFound",
    "NotSupported",
    "Options",
    "Parameters",
    "PermissionDenied",
    "RateLimited",
    "Reply",
    "RequestFailed",
    "ServerError",
    "Stalled",
    "Stream",
    "TokenCount",
    "TokenLogprob",
    "TooManyRounds",
    "ToolCall",
    "ToolCallDelta",
    "Unauthenticated",
    "Unavailable",
    "UnknownModel",
    "Unsupported",
    "Usage",
    "assistant",
    "function_tool",
    "image",
    "system",
    "tool",
    "user",
]

"""What every engine offers: a chat request in, the events of its answer out."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple, Protocol

from glmserve.v1.chat_pb2 import ChatCompletionRequest, StreamChatCompletionResponse
from glmserve.v1.model_pb2 import Capabilities

Events = AsyncGenerator[StreamChatCompletionResponse, None]


class Tokens(NamedTuple):
    """A prompt."""

    ids: list[int]
    texts: list[str]
    """What each token stands for; empty unless asked for."""


class Engine(Protocol):
    """Runs one model.

    An engine gets requests that are checked already and ask for nothing that its capabilities lack. It knows nothing
    of ids, names and times of answers: it leaves these fields of `started` empty.
    """

    kind: str
    """What `Model.engine` shows."""

    note: str
    """How it runs the model, for the operator; empty if there is nothing to say."""

    on_fault: Callable[[str | None], None]
    """Called on the event loop: with the reason when the model cannot be run any more, with None when it can again."""

    @property
    def capabilities(self) -> Capabilities:
        """What requests may ask for."""
        ...

    @property
    def context_length(self) -> int:
        """The most tokens that prompt and answer may have together."""
        ...

    @property
    def waiting(self) -> int:
        """How many requests wait in the queue."""
        ...

    async def start(self) -> None:
        """Gets ready to answer. Raises `ModelUnavailable` when that cannot be."""
        ...

    async def aclose(self) -> None:
        """Ends everything that was started; may be called twice."""
        ...

    def generate(self, request: ChatCompletionRequest) -> Events:
        """The events of an answer as the contract orders them: `started` first, `usage` last.

        Errors that the caller can mend (`InvalidArgument`) are raised before the first event. Closing the generator
        stops the model.
        """
        ...

    async def tokenize(self, request: ChatCompletionRequest, *, texts: bool = False) -> Tokens:
        """The tokens of the prompt that `generate` would run. `texts`: what they stand for as well."""
        ...

    async def count(self, request: ChatCompletionRequest) -> int:
        """How many tokens that prompt has; also for engines that do not know which."""
        ...

    async def detokenize(self, ids: Sequence[int]) -> str:
        """The text of some tokens. Raises `InvalidArgument` for ids that are none, naming them `token_ids[i]`."""
        ...

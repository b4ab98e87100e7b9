"""An answer as it comes."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from typing_extensions import override

from glmserve_client.draft import Draft
from glmserve_client.errors import InvalidAnswer, Stalled
from glmserve_client.reply import Delta, Event, FinishReason, Reply, Started, ToolCall, Usage, Whole
from glmserve_client.retry import Deadline, within

Opened = tuple[Started, AsyncGenerator[Event], Deadline]
"""A call whose first event has come, the events after it, and when all must have ended."""


class Progress(ABC):
    """An answer as far as it has come; after an error and after the end too."""

    @property
    @abstractmethod
    def reply(self) -> Reply:
        """All of it."""

    @property
    def id(self) -> str:
        """The answer's."""
        return self.reply.id

    @property
    def model(self) -> str:
        """The model that answers, also where an alias was asked."""
        return self.reply.model

    @property
    def ignored(self) -> tuple[str, ...]:
        """Preferences that the model cannot honour, by the names of the arguments."""
        return self.reply.ignored

    @property
    def text(self) -> str:
        """The text so far."""
        return self.reply.text

    @property
    def reasoning(self) -> str:
        """The thoughts so far."""
        return self.reply.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls so far; the arguments of the last may be cut before the end."""
        return self.reply.tool_calls

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the answer ended; None before it has."""
        return self.reply.finish_reason

    @property
    def usage(self) -> Usage | None:
        """What it cost; None before the end."""
        return self.reply.usage


class AsyncProgress(Progress):
    """An answer under way, piece by piece."""

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    async def aclose(self) -> None:
        """Leaves the call. Does nothing after the end."""

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> Delta: ...

    async def texts(self) -> AsyncIterator[str]:
        """The pieces of the first choice's text."""
        async for delta in self:
            if delta.text and delta.index == 0:
                yield delta.text


class AsyncStream(AsyncProgress):
    """`async with client.stream(...) as stream:` then `async for delta in stream:` or `in stream.texts():`.

    Entered once the server has begun to answer: what it refuses is raised there, and retried there. Left, it closes the
    call, and the server stops.
    """

    def __init__(self, open_: Callable[[], Awaitable[Opened]], *, token_timeout: float) -> None:
        self._open = open_
        self._token_timeout = token_timeout
        self._opened: Opened | None = None
        self._draft: Draft | None = None

    @override
    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise RuntimeError("a stream is entered once")
        self._opened = await self._open()
        self._draft = Draft(self._opened[0])
        return self

    @override
    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened[1].aclose()

    @override
    async def __anext__(self) -> Delta:
        """The next piece. Raises `Stalled`, `DeadlineExceeded`, `BrokenStream` and the server's errors."""
        opened, draft = self._entered
        _, events, deadline = opened
        while True:
            event = await self._next(events, deadline)
            if isinstance(event, Whole):
                event = await anext(events)  # the end; the times are those of the answer, which is here
            draft.add(event)
            if isinstance(event, Delta):
                return event

    @property
    @override
    def reply(self) -> Reply:
        """The answer so far."""
        return self._entered[1].reply

    @property
    def _entered(self) -> tuple[Opened, Draft]:
        if self._opened is None or self._draft is None:
            raise RuntimeError("enter the stream first: async with client.stream(...) as stream")
        return self._opened, self._draft

    async def _next(self, events: AsyncGenerator[Event], deadline: Deadline) -> Event:
        seconds = min(self._token_timeout, deadline.left)
        error = deadline.error if seconds < self._token_timeout else self._stalled
        async with within(seconds, error):
            return await anext(events)

    def _stalled(self) -> Stalled:
        return Stalled(f"nothing of the answer came for {self._token_timeout:g} s")


async def first(events: AsyncGenerator[Event]) -> Started:
    """The event that a stream begins with. Closes the stream where it does not."""
    try:
        event = await anext(events)
        if not isinstance(event, Started):
            raise InvalidAnswer("the answer does not begin with its start")
    except StopAsyncIteration:
        raise InvalidAnswer("the answer is empty") from None
    except BaseException:
        await events.aclose()
        raise
    return event

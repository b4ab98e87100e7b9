"""The client for code without an event loop: the asynchronous one, run on a loop in a thread of its own.

Nothing is written twice: every method is that of the asynchronous class, and has its arguments, text and errors.
"""

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import wraps
from inspect import CORO_CLOSED, getcoroutinestate
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from typing_extensions import Unpack, override

from glmserve_client.client import AsyncClient
from glmserve_client.conversation import ROUNDS, AsyncConversation
from glmserve_client.errors import ClientClosed
from glmserve_client.options import Options
from glmserve_client.parameters import Parameters
from glmserve_client.reply import Delta, Reply
from glmserve_client.stream import AsyncProgress, Progress

_STOP_SECONDS: Final = 5.0
"""How long a call that is interrupted may take to end."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_A = TypeVar("_A")


class Loop:
    """An event loop in a thread, for any number of other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="glmserve-client", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """What it gives, once it has; interrupted, it has ended too. Raises `ClientClosed` where the loop has ended."""
        try:
            return self._submitted(coroutine).result()
        except CancelledError:
            raise ClientClosed("the client was closed during the call") from None
        except BaseException:
            if getcoroutinestate(coroutine) != CORO_CLOSED:
                self._stop(coroutine)
            raise

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs `last`, cancels the calls under way and ends the loop."""
        with suppress(ClientClosed):
            self._submitted(self._end(last), ends=True)
            if threading.current_thread() is not self._thread:
                self._thread.join()

    def _stop(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Cancels what was submitted, and waits for its end, for some time."""
        with suppress(ClientClosed, CancelledError, TimeoutError):
            self._submitted(_stopped(coroutine)).result(_STOP_SECONDS)

    def _submitted(self, coroutine: Coroutine[Any, Any, _T], *, ends: bool = False) -> Future[_T]:
        """What is submitted before the end is run or cancelled, so that nobody waits for ever."""
        with self._lock:
            if self._thread.is_alive() and not self._ends:  # a forked child has no copy of the thread
                self._ends = ends
                return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        coroutine.close()
        raise ClientClosed("the client is closed, or belongs to another process")

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await last()
        finally:
            self._loop.stop()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            for step in (_settled, self._loop.shutdown_asyncgens, _settled):
                self._loop.run_until_complete(step())
        finally:
            self._loop.close()


async def _settled() -> None:
    """Cancels what still runs, and waits for its end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _stopped(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Cancels its task, if it has one by now, and waits for the end."""
    for task in asyncio.all_tasks():
        if task.get_coro() is coroutine:
            task.cancel()
            await asyncio.wait([task])
    coroutine.close()


class Blocking:
    """Something asynchronous, the loop that it runs on, and what it came from: a client that is forgotten is closed."""

    def __init__(self, loop: Loop, wrapped: Any, origin: "Blocking | None" = None) -> None:
        self._loop = loop
        self._wrapped = wrapped
        self._origin = origin


_B = TypeVar("_B", bound=Blocking)


def blocking(
    method: Callable[Concatenate[_A, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[Blocking, _P], _T]:
    """A method that waits for an asynchronous one."""

    @wraps(method)
    def call(self: Blocking, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self._loop.call(method(self._wrapped, *args, **kwargs))

    return call


def wrapping(kind: type[_B], method: Callable[Concatenate[_A, _P], Any]) -> Callable[Concatenate[Blocking, _P], _B]:
    """A method that gives something asynchronous, given as its counterpart of `kind`."""

    @wraps(method)
    def call(self: Blocking, /, *args: _P.args, **kwargs: _P.kwargs) -> _B:
        return kind(self._loop, method(self._wrapped, *args, **kwargs), self)

    return call


class Stream(Blocking, Progress):
    """An answer as it comes: `with client.stream(...) as stream:`, `for delta in stream:`. See `AsyncStream`.

    Lazy: a piece is fetched when it is asked for. One thread at a time.
    """

    _wrapped: AsyncProgress

    def __enter__(self) -> Self:
        self._loop.call(self._wrapped.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the call. Does nothing after the end."""
        with suppress(ClientClosed):
            self._loop.call(self._wrapped.aclose())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Delta:
        try:
            return self._loop.call(self._wrapped.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def texts(self) -> Iterator[str]:
        """The pieces of the first choice's text."""
        return (delta.text for delta in self if delta.text and delta.index == 0)

    @property
    @override
    def reply(self) -> Reply:
        """The answer so far."""
        return self._wrapped.reply


class Client(Blocking):
    """`AsyncClient` for code without an event loop: the same methods, arguments and errors.

    May be used from many threads. Close it, or use it with `with`. A child process made by forking needs its own,
    and over HTTP: gRPC cannot be used in a child whose parent has used it before the fork.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        wrapped = AsyncClient(url, **options)
        super().__init__(Loop(), wrapped)
        self._finalizer = weakref.finalize(self, self._loop.close, wrapped.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """See `AsyncClient.aclose`."""
        self._finalizer()

    chat = blocking(AsyncClient.chat)
    stream = wrapping(Stream, AsyncClient.stream)
    models = blocking(AsyncClient.models)
    count_tokens = blocking(AsyncClient.count_tokens)
    health = blocking(AsyncClient.health)
    request = blocking(AsyncClient.request)
    get = blocking(AsyncClient.get)
    head = blocking(AsyncClient.head)
    delete = blocking(AsyncClient.delete)
    post = blocking(AsyncClient.post)
    put = blocking(AsyncClient.put)
    patch = blocking(AsyncClient.patch)


class Conversation(Blocking):
    """`AsyncConversation` for code without an event loop: the same methods, arguments and errors."""

    def __init__(
        self,
        client: Client,
        *,
        system: str | None = None,
        functions: Sequence[Callable[..., Any]] = (),
        rounds: int = ROUNDS,
        **parameters: Unpack[Parameters],
    ) -> None:
        wrapped = AsyncConversation(client._wrapped, system=system, functions=functions, rounds=rounds, **parameters)  # noqa: SLF001 (of one family)
        super().__init__(client._loop, wrapped, client)  # noqa: SLF001

    @property
    def messages(self) -> list[dict[str, Any]]:
        """See `AsyncConversation.messages`."""
        messages: list[dict[str, Any]] = self._wrapped.messages
        return messages

    say = blocking(AsyncConversation.say)
    stream = wrapping(Stream, AsyncConversation.stream)

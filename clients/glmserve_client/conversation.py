"""A conversation that remembers, and runs the functions that the model calls."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from typing_extensions import Unpack, override

from glmserve_client.client import AsyncClient
from glmserve_client.errors import TooManyRounds
from glmserve_client.functions import Functions
from glmserve_client.messages import Message, listed, tool
from glmserve_client.messages import system as system_message
from glmserve_client.parameters import Parameters
from glmserve_client.reply import Delta, Reply
from glmserve_client.stream import AsyncProgress, AsyncStream

ROUNDS: Final = 8
"""How many answers with function calls may follow each other, unless told otherwise."""


class AsyncConversation:
    """Turns that follow each other, with functions that the model may call.

    A function's docstring and type hints declare it: see `function_tool`. It is called with the arguments that the
    model wrote, once they fit the hints; its result goes back, and the model goes on. An unknown name, wrong arguments
    and exceptions are told to the model as a text that begins with `Error:`, without a traceback. Calls of one answer
    run one after the other; plain functions in a thread, `async` ones on the loop.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        system: str | None = None,
        functions: Sequence[Callable[..., Any]] = (),
        rounds: int = ROUNDS,
        **parameters: Unpack[Parameters],
    ) -> None:
        """`parameters` are those of every turn. `tools` are `functions`; other tools cannot be given."""
        self._client = client
        self._functions = Functions(functions)
        self._rounds = rounds
        self._parameters = parameters
        self.messages: list[dict[str, Any]] = [] if system is None else [system_message(system)]
        """The history, as OpenAI messages. It grows by a whole turn, or not at all if the turn fails or is left."""

    async def say(self, message: str | Message, **parameters: Unpack[Parameters]) -> Reply:
        """The answer to a new turn, once the model calls no function any more. Raises `TooManyRounds` if it never does.

        `parameters` are for this turn alone.
        """
        async with self.stream(message, **parameters) as turn:
            async for _ in turn:
                pass
            return turn.reply

    def stream(self, message: str | Message, **parameters: Unpack[Parameters]) -> "AsyncTurn":
        """The same as it comes: `async with conversation.stream("Hello!") as turn:`. Leaving it forgets the turn."""
        asked = [*self.messages, *listed(message)]
        declared = {"tools": tools} if (tools := self._functions.tools) else {}
        return AsyncTurn(
            lambda messages, given: self._client.stream(messages, **given),
            asked,
            {**self._parameters, **parameters, **declared},
            functions=self._functions,
            rounds=self._rounds,
            on_end=self._remember,
        )

    def _remember(self, messages: list[dict[str, Any]]) -> None:
        self.messages[:] = messages


class AsyncTurn(AsyncProgress):
    """An `AsyncStream` over all rounds of a turn. Its `reply` is that of the last round that began to be answered."""

    def __init__(
        self,
        ask: Callable[[list[dict[str, Any]], Mapping[str, Any]], AsyncStream],
        messages: list[dict[str, Any]],
        parameters: Mapping[str, Any],
        *,
        functions: Functions,
        rounds: int,
        on_end: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self._ask = ask
        self._messages = messages
        self._parameters = dict(parameters)
        self._functions = functions
        self._left = rounds
        self._on_end = on_end
        self._stream = ask(self._messages, self._parameters)
        self._over = False

    @override
    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        self._over = False
        return self

    @override
    async def aclose(self) -> None:
        self._over = True
        await self._stream.aclose()

    @override
    async def __anext__(self) -> Delta:
        if self._over:
            raise StopAsyncIteration
        try:
            return await self._next()
        except BaseException:
            self._over = True  # whether it has ended or failed
            raise

    @property
    @override
    def reply(self) -> Reply:
        """The answer so far."""
        return self._stream.reply

    async def _next(self) -> Delta:
        while True:
            try:
                return await anext(self._stream)
            except StopAsyncIteration:
                self._messages.append(self.reply.message)
                if not self.reply.tool_calls:
                    self._on_end(self._messages)
                    raise
            await self._next_round()

    async def _next_round(self) -> None:
        """Runs what the model calls, and asks again."""
        if self._left == 0:
            raise TooManyRounds("the model goes on calling functions; its last calls were not run")
        self._left -= 1
        for call in self.reply.tool_calls:
            self._messages.append(tool(await self._functions.call(call), tool_call_id=call.id))
        if self._parameters.get("tool_choice") not in ("auto", "none"):
            self._parameters.pop("tool_choice", None)  # or a required call would be required for ever
        stream = self._ask(self._messages, self._parameters)
        await stream.__aenter__()
        self._stream = stream  # only now: if the round is refused, the answer before it is still to be read

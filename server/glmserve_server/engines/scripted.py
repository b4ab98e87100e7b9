"""An engine without a model: it says the last user message back, word by word. For tests, demos and measurements.

A message that begins with a slash is a command:

    /fail            fails before the first word
    /fail after N    fails after N words
    /break after N   does so with an error that nobody has foreseen
    /slow            goes on for ever, a word every 10 ms
    /count N         says the numbers from 1 to N as fast as it can
    /count N at R    says them at R words a second; late ones follow at once

A raw prompt is gone on with as a message is: by saying it again, or as its command says.

A word and the space before it is a token of an answer, and of a conversation, whose tokens are numbered from 0. The
tokens of a raw prompt are the bytes of its text in UTF-8, so that tokens and texts can be turned into each other.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import count, pairwise

from glmserve.v1 import chat_pb2, message_pb2
from glmserve.v1.chat_pb2 import (
    ChatCompletionRequest,
    Finished,
    Prompt,
    Started,
    StreamChatCompletionResponse,
    TextDelta,
    Usage,
)
from glmserve.v1.model_pb2 import Capabilities
from glmserve_server.engines.engine import Events, Tokens
from glmserve_server.errors import ContextLengthExceeded, InvalidArgument, WorkerDied
from glmserve_server.text import StopStrings

_BYTES = 256
_WORD = re.compile(r"\S+")
_NUMBER = re.compile(r"[0-9]{1,9}")


class ScriptedEngine:
    """Deterministic; honours `stop` and `max_completion_tokens`, and no other parameter."""

    kind = "scripted"
    note = ""
    capabilities = Capabilities(prompts=True, max_choices=1)
    context_length = 4096
    waiting = 0

    def __init__(self) -> None:
        self.on_fault: Callable[[str | None], None] = lambda _: None

    async def start(self) -> None:
        """Nothing to get ready."""

    async def aclose(self) -> None:
        """Nothing to end."""

    async def tokenize(self, request: ChatCompletionRequest, *, texts: bool = False) -> Tokens:
        """See `Engine.tokenize`: words of all messages, or bytes of a raw prompt."""
        if request.HasField("prompt"):
            ids = _bytes_of(request.prompt)
            return Tokens(ids, [_decoded([number]) for number in ids] if texts else [])
        words = [word for message in request.messages for word in _words(_text(message))]
        return Tokens(list(range(len(words))), words if texts else [])

    async def count(self, request: ChatCompletionRequest) -> int:
        """See `Engine.count`."""
        return len((await self.tokenize(request)).ids)

    async def detokenize(self, ids: Sequence[int]) -> str:
        """See `Engine.detokenize`: ids are bytes."""
        _check_bytes(ids, "token_ids")
        return _decoded(ids)

    async def generate(self, request: ChatCompletionRequest) -> Events:
        """See `Engine.generate`."""
        prompt_tokens = len((await self.tokenize(request)).ids)
        room = self.context_length - prompt_tokens
        if room < 1:
            field = "prompt" if request.HasField("prompt") else "messages"
            raise ContextLengthExceeded(
                f"This model's maximum context length is {self.context_length} tokens, but {field} are "
                f"{prompt_tokens} tokens.",
                field=field,
            )
        limit = min(request.max_completion_tokens or room, room)
        words = _script(request)
        first = await anext(words, None)  # a script that fails at once does so before anything is sent
        yield StreamChatCompletionResponse(started=Started(prompt_tokens=prompt_tokens))

        stops, finished, used = StopStrings(request.stop), Finished(finish_reason=chat_pb2.FINISH_REASON_STOP), 0
        while first is not None:
            if used == limit:
                finished = Finished(finish_reason=chat_pb2.FINISH_REASON_LENGTH)
                break
            used += 1
            if text := stops.feed(first):
                yield StreamChatCompletionResponse(text=TextDelta(text=text))
            if stops.matched is not None:
                finished = Finished(finish_reason=chat_pb2.FINISH_REASON_STOP, stop_string=stops.matched)
                break
            first = await anext(words, None)
        if text := stops.flush():
            yield StreamChatCompletionResponse(text=TextDelta(text=text))
        yield StreamChatCompletionResponse(finished=finished)
        yield StreamChatCompletionResponse(usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=used))


async def _script(request: ChatCompletionRequest) -> AsyncIterator[str]:
    text = _said(request)
    match text.split():
        case ["/fail"]:
            raise WorkerDied("The script failed before the first word.")
        case ["/fail" | "/break" as command, "after", number] if _NUMBER.fullmatch(number):
            for index in range(int(number)):
                yield "word" if index == 0 else " word"
            told = f"The script failed after {number} words."
            raise WorkerDied(told) if command == "/fail" else RuntimeError(told)
        case ["/slow"]:
            for index in count():
                yield f" {index}"
                await asyncio.sleep(0.01)
        case ["/count", number] if _NUMBER.fullmatch(number):
            for index in range(1, int(number) + 1):
                yield f" {index}"
                await asyncio.sleep(0)
        case ["/count", number, "at", rate] if _NUMBER.fullmatch(number) and _NUMBER.fullmatch(rate) and int(rate):
            loop = asyncio.get_running_loop()
            begun = loop.time()
            for index in range(1, int(number) + 1):
                await asyncio.sleep(begun + index / int(rate) - loop.time())
                yield f" {index}"
        case _:
            for word in _words(text):
                yield word


def _said(request: ChatCompletionRequest) -> str:
    """The last user message, or the prompt."""
    if request.HasField("prompt"):
        return _decoded(_bytes_of(request.prompt))
    users = [message for message in request.messages if message.role == message_pb2.ROLE_USER]
    return _text(users[-1]) if users else ""


def _bytes_of(prompt: Prompt) -> list[int]:
    if not prompt.HasField("token_ids"):
        return list(prompt.text.encode())
    _check_bytes(prompt.token_ids.ids, "prompt.token_ids.ids")
    return list(prompt.token_ids.ids)


def _check_bytes(ids: Sequence[int], path: str) -> None:
    for place, number in enumerate(ids):
        if number >= _BYTES:
            path = f"{path}[{place}]"
            raise InvalidArgument(f"{path} must be a token, from 0 to {_BYTES - 1}, not {number}", field=path)


def _decoded(ids: Iterable[int]) -> str:
    return bytes(ids).decode(errors="replace")


def _text(message: message_pb2.Message) -> str:
    return "".join(part.text for part in message.content)


def _words(text: str) -> list[str]:
    """The words, each with the white space before it."""
    return [text[begun:end] for begun, end in pairwise([0, *(word.end() for word in _WORD.finditer(text))])]

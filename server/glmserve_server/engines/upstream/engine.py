"""The upstream engine: asks another server for the answer, and gives it as its own."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve_server import calls
from glmserve_server.engines.engine import Events, Tokens
from glmserve_server.engines.upstream import errors, zhipu
from glmserve_server.engines.upstream.addresses import Address, Addresses
from glmserve_server.engines.upstream.base import root_url
from glmserve_server.engines.upstream.client import Stream, UpstreamClient
from glmserve_server.engines.upstream.errors import Cause, Lost
from glmserve_server.engines.upstream.fault import Fault
from glmserve_server.engines.upstream.fields import contract_fields
from glmserve_server.engines.upstream.gate import Gate
from glmserve_server.engines.upstream.listing import EVERYTHING, listed, text_of, tokens_of
from glmserve_server.engines.upstream.options import Preset, UpstreamOptions
from glmserve_server.engines.upstream.pictures import with_pictures
from glmserve_server.engines.upstream.reply import Reply, Unreadable
from glmserve_server.engines.upstream.request import chat_body, completion_body, encoded, raw_prompt
from glmserve_server.errors import InvalidArgument, ServeError, Unimplemented, Unsupported, WorkerDied
from glmserve_server.images.fetcher import Fetcher
from glmserve_server.images.hosts import NOWHERE, Hosts

_LARGE: Final = 256 * 1024
"""Bytes of a request from which on it is written in a thread."""
_LOOK_SECONDS: Final = 5.0
_TAIL_SECONDS: Final = 0.5
"""How long the end of a connection's answer is waited for after its last event, so that it can be kept."""
_SERVER_FAULTS: Final = range(500, 600)

logger = logging.getLogger(__name__)


class UpstreamEngine:
    """Serves one model of other servers."""

    kind = "upstream"

    def __init__(self, options: UpstreamOptions, image_hosts: Hosts = NOWHERE) -> None:
        """`image_hosts`: from where pictures may be fetched, to be sent along."""
        self._options = options
        self.note = f"at {', '.join(options.urls)}"
        self._zhipu = options.preset is Preset.ZHIPU
        self._codes: Mapping[str, Cause] = zhipu.CODES if self._zhipu else {}
        self.capabilities = zhipu.capabilities(options.model) if self._zhipu else EVERYTHING
        self.context_length = 0  # not known until a server says
        self.on_fault: Callable[[str | None], None] = lambda _: None
        self._client = UpstreamClient(options)
        self._fetcher = Fetcher(image_hosts)
        self._gate = Gate(options.concurrency, options.queue_limit)
        self._addresses = Addresses(options.urls, self._look, self._tell_fault)

    @property
    def waiting(self) -> int:
        """See `Engine.waiting`."""
        return self._gate.waiting

    async def start(self) -> None:
        """Looks who answers. That nobody does is no reason not to start: the model's health says so until one does."""
        await self._addresses.start()

    async def aclose(self) -> None:
        """Ends all connections."""
        self._gate.close()
        await self._addresses.aclose()
        await self._client.aclose()
        await self._fetcher.aclose()

    def _tell_fault(self, fault: str | None) -> None:
        self.on_fault(fault)

    async def generate(self, request: ChatCompletionRequest) -> Events:
        """See `Engine.generate`. While nothing has come, another server may be asked."""
        content, ignored = await self._written(request)
        async with self._gate.passed(calls.caller(), admitted=calls.admit()):
            tried: list[Address] = []
            lost: Lost | None = None
            while True:
                address = self._next(tried, lost)
                try:
                    with address.busy():
                        answer = self._answer(address, request, content, ignored)
                        async with contextlib.aclosing(answer) as events:
                            async for event in events:
                                yield event
                    return
                except Lost as fault:
                    lost = fault
                    tried.append(address)
                    if lost.down:
                        self._addresses.mark_down(address)

    async def tokenize(self, request: ChatCompletionRequest, *, texts: bool = False) -> Tokens:
        """See `Engine.tokenize`; for servers that have vLLM's `/tokenize`. Raises `Unimplemented` for others."""
        if request.prompt.HasField("token_ids"):
            return Tokens(list(request.prompt.token_ids.ids), [])
        if request.HasField("prompt"):
            fields = raw_prompt(request.prompt)
        else:
            body = chat_body(await with_pictures(request, self._fetcher), self._options.model)
            fields = {name: body[name] for name in ("messages", "tools") if name in body}
        tokens = tokens_of(await self._asked("tokenize", {**fields, **({"return_token_strs": True} if texts else {})}))
        if tokens is None or (texts and len(tokens.texts) < len(tokens.ids)):
            raise _unimplemented("tokenize")
        return tokens if texts else Tokens(tokens.ids, [])

    async def count(self, request: ChatCompletionRequest) -> int:
        """See `Engine.count`."""
        return len((await self.tokenize(request)).ids)

    async def detokenize(self, ids: Sequence[int]) -> str:
        """See `Engine.detokenize`; for servers that have vLLM's `/detokenize`. Raises `Unimplemented` for others."""
        text = text_of(await self._asked("detokenize", {"tokens": list(ids)}))
        if text is None:
            raise _unimplemented("detokenize")
        return text

    async def _asked(self, path: str, fields: Mapping[str, Any]) -> bytes:
        """The answer of one of the paths that are vLLM's and not OpenAI's."""
        address = self._next([], None)
        content = encoded({"model": self._options.model, **fields})
        try:
            answer = await self._client.whole("POST", f"{root_url(address.url)}/{path}", content)
        except Lost as lost:
            raise lost.error from None
        if answer.fault is None:
            return answer.data
        if errors.no_such_path(answer.fault):
            raise _unimplemented(path)
        error = self._error(answer.fault, begun=False)
        raise error.error if isinstance(error, Lost) else error

    async def _written(self, request: ChatCompletionRequest) -> tuple[bytes, list[str]]:
        """The request as it is sent, and the fields that it has no place for."""
        request_id = calls.request_id()
        request = await with_pictures(request, self._fetcher)
        if request.ByteSize() > _LARGE:
            return await asyncio.to_thread(self._write, request, request_id)
        return self._write(request, request_id)

    def _write(self, request: ChatCompletionRequest, request_id: str) -> tuple[bytes, list[str]]:
        write = completion_body if request.HasField("prompt") else chat_body
        body, unheeded = write(request, self._options.model), []
        if self._zhipu:
            unheeded = zhipu.unheeded(body)
            body = zhipu.adapted(body, request_id)
        return encoded({**body, **self._options.extra_body}), unheeded

    def _next(self, tried: list[Address], lost: Lost | None) -> Address:
        """Whom to ask now. Raises what the last one has said when there is nobody left."""
        if (address := self._addresses.best(tried)) is not None:
            return address
        if lost is None:
            raise errors.unreachable()
        if lost.again and tried.count(tried[-1]) == 1:
            return tried[-1]
        raise lost.error

    async def _answer(
        self, address: Address, request: ChatCompletionRequest, content: bytes, unheeded: list[str]
    ) -> Events:
        """One server's answer. Raises `Lost` only before the first event."""
        headers = {"x-request-id": calls.request_id(), "accept": "text/event-stream"}
        raw = request.HasField("prompt")
        path = "completions" if raw else "chat/completions"
        async with self._client.stream(f"{address.url}/{path}", content, headers) as stream:
            if isinstance(stream, Fault):
                raise self._error(stream, begun=False, raw=raw)
            ignored = contract_fields([*unheeded, *stream.headers.get("x-glmserve-ignored", "").split(",")])
            reply = Reply(request, ignored)
            try:
                async for data in stream.events:
                    if fault := self._client.event_fault(data):
                        raise self._error(fault, begun=reply.begun, raw=raw)
                    for event in reply.read(data):
                        yield event
                    if reply.done:
                        break
                yield reply.end()
            except (Unreadable, WorkerDied) as error:
                logger.warning("%s: the stream is cut or no chat server's (%s)", address.url, type(error).__name__)
                raise errors.cut() if reply.begun else Lost(errors.unreadable()) from None
            await _ended(stream)

    def _error(self, fault: Fault, *, begun: bool, raw: bool = False) -> ServeError | Lost:
        if raw and errors.no_such_path(fault):
            return Unsupported("prompt: the server that runs this model answers conversations only", field="prompt")
        error = errors.error_of(fault, self._codes, begun=begun)
        if raw and isinstance(error, InvalidArgument) and error.field == "messages":
            return error.under("prompt")
        return error

    async def _look(self, url: str) -> bool:
        """Whether a server answers."""
        try:
            return await self._seen(url, self._client)
        except Lost as lost:
            if lost.down:
                return False
        except ServeError:
            pass
        # over HTTP/2, a request on the same connection may have broken it, and it says nothing when it is dead
        async with contextlib.aclosing(UpstreamClient(self._options)) as alone:
            with contextlib.suppress(Lost, ServeError):
                return await self._seen(url, alone)
        return False

    async def _seen(self, url: str, client: UpstreamClient) -> bool:
        """Whether a server answers that it is well. What it says of the model is believed. Raises `Lost`."""
        answer = await client.whole("GET", f"{url}/models", seconds=_LOOK_SECONDS)
        if answer.status in _SERVER_FAULTS:
            return False
        if (said := listed(answer.data, self._options.model)) is not None:
            self.context_length = said.context_length or self.context_length
            self.capabilities = self.capabilities if self._zhipu else said.capabilities
        return True


def _unimplemented(path: str) -> Unimplemented:
    return Unimplemented(f"The server that runs this model has no /{path}.")


async def _ended(stream: Stream) -> None:
    """Reads what follows the last event, which should be nothing."""
    with contextlib.suppress(TimeoutError, ServeError):
        async with asyncio.timeout(_TAIL_SECONDS):
            async for _ in stream.events:
                pass

"""The way to a server over HTTP: this project's edge, or any that speaks OpenAI's API."""

import asyncio
import json as json_text
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx
from httpx_sse import EventSource, ServerSentEvent

from glmserve_client.address import Address, Certificates
from glmserve_client.errors import (
    BadRequest,
    BrokenStream,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    GlmserveError,
    InvalidAnswer,
    NotFound,
    NotSupported,
    UnknownModel,
)
from glmserve_client.model import Model, TokenCount
from glmserve_client.reply import Event, Reply, Whole
from glmserve_client.wires import http_answer
from glmserve_client.wires.http_error import error_of, stream_error
from glmserve_client.wires.limited import LimitedTransport
from glmserve_client.wires.wire import Answer, Body

_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 60.0
_END_SECONDS: Final = 1.0
_HEADERS: Final = {"accept-encoding": "identity", "user-agent": "glmserve-client"}
_KEEP_ALIVE: Final = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),)


class HttpWire:
    """See `Wire`. Connections are kept and used again; redirects and proxies are not followed."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._base = _base(address.url)
        self._closed = False
        self._verify = _context(address.certificates) if address.encrypted else False

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        key = self._address.api_key
        limits = httpx.Limits(max_connections=None, keepalive_expiry=_IDLE_SECONDS)
        transport = httpx.AsyncHTTPTransport(verify=self._verify, limits=limits, socket_options=_KEEP_ALIVE)
        return httpx.AsyncClient(
            headers={**_HEADERS, "authorization": f"Bearer {key}"} if key else _HEADERS,
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # none is kept
            transport=LimitedTransport(transport),
            trust_env=False,
        )

    async def chat(self, body: Body, *, left: float) -> Reply:  # noqa: ARG002 (HTTP has no place for it)
        """See `Wire.chat`."""
        async with self._answer("POST", "chat/completions", json=body) as response:
            data = await _json_body(response)
            return http_answer.reply(data, _ignored(response))

    async def stream(self, body: Body, *, left: float) -> AsyncGenerator[Event]:  # noqa: ARG002 (as above)
        """See `Wire.stream`."""
        wanted = {**body, "stream": True, "stream_options": {"include_usage": True}}
        async with self._answer("POST", "chat/completions", json=wanted) as response:
            _expect(response, "text/event-stream")
            response.encoding = "utf-8-sig"  # the mark of byte order is none of the first field's name
            first = True
            async with aclosing(EventSource(response).aiter_sse()) as frames:
                async for frame in frames:
                    if not frame.data:
                        continue  # an event without data is no more than a comment
                    response.extensions["limited"].reset()
                    if frame.data == "[DONE]":
                        yield Whole()
                        await _read_to_end(frames)
                        return
                    for event in _events(frame.data, first, _ignored(response)):
                        first = False
                        yield event
        raise BrokenStream("the answer ended without [DONE]")

    async def models(self, *, left: float) -> list[Model]:  # noqa: ARG002 (as above)
        """See `Wire.models`."""
        async with self._answer("GET", "models") as response:
            return http_answer.models(await _json_body(response))

    async def count_tokens(self, body: Body, *, include_token_ids: bool, left: float) -> TokenCount:  # noqa: ARG002 (as above)
        """See `Wire.count_tokens`: `/tokenize`, which this project's edge and vLLM have, and OpenAI's API has not."""
        try:
            async with self._answer("POST", "/tokenize", json=body) as response:
                return http_answer.token_count(await _json_body(response), include_token_ids=include_token_ids)
        except UnknownModel:
            raise
        except NotFound:
            raise NotSupported(f"the server at {self._address.url} counts no tokens: it has no /tokenize") from None

    async def health(self, *, left: float) -> bool:
        """See `Wire.health`: the edge's `/readyz`, or whether models are listed where there is no such path."""
        async with self._sent("GET", "/readyz") as response:
            if response.status_code != httpx.codes.NOT_FOUND:
                return response.is_success
        await self.models(left=left)
        return True

    async def request(self, method: str, path: str, *, json: Any, params: Body | None, left: float) -> Answer:  # noqa: ARG002 (as above)
        """See `Wire.request`."""
        async with self._answer(method, path, json=json, params=params) as response:
            body = await response.aread()
            is_json = _media_type(response).endswith("json") and body
            return Answer(
                status=response.status_code,
                headers=dict(response.headers),
                body=body,
                json=_parsed(body) if is_json else None,
            )

    async def aclose(self) -> None:
        """See `Wire.aclose`."""
        self._closed = True
        if "_client" in vars(self):
            await self._client.aclose()

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, *, json: Any = None, params: Body | None = None
    ) -> AsyncIterator[httpx.Response]:
        """The answer of a call that went well, its body still to be read."""
        async with self._sent(method, path, json=json, params=params) as response:
            if not response.is_success:
                raise error_of(response.status_code, response.headers, await response.aread())
            yield response

    @asynccontextmanager
    async def _sent(
        self, method: str, path: str, *, json: Any = None, params: Body | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Any answer, its body still to be read."""
        begun = False
        try:
            async with self._client.stream(method, self._url(path), **_content(json), params=params) as response:
                begun = True
                yield response
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, ssl.SSLError) as error:
            raise self._lost(error, begun) from None

    def _url(self, path: str) -> httpx.URL:
        """The address of a path under the base, or of the server's if it begins with a slash."""
        try:
            url = self._base.join(path)
        except (httpx.InvalidURL, ValueError) as error:
            raise ConfigurationError(f"{path[:80]!r} is no path: {error}") from None
        if (url.scheme, url.netloc) != (self._base.scheme, self._base.netloc):
            raise ConfigurationError(f"{path[:80]!r} leads away from {self._address.url}")
        return url

    def _lost(self, error: Exception, begun: bool) -> GlmserveError:
        if self._closed:
            return ClientClosed("the client was closed during the call")
        reason = str(error) or type(error).__name__
        if begun:
            return BrokenStream(f"the answer broke off: {reason}")
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return ConnectionFailed(f"no server answers at {self._address.url}: {reason}", retry_after=0.0)
        return ConnectionFailed(f"the connection to {self._address.url} broke: {reason}")


def _base(url: str) -> httpx.URL:
    """Where paths are put behind. Raises `ConfigurationError`."""
    try:
        base = httpx.URL(url + "/")
        base.host  # noqa: B018 (some names are found to be none only here)
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigurationError(f"{url[:80]!r} is no address: {error}") from None
    return base


def _content(json: Any) -> dict[str, Any]:
    """The body of a request and what it is. Raises `BadRequest` for what JSON cannot hold."""
    if json is None:
        return {}
    try:
        text = json_text.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return {"content": text.encode(), "headers": {"content-type": "application/json"}}
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the request cannot be written as JSON: {error}") from None


def _events(data: str, first: bool, ignored: tuple[str, ...]) -> list[Event]:
    if '"error"' in data:
        found = _parsed(data.encode())
        if isinstance(found, dict) and found.get("error"):
            raise stream_error(found["error"])
    return http_answer.events(data, first=first, ignored=ignored)


async def _read_to_end(frames: AsyncIterator[ServerSentEvent]) -> None:
    """Reads what follows the answer, so that its connection can be used again: its end, unless that takes long."""
    with suppress(TimeoutError, httpx.HTTPError, httpx.StreamError, ssl.SSLError, InvalidAnswer):
        async with asyncio.timeout(_END_SECONDS):
            async for _ in frames:
                pass


async def _json_body(response: httpx.Response) -> bytes:
    _expect(response, "application/json")
    return await response.aread()


def _expect(response: httpx.Response, media_type: str) -> None:
    if _media_type(response) != media_type:
        raise InvalidAnswer(f"the answer should be {media_type}, not {_media_type(response)[:80] or 'of no type'}")


def _media_type(response: httpx.Response) -> str:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _parsed(body: bytes) -> Any:
    try:
        return json_text.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswer(f"the answer is no JSON: {error}") from None


def _ignored(response: httpx.Response) -> tuple[str, ...]:
    names = response.headers.get("x-glmserve-ignored", "").split(",")
    return tuple(name.strip() for name in names if name.strip())


def _context(files: Certificates) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=files.ca) if files.ca else httpx.create_ssl_context()
        if files.cert is not None:
            context.load_cert_chain(files.cert, files.key, password="")  # or it is asked for on a terminal
    except OSError as error:
        raise ConfigurationError(f"the certificates cannot be used: {error.strerror or error}") from None
    return context

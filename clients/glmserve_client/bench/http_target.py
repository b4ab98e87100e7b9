"""Any server that speaks OpenAI's HTTP API."""

import json
from collections.abc import AsyncGenerator
from typing import Any, Final

import httpx
from httpx_sse import EventSource, SSEError

from glmserve_client.bench.target import Ask, Failed, Piece, Usage

_CONNECT_SECONDS: Final = 10.0
_EXTRAS: Final = ("ignore_eos", "stream_options")
"""Parameters that some servers refuse."""


class HttpTarget:
    """See `Target`. Every stream has a connection of its own, which ends with it."""

    face = "http"

    def __init__(self, url: str, *, api_key: str | None) -> None:
        """`url` is the API's root, which ends with `/v1` on most servers."""
        self.address = url.rstrip("/")
        self.ignored: set[str] = set()
        self._with_extras = True
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            limits=httpx.Limits(max_connections=None),
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            verify=httpx.create_ssl_context(),
            trust_env=False,  # no proxies: they would be measured too, and see the key
        )

    async def first_model(self) -> str:
        """See `Target.first_model`."""
        try:
            response = await self._client.get(f"{self.address}/models")
            if response.is_error:
                raise _refused(response)
            model: str = response.json()["data"][0]["id"]
        except httpx.HTTPError as error:
            raise _lost(error) from None
        except (ValueError, LookupError, TypeError):
            raise Failed("no list of models", response.text[:200]) from None
        return model

    async def stream(self, ask: Ask) -> AsyncGenerator[Piece | Usage]:
        """See `Target.stream`."""
        try:
            async with self._client.stream("POST", f"{self.address}/chat/completions", json=self._body(ask)) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise _refused(answer)
                self.ignored.update(_names(answer.headers.get("x-glmserve-ignored", "")))
                async for event in EventSource(answer).aiter_sse():
                    if event.data == "[DONE]":
                        return
                    for part in _parts(event.data) if event.data else ():
                        yield part
        except (httpx.HTTPError, httpx.StreamError, SSEError) as error:
            raise _lost(error) from None

    def simplify(self, refusal: Failed) -> bool:
        """See `Target.simplify`."""
        if not self._with_extras or not refusal.kind.startswith(("HTTP 400", "HTTP 422")):
            return False
        self._with_extras = False
        self.ignored.update(_EXTRAS)
        return True

    async def aclose(self) -> None:
        """See `Target.aclose`."""
        await self._client.aclose()

    def _body(self, ask: Ask) -> dict[str, Any]:
        extras = {"ignore_eos": True, "stream_options": {"include_usage": True}} if self._with_extras else {}
        return {
            "model": ask.model,
            "messages": [{"role": role, "content": text} for role, text in ask.turns],
            "max_tokens": ask.answer_tokens,
            "temperature": 0,
            "stream": True,
            **extras,
        }


def _parts(data: str) -> list[Piece | Usage]:
    """What a chunk holds. Raises `Failed` for an error in the stream and for what is no chunk."""
    try:
        chunk = json.loads(data)
        if error := chunk.get("error"):
            raise Failed(f"in the stream: {error.get('code') or error.get('type')}", error.get("message") or "")
        deltas = [choice.get("delta") or {} for choice in chunk.get("choices") or []]
        texts = [text for delta in deltas for name in ("reasoning_content", "content") if (text := delta.get(name))]
        usage = chunk.get("usage")
        return [*map(Piece, texts), *([_usage(usage)] if usage else [])]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Failed("no chunk of a chat completion", data[:200]) from None


def _usage(usage: dict[str, Any]) -> Usage:
    return Usage(
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
    )


def _names(header: str) -> list[str]:
    return [name.strip() for name in header.split(",") if name.strip()]


def _refused(response: httpx.Response) -> Failed:
    try:
        error = response.json()["error"]
        code, message = error["code"] or error["type"], error["message"]
    except (ValueError, LookupError, TypeError):
        code, message = "", response.text[:200]
    return Failed(f"HTTP {response.status_code} {code}".rstrip(), f"{message}")


def _lost(error: Exception) -> Failed:
    return Failed(type(error).__name__, str(error))

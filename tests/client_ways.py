"""The ways to use the client, so that one test is about all of them: both wires, with and without an event loop."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import pytest
from running import Glmserve

from glmserve_client import AsyncClient, AsyncStream, AsyncTurn, Client, Delta

WAYS = [f"{wire}-{style}" for wire in ("grpc", "http") for style in ("sync", "async")]

ROUTES = (("grpc-sync", "direct"), ("http-async", "direct"), ("grpc-async", "relayed"), ("http-sync", "relayed"))
"""Ways to a model, straight or through a server that has it upstream: of wires, styles and routes each meets each of
the others."""

BATCHED_ROUTES = [pytest.param((way, "batched"), marks=pytest.mark.llama) for way in ("grpc-async", "http-sync")]
"""The same to the embedded model, run by llama.cpp."""

SMOLLM2_ROUTES = [pytest.param((way, "smollm2"), marks=pytest.mark.llama) for way in ("grpc-sync", "http-async")]
"""The same to SmolLM2."""


class Driven:
    """Something asynchronous behind the methods of its blocking counterpart, on a loop that runs during calls."""

    def __init__(self, runner: asyncio.Runner, wrapped: Any) -> None:
        self.runner = runner
        self.wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.wrapped, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: self._made(found, args, kwargs)

    def close(self) -> None:
        """See `Client.close`."""
        self.runner.run(self.wrapped.aclose())

    def _made(self, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        made = method(*args, **kwargs)
        if isinstance(made, AsyncStream | AsyncTurn):
            return DrivenStream(self.runner, made)
        return self.runner.run(made)


class DrivenStream(Driven):
    """See `Driven`."""

    def __enter__(self) -> Self:
        self.runner.run(self.wrapped.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.runner.run(self.wrapped.__aexit__(kind, error, traceback))

    def __iter__(self) -> Iterator[Delta]:
        return self

    def __next__(self) -> Delta:
        try:
            return self.runner.run(self.wrapped.__anext__())  # type: ignore[no-any-return]
        except StopAsyncIteration:
            raise StopIteration from None

    def texts(self) -> Iterator[str]:
        """See `AsyncStream.texts`."""
        texts = self.wrapped.texts()
        while (text := self.runner.run(anext(texts, None))) is not None:
            yield text


def url_of(server: Glmserve, wire: str) -> str:
    """The address of a server over `grpc` or `http`, for the client."""
    return f"grpc://{server.grpc_address}" if wire == "grpc" else server.openai_url


@contextmanager
def opened(style: str, url: str, **options: Any) -> Iterator[Any]:
    """A client, `sync` or `async`, with the methods of `Client`."""
    if style == "sync":
        with Client(url, **options) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        driven = AsyncClient(url, **options)
        try:
            yield Driven(runner, driven)
        finally:
            runner.run(driven.aclose())

"""Pieces of an answer go out as soon as they are there: alone when they come alone, else together."""

import asyncio
import json
from collections.abc import AsyncGenerator

import httpx
import pytest
from faces import Face
from running import Glmserve

from glmserve_server.ahead import Ahead


class Source:
    """Gives what is put into it; None ends it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[int | Exception | None] = asyncio.Queue()
        self.given = 0
        self.closed = asyncio.Event()

    def put(self, *items: int | Exception | None) -> None:
        """Makes items ready."""
        for item in items:
            self.queue.put_nowait(item)

    async def items(self) -> AsyncGenerator[int, None]:
        """What an engine would give."""
        try:
            while (item := await self.queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                self.given += 1
                yield item
        finally:
            self.closed.set()


async def turns(count: int = 100) -> None:
    """Gives everything else on the event loop its turn, so often."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_an_item_that_comes_alone_is_given_alone_and_at_once() -> None:
    source = Source()
    async with Ahead(source.items()) as ahead:
        for number in range(3):
            source.put(number)
            assert await anext(ahead) == [number]  # the next one is not even made yet


async def test_items_that_have_come_meanwhile_are_given_together() -> None:
    source = Source()
    async with Ahead(source.items()) as ahead:
        source.put(0)
        assert await anext(ahead) == [0]
        source.put(1, 2, 3, None)
        await source.closed.wait()
        assert [items async for items in ahead] == [[1, 2, 3]]


async def test_a_source_waits_for_a_reader_who_takes_nothing() -> None:
    source = Source()
    source.put(*range(1000), None)
    async with Ahead(source.items()) as ahead:
        await turns()
        assert source.given == 64
        assert [item async for items in ahead for item in items] == list(range(1000))


async def test_an_error_comes_after_the_items_before_it() -> None:
    source = Source()
    source.put(1, 2, LookupError("three"))
    async with Ahead(source.items()) as ahead:
        await source.closed.wait()
        assert await anext(ahead) == [1, 2]
        with pytest.raises(LookupError, match="three"):
            await anext(ahead)


@pytest.mark.parametrize("ready", [0, 1, 1000])
async def test_it_can_be_ended_with_an_error_whatever_the_source_does(ready: int) -> None:
    source = Source()
    source.put(*range(ready))
    async with Ahead(source.items()) as ahead:
        await turns()
        ahead.fail(TimeoutError("late"))
        if ready:
            assert len(await anext(ahead)) == min(ready, 64)
        with pytest.raises(TimeoutError, match="late"):
            await anext(ahead)
        await source.closed.wait()


async def test_leaving_closes_the_source() -> None:
    source = Source()
    async with Ahead(source.items()) as ahead:
        source.put(1)
        await anext(ahead)
    assert source.closed.is_set()


def test_words_that_come_one_by_one_are_sent_one_by_one(face: Face) -> None:
    pieces = [reply.text for reply in face.stream([("user", "/count 20 at 50")], model="scripted")]
    assert pieces[-1].split() == [str(number) for number in range(1, 21)]
    assert len(set(pieces)) > 10  # a busy machine may be late with some


def test_words_that_are_ready_together_are_sent_together(face: Face) -> None:
    pieces = {reply.text for reply in face.stream([("user", "as many words as there are")], model="scripted")}
    assert pieces == {"", "as many words as there are"}


async def test_what_is_sent_together_is_whole_events(server: Glmserve) -> None:
    messages = [{"role": "user", "content": "/count 3000"}]
    body = {"model": "scripted", "stream": True, "messages": messages, "stream_options": {"include_usage": True}}
    url = f"{server.openai_url}/chat/completions"
    async with httpx.AsyncClient(timeout=30) as http:
        response = await http.post(url, json=body)
    *events, done, end = response.content.split(b"\n\n")
    assert (done, end) == (b"data: [DONE]", b"")
    *chunks, usage = [json.loads(event.removeprefix(b"data: ")) for event in events]
    assert usage["usage"]["completion_tokens"] == 3000
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text.split() == [str(number) for number in range(1, 3001)]
    assert len(chunks) < 3000

"""Several callers and several answers on few workers: prefixes, choices, fairness."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import openai
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import MODEL, Glmserve

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest, CreateChatCompletionResponse
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message
from glmserve_server.bundled import BUNDLED
from glmserve_server.engines.chatglm.job import common_prefix
from glmserve_server.engines.chatglm.pool import Pool
from glmserve_server.engines.chatglm.process import WorkerProcess
from glmserve_server.waiting import Waiting

TALKS = [
    ["Hello! My name is Ada.", "What is the capital of France?", "What is my name?", "Thank you!"],
    ["你好", "你是谁？", "法国的首都是哪里？", "再见"],
    ["Say this is a test", "Say it again", "Count to five", "What can you do?"],
]


@pytest.fixture(scope="module")
def single() -> Iterator[Glmserve]:
    """A server with one worker, so that the same worker has every turn."""
    with Glmserve("up", "--model", MODEL, "--workers", "1") as running:
        yield running


def asked(server: Glmserve, turns: list[str], **parameters: object) -> CreateChatCompletionResponse:
    """The greedy answer to user and assistant turns in alternation."""
    roles = (message_pb2.ROLE_USER, message_pb2.ROLE_ASSISTANT)
    messages = [Message(role=roles[index % 2], content=[ContentPart(text=text)]) for index, text in enumerate(turns)]
    request = ChatCompletionRequest(model=MODEL, messages=messages, temperature=0, **parameters)  # type: ignore[arg-type]
    with grpc.insecure_channel(server.grpc_address) as channel:
        return ChatServiceStub(channel).CreateChatCompletion(request)


def text_of(response: CreateChatCompletionResponse, choice: int = 0) -> str:
    """The text of one choice."""
    return response.choices[choice].message.content[0].text


def test_a_prompt_that_was_just_read_is_not_read_again(single: Glmserve) -> None:
    turns = ["Tell me something about the capital of France, please, and about yourself. Who are you?"]
    first = asked(single, turns)
    again = asked(single, turns)
    assert text_of(again) == text_of(first)
    assert again.usage.prompt_tokens == first.usage.prompt_tokens
    assert again.usage.cached_tokens == again.usage.prompt_tokens - 1
    with openai.OpenAI(base_url=single.openai_url, api_key="none") as client:
        messages: Any = [{"role": "user", "content": turns[0]}]
        completion: Any = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
        assert completion.usage.prompt_tokens_details.cached_tokens == again.usage.cached_tokens


ONE = {"max_completion_tokens": 1}


def test_requests_of_one_key_go_to_the_worker_that_had_it_last() -> None:
    one, two, other = (f"{word} " * 40 for word in ("Hello", "Paris", "seven"))
    with Glmserve("serve", "--model", MODEL, "--workers", "2") as server:
        for key, kept in (("a", two), ("b", one)):
            asked(server, [one], prompt_cache_key="a", **ONE)
            asked(server, [two], prompt_cache_key="b", **ONE)
            asked(server, [other], prompt_cache_key=key, **ONE)
            usage = asked(server, [kept], **ONE).usage
            assert usage.cached_tokens == usage.prompt_tokens - 1


def test_conversations_that_begin_alike_do_not_drive_each_other_out() -> None:
    one, two = "Hello! " * 40, "Hello? " * 40
    with Glmserve("serve", "--model", MODEL, "--workers", "2") as server:
        for text in (one, two):
            assert asked(server, [text], **ONE).usage.cached_tokens < 10
        for text in (one, two, one, two):
            usage = asked(server, [text], **ONE).usage
            assert usage.cached_tokens == usage.prompt_tokens - 1


@pytest.mark.parametrize("talk", TALKS)
def test_answers_are_the_same_with_and_without_what_is_kept(single: Glmserve, talk: list[str]) -> None:
    with Glmserve("serve", "--model", MODEL, "--workers", "1", "--no-prefix-reuse") as forgetful:
        turns: list[str] = []
        for question in talk:
            turns.append(question)
            kept, fresh = asked(single, turns), asked(forgetful, turns)
            assert text_of(kept) == text_of(fresh)
            assert kept.usage.completion_tokens == fresh.usage.completion_tokens
            assert fresh.usage.cached_tokens == 0
            turns.append(text_of(kept))


def test_choices_are_given_over_both_faces(server: Glmserve) -> None:
    whole = asked(server, ["Hello!"], n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert len({text_of(whole, index) for index in range(3)}) == 1  # greedy
    one = asked(server, ["Hello!"])
    assert whole.usage.prompt_tokens == one.usage.prompt_tokens
    assert whole.usage.completion_tokens == 3 * one.usage.completion_tokens
    with openai.OpenAI(base_url=server.openai_url, api_key="none") as client:
        messages: Any = [{"role": "user", "content": "Hello!"}]
        texts, finished = ["", "", ""], []
        chunks = client.chat.completions.create(model=MODEL, messages=messages, temperature=0, n=3, stream=True)
        for chunk in chunks:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                finished += [choice.index] if choice.finish_reason else []
        assert texts == [text_of(one)] * 3
        assert sorted(finished) == [0, 1, 2]


def test_a_fault_in_one_choice_fails_the_answer_and_frees_the_workers(single: Glmserve) -> None:
    with pytest.raises(grpc.RpcError, match="at most 8"):
        asked(single, ["Hello!"], n=9)
    assert len(asked(single, ["Hello!"], n=8).choices) == 8


async def test_callers_are_served_in_turn() -> None:
    waiting: Waiting[int] = Waiting(10)
    futures = {place: waiting.join(place[0], ValueError()) for place in ("a1", "a2", "a3", "b1", "b2", "c1")}
    order = []
    for number in range(len(futures)):
        assert waiting.call(number)
        order += [place for place, future in futures.items() if future.done() and place not in order]
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert not waiting.call(7)


async def test_who_waits_often_makes_room_for_who_waits_seldom() -> None:
    waiting: Waiting[int] = Waiting(3)
    places = [waiting.join("greedy", ValueError()) for _ in range(3)]
    with pytest.raises(ValueError, match="full"):
        waiting.join("greedy", ValueError("full"))
    modest = waiting.join("modest", ValueError("full"))
    with pytest.raises(ValueError, match="full"):
        await places[2]
    with pytest.raises(ValueError, match="full"):
        waiting.join("modest", ValueError("full"))
    waiting.leave("modest", modest)
    assert len(waiting) == 2


async def test_places_that_were_given_up_do_not_count() -> None:
    waiting: Waiting[int] = Waiting(2)
    for future in [waiting.join("greedy", ValueError()) for _ in range(2)]:
        future.cancel()
    waiting.join("modest", ValueError("full"))
    waiting.join("modest", ValueError("full"), admitted=True)
    waiting.join("other", ValueError("full"))
    assert len(waiting) == 2


async def test_whoever_gave_up_is_passed_over() -> None:
    waiting: Waiting[int] = Waiting(3)
    gone, here = waiting.join("a", ValueError()), waiting.join("a", ValueError())
    gone.cancel()
    assert waiting.call(1)
    assert await asyncio.wait_for(here, 1) == 1


@given(st.lists(st.integers(0, 2), max_size=30), st.lists(st.integers(0, 2), max_size=30))
def test_the_common_prefix_is_the_longest(left: list[int], right: list[int]) -> None:
    size = common_prefix(left, right)
    assert left[:size] == right[:size]
    assert size == min(len(left), len(right)) or left[size] != right[size]


async def test_what_comes_after_the_end_is_not_heard() -> None:
    started: list[WorkerProcess] = []
    again = threading.Event()

    def start(bell: Any) -> WorkerProcess:
        if started:
            again.set()
        model = BUNDLED[MODEL]
        started.append(WorkerProcess(model, context_length=128, threads=1, reuse=True, silence=30, bell=bell))
        return started[-1]

    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    pool = Pool(start, workers=1, queue_limit=1, stall_limit=10, on_fault=errors.append)
    await pool.start()
    psutil.Process(started[0].pid).kill()
    again.wait()  # its loss has been told, and this loop has not heard it
    await pool.aclose()
    assert errors == []

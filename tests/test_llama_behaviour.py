"""llama.cpp over both faces: what only it can, and what conversations share."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import grpc
import openai
import pytest
from faces import Face, Refused
from running import MODEL, Glmserve, llama_server

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message

pytestmark = pytest.mark.llama

Way = Callable[[Glmserve], AbstractContextManager[Face]]

QUESTION = [("user", "What is the capital of France?")]
GREEDY: dict[str, Any] = {"model": MODEL, "temperature": 0}
ENDLESS: dict[str, Any] = {**GREEDY, "ignore_eos": True}
SYSTEM = ("system", "You are Bob. " + "You answer in one short sentence and never say more than was asked. " * 6)


@pytest.fixture(params=["batched", "smollm2"])
def either(request: pytest.FixtureRequest) -> Glmserve:
    """A server that runs the embedded model with llama.cpp, and one that runs SmolLM2 by the same name."""
    found: Glmserve = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def stub(either: Glmserve) -> Iterator[Any]:
    with grpc.insecure_channel(either.grpc_address) as channel:
        yield ChatServiceStub(channel)


def asked(text: str, **parameters: Any) -> ChatCompletionRequest:
    message = Message(role=message_pb2.ROLE_USER, content=[ContentPart(text=text)])
    return ChatCompletionRequest(model=MODEL, messages=[message], temperature=0, **parameters)


def said(choice: Any) -> str:
    return "".join(part.text for part in choice.message.content)


def test_log_probabilities_over_grpc_belong_to_the_text(stub: Any) -> None:
    (choice,) = stub.CreateChatCompletion(
        asked(QUESTION[0][1], logprobs=True, top_logprobs=5, max_completion_tokens=6)
    ).choices
    tokens = choice.logprobs
    assert b"".join(bytes(token.bytes) for token in tokens).decode().strip() == said(choice)
    for token in tokens:
        assert len(token.top_logprobs) == 5
        assert sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1.0001
        assert token.logprob == max(other.logprob for other in token.top_logprobs)  # greedy


def test_several_choices_over_grpc_are_each_whole(stub: Any) -> None:
    answer = stub.CreateChatCompletion(asked("Hello!", n=3, ignore_eos=True, max_completion_tokens=6))
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert all(said(choice).startswith("Hello") for choice in answer.choices)
    assert answer.usage.completion_tokens == 18


def test_a_bias_for_no_token_is_refused_over_grpc(stub: Any) -> None:
    with pytest.raises(grpc.RpcError, match=r"logit_bias\[99999999\] is no token of this model") as refused:
        stub.CreateChatCompletion(asked("Hello!", logit_bias={99999999: 1}))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_token_that_is_kept_out_is_not_in_the_answer(batched: Glmserve, way: Way) -> None:
    with way(batched) as face:
        words = [face.tokenize(text, model=MODEL, add_special_tokens=False)[0] for text in ("Paris", " Paris")]
        free = face.ask(QUESTION, **GREEDY)
        biased = face.ask(QUESTION, **GREEDY, logit_bias={number: -100 for word in words for number in word})
    assert "Paris" in free.text
    assert biased.text
    assert "Paris" not in biased.text
    assert biased.ignored == []


def test_the_time_of_a_caller_ends_his_answer(batched: Glmserve) -> None:
    """Over both faces; whoever comes next is answered by the same process."""
    before = batched.workers()
    endless = asked(QUESTION[0][1], n=8, ignore_eos=True)
    with (
        grpc.insecure_channel(batched.grpc_address) as channel,
        pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"),
    ):
        ChatServiceStub(channel).CreateChatCompletion(endless, timeout=0.3)
    messages: Any = [{"role": "user", "content": QUESTION[0][1]}]
    with openai.OpenAI(base_url=batched.openai_url, api_key="none", max_retries=0) as client:
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(
                model=MODEL, messages=messages, n=8, temperature=0, timeout=0.3, extra_body={"ignore_eos": True}
            )
        answer = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    assert "Paris" in str(answer.choices[0].message.content)
    assert batched.workers() == before


def test_a_silent_worker_is_replaced(way: Way) -> None:
    with llama_server("--model", MODEL, "--silence-limit", "3", slots=1) as server, way(server) as face:
        stream = face.stream(QUESTION, **ENDLESS)
        list(islice(stream, 2))
        (process,) = server.workers()
        process.suspend()
        with pytest.raises(Refused, match="said nothing for 3 seconds"):
            list(stream)
        assert "Paris" in face.ask(QUESTION, **GREEDY).text
        assert server.workers() != [process]


def test_conversations_that_begin_alike_share_what_was_read(either: Glmserve, way: Way) -> None:
    with way(either) as face:
        short = {**GREEDY, "max_completion_tokens": 4}
        face.ask([SYSTEM, ("user", "What is your name?")], **short)
        other = face.ask([SYSTEM, ("user", "Tell me of the sea.")], **short)
        assert 40 < other.cached_tokens < other.prompt_tokens
        alone = face.ask([("system", "Be brief."), ("user", "Tell me of the sea.")], **short)
        assert alone.cached_tokens < 40


def test_conversations_that_begin_alike_are_kept_apart(batched: Glmserve, way: Way) -> None:
    """Two at a time; each answer is what it is alone."""
    talks = [
        [SYSTEM, ("user", "What is the capital of France?")],
        [SYSTEM, ("user", "Hello! My name is Ada.")],
    ]
    with way(batched) as face, ThreadPoolExecutor() as threads:
        alone = [face.ask(talk, **GREEDY).text for talk in talks]
        assert alone[0] != alone[1]
        for _ in range(3):
            together = list(threads.map(lambda talk: face.ask(talk, **GREEDY), talks))
            assert [reply.text for reply in together] == alone
            assert all(reply.cached_tokens > 40 for reply in together)

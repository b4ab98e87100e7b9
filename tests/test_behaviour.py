"""What a model does for a caller with the client: the same over both wires, with each engine that runs models, and with
the upstream engine in between.

`test_chat.py`, `test_tools.py` and `test_pictures.py` are run in these ways as well.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import pytest
from client_ways import BATCHED_ROUTES, ROUTES, SMOLLM2_ROUTES, Driven, opened, url_of
from running import MODEL, Glmserve, llama_server, relayed, smollm2_server

from glmserve_client import (
    AsyncConversation,
    BadRequest,
    ContextLengthExceeded,
    Conversation,
    DeadlineExceeded,
    FinishReason,
    RateLimited,
    Stalled,
    Unavailable,
    UnknownModel,
    Unsupported,
    assistant,
    image,
    system,
    user,
)

QUESTION = "What is the capital of France?"
HELLO = "Hello!"
"""Every model begins its answer with the same word."""
GREEDY: Any = {"model": MODEL, "temperature": 0}
SHORT: Any = {**GREEDY, "max_completion_tokens": 24}
ENDLESS: Any = {**GREEDY, "ignore_eos": True}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)

Open = Callable[..., AbstractContextManager[Any]]


ANY_MODEL = pytest.mark.parametrize("route", [*ROUTES, *BATCHED_ROUTES, *SMOLLM2_ROUTES], ids="-".join, indirect=True)
"""For a test of what SmolLM2 does as well, which knows nothing of France."""


@pytest.fixture(scope="module")
def single_direct() -> Iterator[Glmserve]:
    """A server with one worker."""
    with Glmserve("up", "--model", MODEL, "--workers", "1", "--threads", "1", "--queue-limit", "1") as running:
        yield running


@pytest.fixture(scope="module")
def single_relayed(single_direct: Glmserve) -> Iterator[Glmserve]:
    """A server that has it as its upstream."""
    with relayed(single_direct, MODEL) as running:
        yield running


@pytest.fixture(scope="module")
def single_batched() -> Iterator[Glmserve]:
    """A server that runs one answer at a time with llama.cpp."""
    with llama_server("--model", MODEL, "--queue-limit", "1", slots=1) as running:
        yield running


@pytest.fixture(scope="module")
def single_smollm2() -> Iterator[Glmserve]:
    """The same with SmolLM2."""
    with smollm2_server("--queue-limit", "1", slots=1) as running:
        yield running


@pytest.fixture(params=[*ROUTES, *BATCHED_ROUTES], ids="-".join)
def route(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A way to use the client, and to which server."""
    way, place = request.param
    return way, place


@pytest.fixture
def source(request: pytest.FixtureRequest, route: tuple[str, str]) -> Glmserve:
    """The server that runs what `client` asks."""
    place = {"direct": "server", "relayed": "server"}.get(route[1], route[1])
    running: Glmserve = request.getfixturevalue(place)
    return running


@pytest.fixture
def client(request: pytest.FixtureRequest, route: tuple[str, str], source: Glmserve) -> Iterator[Any]:
    """A client of a server that runs the model, or has it from there."""
    way, place = route
    with opened_to(request.getfixturevalue("relay") if place == "relayed" else source, way) as made:
        yield made


@pytest.fixture
def single(request: pytest.FixtureRequest, route: tuple[str, str]) -> Glmserve:
    """The server that runs what a client of `open_client` asks, one answer at a time."""
    place = {"relayed": "direct"}.get(route[1], route[1])
    running: Glmserve = request.getfixturevalue(f"single_{place}")
    return running


@pytest.fixture
def open_client(request: pytest.FixtureRequest, route: tuple[str, str]) -> Open:
    """Opens clients of `single`, straight or not."""
    way, place = route
    server = request.getfixturevalue(f"single_{place}")
    return lambda **options: opened_to(server, way, **options)


def opened_to(server: Glmserve, way: str, **options: Any) -> AbstractContextManager[Any]:
    """A client of a server."""
    wire, style = way.split("-")
    return opened(style, url_of(server, wire), **options)


def test_a_question_is_answered(client: Any) -> None:
    reply = client.chat(QUESTION, **GREEDY)
    assert "Paris" in reply.text
    assert (reply.model, reply.finish_reason, reply.ignored) == (MODEL, FinishReason.STOP, ())
    assert reply.id.startswith("chatcmpl-")
    assert reply.created > 1e9
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 2


@ANY_MODEL
def test_a_stream_holds_the_reply_so_far(client: Any) -> None:
    whole = client.chat(QUESTION, **SHORT)
    with client.stream(QUESTION, **SHORT) as stream:
        assert (stream.text, stream.usage, stream.finish_reason, stream.model) == ("", None, None, MODEL)
        text = ""
        for delta in stream:
            text += delta.text
            assert stream.text == text
        assert next(stream, None) is None
    assert (stream.text, stream.finish_reason) == (whole.text, whole.finish_reason)
    assert stream.usage.completion_tokens == whole.usage.completion_tokens
    assert stream.reply.choices == whole.choices


def test_a_stream_is_plain_text_too(client: Any) -> None:
    with client.stream(QUESTION, **ENDLESS, max_completion_tokens=500) as stream:
        texts = list(stream.texts())
    assert len(texts) > 1
    assert "".join(texts) == stream.text


@ANY_MODEL
def test_several_choices_come_apart(client: Any) -> None:
    whole = client.chat(HELLO, **GREEDY, n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    with client.stream(HELLO, **GREEDY, n=3) as stream:
        assert {delta.index for delta in stream} == {0, 1, 2}
    assert stream.reply.choices == whole.choices


def test_messages_have_several_forms(client: Any) -> None:
    first = client.chat([system("You are Bob."), "What is your name?"], **GREEDY)
    assert "Bob" in first.text
    talk = [{"role": "user", "content": [{"type": "text", "text": "Hello! My name is Ada."}]}]
    talk += [assistant("Nice to meet you, Ada!"), user("What is ", "my name?")]
    assert "Ada" in client.chat(talk, **GREEDY).text
    assert client.chat(["Hello!", client.chat("Hello!", **GREEDY), QUESTION], **GREEDY).text


@pytest.mark.parametrize("route", ROUTES, ids="-".join, indirect=True)  # llama.cpp honours them
def test_preferences_that_cannot_be_honoured_are_named(client: Any) -> None:
    wishes = {"presence_penalty": 1.2, "seed": 7, "min_p": 0.1, "top_k": 3}
    assert client.chat("Hello!", **GREEDY, **wishes).ignored == ("min_p", "presence_penalty", "seed")
    with client.stream("Hello!", **GREEDY, **wishes, reasoning_effort="low") as stream:
        assert set(stream.ignored) >= {"min_p", "presence_penalty", "seed", "reasoning_effort"}


@pytest.mark.parametrize(
    ("parameters", "kind", "field"),
    [
        ({"temperature": 2.5}, BadRequest, "temperature"),
        ({"temperature": "warm"}, BadRequest, "temperature"),
        ({"max_completion_tokens": 0}, BadRequest, "max_completion_tokens"),
        ({"n": 9}, Unsupported, "n"),
        ({"stop": ["a", ""]}, BadRequest, "stop[1]"),
        ({"tools": [{"type": "function", "function": {"name": "no no"}}]}, BadRequest, "tools[0].function.name"),
        ({"messages": [{"role": "nobody", "content": "Hello!"}]}, BadRequest, "messages[0].role"),
        ({"messages": []}, BadRequest, "messages"),
        ({"messages": [user("What is this?", image(PNG))]}, Unsupported, "messages"),
        ({"messages": ["word " * 5000]}, ContextLengthExceeded, None),
    ],
)
def test_a_bad_request_names_the_argument(
    client: Any, parameters: dict[str, Any], kind: type[BadRequest], field: str | None
) -> None:
    check_refusal(client, parameters, kind, field)


@pytest.mark.parametrize("route", ROUTES, ids="-".join, indirect=True)  # llama.cpp can
@pytest.mark.parametrize(
    ("parameters", "field"),
    [({"logprobs": True}, "logprobs"), ({"response_format": {"type": "json_object"}}, "response_format")],
)
def test_what_the_engine_cannot_do_names_the_argument(client: Any, parameters: dict[str, Any], field: str) -> None:
    check_refusal(client, parameters, Unsupported, field)


def check_refusal(client: Any, parameters: dict[str, Any], kind: type[BadRequest], field: str | None) -> None:
    """Whole and streamed, it is refused alike."""
    arguments = {"model": MODEL, "messages": ["Hello!"], **parameters}
    for call in (client.chat, lambda *args, **kwargs: client.stream(*args, **kwargs).__enter__()):
        with pytest.raises(BadRequest) as raised:
            call(**arguments)
        assert type(raised.value) is kind
        assert raised.value.retry_after is None
        if field is not None:
            (violation,) = raised.value.violations
            assert violation.field.startswith(field)
            assert violation.description


def test_an_unknown_model_is_not_found(client: Any) -> None:
    with pytest.raises(UnknownModel, match="'gpt-9' does not exist"):
        client.chat("Hello!", model="gpt-9")


@ANY_MODEL
def test_models_are_listed_with_what_they_can(client: Any, source: Glmserve) -> None:
    models = client.models()
    assert [model.id for model in models] == [MODEL, "scripted"]
    assert all(model.created > 1e9 and model.owned_by for model in models)
    with opened("sync", url_of(source, "grpc")) as straight:
        for mine, theirs in zip(models, straight.models(), strict=True):
            assert mine.engine in (theirs.engine, "upstream")
            assert mine.capabilities == theirs.capabilities
            assert mine.context_length == theirs.context_length
    assert models[0].capabilities.max_choices == 8


def test_tokens_are_counted(client: Any) -> None:
    asked = client.chat(QUESTION, **GREEDY).usage
    assert client.count_tokens(QUESTION, **GREEDY).token_ids == ()
    count = client.count_tokens(QUESTION, **GREEDY, include_token_ids=True)
    assert count.prompt_tokens == asked.prompt_tokens == len(count.token_ids)
    assert count.context_length == 2048
    assert client.count_tokens("word " * 5000, **GREEDY).prompt_tokens > 2048


@ANY_MODEL
def test_health_says_whether_requests_are_taken(client: Any) -> None:
    assert client.health() is True


@ANY_MODEL
def test_leaving_a_stream_frees_the_worker(single: Glmserve, open_client: Open) -> None:
    with open_client() as client:
        for _ in range(3):
            with client.stream(HELLO, **ENDLESS) as stream:
                assert len(list(islice(stream, 3))) == 3
            assert "Hello" in client.chat(HELLO, **GREEDY).text
        (process,) = single.workers()
        assert process.is_running()


@ANY_MODEL
def test_a_call_whose_time_is_over_frees_the_worker(open_client: Open) -> None:
    with open_client() as client:
        with client.stream(HELLO, **ENDLESS, n=8) as stream:
            next(stream)
            with pytest.raises(DeadlineExceeded):  # the only worker is busy with the stream
                client.chat(HELLO, **GREEDY, timeout=0.2)
        assert "Hello" in client.chat(HELLO, **GREEDY).text


def test_the_time_of_a_stream_is_its_whole_time(client: Any) -> None:
    with client.stream("/slow", model="scripted", timeout=1) as stream:  # never ends by itself
        with pytest.raises(DeadlineExceeded):
            list(stream)
        assert stream.text
        assert stream.finish_reason is None


@ANY_MODEL
def test_a_full_queue_says_when_to_try_again(single: Glmserve, open_client: Open) -> None:
    def asked() -> Any:
        with open_client(retries=0) as client:
            return client.chat(HELLO, **GREEDY, timeout=1)

    (process,) = single.workers()
    with open_client() as client, ThreadPoolExecutor() as threads, client.stream(HELLO, **ENDLESS) as stream:
        next(stream)
        process.suspend()
        try:
            raised = [future.exception() for future in [threads.submit(asked) for _ in range(3)]]
        finally:
            process.resume()
    waits = [error.retry_after for error in raised if isinstance(error, RateLimited)]
    assert waits
    assert all(seconds is not None and seconds >= 1 for seconds in waits)


@ANY_MODEL
def test_a_full_queue_is_waited_for(open_client: Open) -> None:
    def asked() -> str:
        with open_client(retries=20) as client:
            return str(client.chat(HELLO, **GREEDY, timeout=60).text)

    with ThreadPoolExecutor() as threads:
        assert all("Hello" in future.result() for future in [threads.submit(asked) for _ in range(5)])


@ANY_MODEL
def test_a_worker_that_dies_is_unavailable(single: Glmserve, open_client: Open) -> None:
    with open_client() as client, client.stream(HELLO, **ENDLESS) as stream:
        next(stream)
        (process,) = single.workers()
        process.suspend()  # so that the stream cannot end before the kill
        process.kill()
        with pytest.raises(Unavailable, match=r"in the middle of the answer"):
            list(stream)
        assert stream.text
        assert "Hello" in client.chat(HELLO, **GREEDY).text


@ANY_MODEL
def test_a_stream_that_stalls_is_left(single: Glmserve, open_client: Open) -> None:
    (process,) = single.workers()
    with open_client() as client:
        with client.stream(HELLO, **ENDLESS, token_timeout=0.3) as stream:
            next(stream)
            process.suspend()
            try:
                with pytest.raises(Stalled, match=r"for 0\.3 s"):
                    list(stream)
            finally:
                process.resume()
            assert stream.text
        assert "Hello" in client.chat(HELLO, **GREEDY).text


def test_a_caller_who_leaves_ends_the_work_of_every_server(
    request: pytest.FixtureRequest, client: Any, source: Glmserve, route: tuple[str, str]
) -> None:
    servers = [source, request.getfixturevalue("relay")] if route[1] == "relayed" else [source]
    before = [one.log.count("CANCELLED") for one in servers]
    with client.stream("/slow", model="scripted") as stream:  # never ends by itself
        next(stream)
    for one, ended in zip(servers, before, strict=True):
        one.await_log("CANCELLED", ended + 1)


@ANY_MODEL
def test_what_the_model_knows_already_is_counted(client: Any) -> None:
    talk = [QUESTION, client.chat(QUESTION, **SHORT, prompt_cache_key="talk"), "And of Japan?"]
    usage = client.chat(talk, **SHORT, prompt_cache_key="talk").usage
    assert 0 < usage.cached_tokens < usage.prompt_tokens
    with client.stream(talk, **SHORT, prompt_cache_key="talk") as stream:
        list(stream)
    assert stream.usage.prompt_tokens == usage.prompt_tokens
    assert stream.usage.cached_tokens >= usage.cached_tokens


def test_a_python_function_is_called_and_its_result_becomes_the_answer(client: Any) -> None:
    asked = []

    def get_weather(city: str) -> dict[str, Any]:
        """Get the current weather in a city."""
        asked.append(city)
        return {"temperature": 21, "condition": "sunny"}

    talk = conversation(client, functions=[get_weather], **GREEDY)
    with talk.stream("What is the weather in Paris?") as turn:
        text = "".join(turn.texts())
    assert (asked, turn.finish_reason) == (["Paris"], FinishReason.STOP)
    assert "21" in text
    assert "21" in talk.say("What is the weather in Berlin?").text
    assert asked == ["Paris", "Berlin"]
    assert [message["role"] for message in talk.messages] == ["user", "assistant", "tool", "assistant"] * 2


def conversation(client: Any, **arguments: Any) -> Any:
    """A conversation of the client's style."""
    if isinstance(client, Driven):
        return Driven(client.runner, AsyncConversation(client.wrapped, **arguments))
    return Conversation(client, **arguments)

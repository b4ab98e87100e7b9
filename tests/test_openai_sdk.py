"""OpenAI's own Python package against the edge: all that it offers for chat, with its own types and errors.

The clients here check every answer and every chunk against the package's types.
"""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, get_args

import httpx
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamEvent
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from paintings import encoded, painted
from pydantic import BaseModel
from running import MODEL, SEEING, Glmserve
from test_tools import PARIS, WEATHER

FRANCE = "What is the capital of France?"
ANSWER = "The capital of France is Paris."


class GetWeather(BaseModel):
    """The weather in a city."""

    city: str


class Joke(BaseModel):
    setup: str
    punchline: str | None
    stars: int


@pytest.fixture
def client(demo: Glmserve) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=demo.openai_url, api_key="any", max_retries=0, timeout=30, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
async def other(demo: Glmserve) -> AsyncIterator[openai.AsyncOpenAI]:
    """The client with an event loop."""
    async with openai.AsyncOpenAI(
        base_url=demo.openai_url, api_key="any", max_retries=0, timeout=30, _strict_response_validation=True
    ) as client:
        yield client


def asked(question: Any = FRANCE, model: str = MODEL, **more: Any) -> Any:
    return {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0, **more}


def picture(shape: str, colour: str) -> dict[str, Any]:
    data = base64.b64encode(encoded(painted(shape, colour, (224, 224)), "PNG")).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}", "detail": "auto"}}


# --- Answers ---------------------------------------------------------------------------------------------------------


def test_a_whole_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**asked())
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", ANSWER, "stop")
    assert (answer.model, answer.object, choice.message.tool_calls, choice.logprobs) == (
        MODEL,
        "chat.completion",
        None,
        None,
    )
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id


def test_a_streamed_answer_with_its_usage(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**asked())
    chunks = list(client.chat.completions.create(**asked(stream=True, stream_options={"include_usage": True})))
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    *pieces, last = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in pieces) == ANSWER
    assert [chunk.choices[0].delta.role for chunk in pieces] == ["assistant"] + [None] * (len(pieces) - 1)
    assert [chunk.choices[0].finish_reason for chunk in pieces] == [None] * (len(pieces) - 1) + ["stop"]
    assert whole.usage
    assert last.usage
    assert last.usage.total_tokens == whole.usage.total_tokens


async def test_with_an_event_loop_answers_come_side_by_side(other: openai.AsyncOpenAI) -> None:
    async def streamed() -> str:
        stream = await other.chat.completions.create(**asked(stream=True))
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    wholes = [other.chat.completions.create(**asked()) for _ in range(3)]
    *answers, text = await asyncio.gather(*wholes, streamed())
    assert [answer.choices[0].message.content for answer in answers] == [ANSWER] * 3
    assert text == ANSWER
    assert len({answer.id for answer in answers}) == 3


@pytest.mark.parametrize("model", [MODEL, "scripted", "able"])
def test_what_comes_is_exactly_what_the_types_say(client: openai.OpenAI, model: str) -> None:
    for more in ({}, {"stop": "."}, {"max_tokens": 2}, {"tools": [WEATHER]} if model != "scripted" else {}):
        body = asked("What is the weather in Paris?", model, **more)
        exactly(ChatCompletion, client.chat.completions.with_raw_response.create(**body).text)
        with client.chat.completions.with_streaming_response.create(
            **body, stream=True, stream_options={"include_usage": True}
        ) as response:
            *events, done = [line.removeprefix("data: ") for line in response.iter_lines() if line]
        assert done == "[DONE]"
        for event in events:
            exactly(ChatCompletionChunk, event)


def test_what_is_said_of_models_is_what_the_type_says(client: openai.OpenAI) -> None:
    for model in json.loads(client.models.with_raw_response.list().text)["data"]:
        Model.model_validate_json(json.dumps(model), strict=True)


def exactly(kind: type[BaseModel], data: str) -> None:
    """No value of another type, however alike, and no key that OpenAI has not."""
    model = kind.model_validate_json(data, strict=True)
    assert not list(unknown(model))


def unknown(value: object) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from value.model_extra or ()
        for _, part in value:
            yield from unknown(part)
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(map(unknown, value))


def test_several_choices(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**asked(n=3))
    assert [(choice.index, choice.message.content) for choice in answer.choices] == [(i, ANSWER) for i in range(3)]
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(**asked(n=3, stream=True)):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [ANSWER] * 3


@pytest.mark.parametrize("stop", ["Paris", ["Paris", "Rome"], ["Rome"], None])
def test_stop_strings(client: openai.OpenAI, stop: Any) -> None:
    said = "The capital of France is " if stop and "Paris" in stop else ANSWER
    assert client.chat.completions.create(**asked(stop=stop)).choices[0].message.content == said
    stream = client.chat.completions.create(**asked(stop=stop, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == said


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_an_answer_that_the_limit_cuts(client: openai.OpenAI, limit: str) -> None:
    choice = client.chat.completions.create(**{**asked(), limit: 2}).choices[0]
    assert choice.finish_reason == "length"
    assert ANSWER.startswith(choice.message.content or "no")


def test_a_picture(client: openai.OpenAI) -> None:
    question = [picture("ellipse", "red"), {"type": "text", "text": "What is in the picture?"}]
    assert client.chat.completions.create(**asked(question, SEEING)).choices[0].message.content == "A red circle."
    stream = client.chat.completions.create(**asked(question, SEEING, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "A red circle."


def test_text_of_all_the_world_comes_back_unchanged(client: openai.OpenAI) -> None:
    text = "你好，世界 — Привет 👩‍👩‍👧‍👦 \u202eabc\u202c \x00 e\u0301 </s>"
    assert client.chat.completions.create(**asked(text, "scripted")).choices[0].message.content == text
    stream = client.chat.completions.create(**asked(text, "scripted", stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == text


def test_log_probabilities_of_a_model_that_has_them(client: openai.OpenAI) -> None:
    for stream in (False, True):
        answer: Any = client.chat.completions.create(**asked("Hi", "able", logprobs=True, stream=stream))
        choices = [chunk.choices[0] for chunk in answer] if stream else [answer.choices[0]]
        tokens = [token for choice in choices if choice.logprobs for token in choice.logprobs.content or []]
        assert "".join(token.token for token in tokens) == "Hello, here I am."


# --- Tools -----------------------------------------------------------------------------------------------------------


def test_a_function_is_called_and_its_result_told(client: openai.OpenAI) -> None:
    messages: list[Any] = asked("What is the weather in Paris?")["messages"]
    asking = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER], temperature=0)  # type: ignore[list-item]
    message = asking.choices[0].message
    (call,) = message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == (PARIS[0], {"city": "Paris"})
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 21, "sky": "sunny"}'}]
    told = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER], temperature=0)  # type: ignore[list-item]
    assert "21" in (told.choices[0].message.content or "")


async def test_the_stream_helper_tells_of_calls_as_they_grow(other: openai.AsyncOpenAI) -> None:
    events: list[Any] = []
    async with other.chat.completions.stream(**asked("What is the weather in Paris?", tools=[WEATHER])) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_completion()
    grown = [event.arguments for event in events if event.type == "tool_calls.function.arguments.delta"]
    assert len(grown) > 1
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(grown))
    (done,) = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert (done.name, json.loads(done.arguments)) == (PARIS[0], {"city": "Paris"})
    (call,) = final.choices[0].message.tool_calls or []
    assert (call.function.arguments, final.choices[0].finish_reason) == (grown[-1], "tool_calls")


def test_typed_functions_are_for_models_that_hold_to_schemas(client: openai.OpenAI) -> None:
    tools: Any = [openai.pydantic_function_tool(GetWeather)]
    for create in (client.chat.completions.parse, client.chat.completions.create):
        with pytest.raises(openai.BadRequestError, match="strict") as refused:
            create(**asked("What is the weather in 'Paris'?", tools=tools))
        assert refused.value.code == "unsupported_parameter"
    parsed = client.chat.completions.parse(**asked("What is the weather in 'Paris'?", "able", tools=tools))
    (call,) = parsed.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == GetWeather(city="Paris")
    with client.chat.completions.stream(**asked("And in 'Rome'?", "able", tools=tools)) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == GetWeather(city="Rome")


# --- The helpers -----------------------------------------------------------------------------------------------------


def test_the_stream_helper_tells_of_text_as_it_grows(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(**asked(stream_options={"include_usage": True})) as stream:
        events: list[ChatCompletionStreamEvent[None]] = list(stream)
        final = stream.get_final_completion()
    assert all(isinstance(event, get_args(ChatCompletionStreamEvent)) for event in events)
    grown = [event.snapshot for event in events if event.type == "content.delta"]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(grown))
    assert [event.content for event in events if event.type == "content.done"] == [ANSWER] == grown[-1:]
    assert {event.type for event in events} == {"chunk", "content.delta", "content.done"}
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == (ANSWER, "stop")
    assert final.usage
    assert final.usage.completion_tokens > 0


def test_a_stream_may_be_left_early(client: openai.OpenAI, demo: Glmserve) -> None:
    with client.chat.completions.stream(**asked("/slow", "scripted")) as stream:
        assert any(event.type == "content.delta" and event.snapshot for event in stream)
    with httpx.Client(base_url=demo.admin_url) as admin:
        while (
            "upstream_rq_active: 0" not in admin.get("/stats", params={"filter": r"server\.upstream_rq_active$"}).text
        ):
            pass


def test_typed_answers_are_for_models_that_hold_to_schemas(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="response_format") as refused:
        client.chat.completions.parse(**asked(response_format=Joke))
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "response_format.json_schema")
    with pytest.raises(openai.BadRequestError, match="response_format"):
        client.chat.completions.create(**asked(response_format={"type": "json_object"}))
    joke = Joke(setup="Why?", punchline="Why?", stars=3)
    parsed = client.chat.completions.parse(**asked("Tell me 'Why?' with 3 stars", "able", response_format=Joke))
    assert parsed.choices[0].message.parsed == joke
    with client.chat.completions.stream(**asked("Tell me 'Why?' with 3 stars", "able", response_format=Joke)) as stream:
        done = [event.parsed for event in stream if event.type == "content.done"]
    assert done == [joke]


def test_a_typed_answer_that_the_limit_cuts_is_raised(client: openai.OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**asked("Hi", "able", response_format=Joke, max_completion_tokens=2))


def test_raw_answers_show_their_headers(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        **asked(seed=7), extra_headers={"x-request-id": "mine-7"}, extra_body={"top_k": 5}
    )
    assert (raw.http_response.status_code, raw.request_id) == (200, "mine-7")
    assert raw.headers["x-glmserve-ignored"] == "seed"
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.parse().choices[0].message.content == ANSWER


def test_streaming_answers_are_read_as_they_come(client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(**asked()) as response:
        assert response.headers["content-type"] == "application/json"
        assert response.parse().choices[0].message.content == ANSWER
    with client.chat.completions.with_streaming_response.create(**asked("/slow", "scripted", stream=True)) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: {")


async def test_an_answer_with_extra_fields_and_queries(other: openai.AsyncOpenAI) -> None:
    answer = await other.chat.completions.create(
        **asked(), extra_body={"no_such_field": {"a": [1]}}, extra_query={"api-version": "1"}
    )
    assert answer.choices[0].message.content == ANSWER


def test_models_are_listed_and_looked_up(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {MODEL, SEEING, "scripted", "able"}
    assert client.models.retrieve(SEEING).id == SEEING
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("gpt-9")
    assert missing.value.code == "model_not_found"


# --- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "body", "status", "code", "param"),
    [
        (openai.BadRequestError, asked(temperature=9), 400, None, "temperature"),
        (openai.BadRequestError, asked("word " * 9000), 400, "context_length_exceeded", "messages"),
        (openai.NotFoundError, asked(model="gpt-9"), 404, "model_not_found", None),
        (openai.InternalServerError, asked("/fail", "scripted"), 503, None, None),
    ],
    ids=["bad request", "too long", "not found", "failed"],
)
def test_errors_are_typed(
    client: openai.OpenAI,
    kind: type[openai.APIStatusError],
    body: Any,
    status: int,
    code: str | None,
    param: str | None,
    stream: bool,
) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**body, stream=stream)
    error = caught.value
    assert (error.status_code, error.code, error.param) == (status, code, param)
    assert error.type == ("invalid_request_error" if status < 500 else "server_error")
    assert error.request_id
    assert isinstance(error.body, dict)
    assert error.body["message"] in error.message


async def test_an_error_in_the_middle_is_raised_after_what_came(other: openai.AsyncOpenAI) -> None:
    async with other.chat.completions.stream(**asked("/fail after 2", "scripted")) as stream:
        with pytest.raises(openai.APIError, match="after 2 words"):
            await stream.until_done()
        assert stream.current_completion_snapshot.choices[0].message.content == "word word"


def test_a_time_limit_of_the_callers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(**asked("/slow", "scripted"))


def test_nobody_there(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIConnectionError):
        client.with_options(base_url="http://127.0.0.1:1/v1").chat.completions.create(**asked())


def test_too_many_callers_is_tried_again_and_answered(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(**asked("/busy, I give up", "able"))
    assert (caught.value.type, caught.value.response.headers["retry-after"]) == ("rate_limit_error", "1")
    patient = client.with_options(max_retries=2)
    raw = patient.chat.completions.with_raw_response.create(**asked("/busy, I wait", "able"))
    assert raw.retries_taken == 1
    assert raw.parse().choices[0].message.content == "Hello, here I am."


@pytest.mark.parametrize(
    ("body", "tries"), [(asked("/fail", "scripted"), 2), (asked(temperature=9), 1), (asked(model="gpt-9"), 1)]
)
def test_a_call_is_made_again_only_where_it_helps(client: openai.OpenAI, body: Any, tries: int) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.with_options(max_retries=1).chat.completions.create(**body)
    assert caught.value.response.request.headers["x-stainless-retry-count"] == str(tries - 1)

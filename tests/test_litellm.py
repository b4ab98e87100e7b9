"""The package `litellm` against the edge."""

import base64
import importlib
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from programs import EXAMPLES
from running import MODEL, SEEING, Glmserve
from sdks import with_sdk
from test_tools import PARIS, WEATHER

ANSWER = "The capital of France is Paris."


@pytest.fixture(scope="module")
def litellm() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the internet for prices
        pytest.importorskip("litellm", reason="left out: litellm is not installed")
        yield importlib.import_module("litellm")


@pytest.fixture
def asked(demo: Glmserve) -> Any:
    def parameters(question: Any = "What is the capital of France?", model: str = MODEL, **more: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": question}]
        where = {"model": f"openai/{model}", "api_base": demo.openai_url, "api_key": "none", "max_retries": 0}
        return {"messages": messages, "temperature": 0, **where, **more}

    return parameters


@with_sdk
def test_an_answer_whole_and_streamed(litellm: Any, asked: Any) -> None:
    answer = litellm.completion(**asked())
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (ANSWER, "stop")
    chunks = list(litellm.completion(**asked(), stream=True, stream_options={"include_usage": True}))
    built = litellm.stream_chunk_builder(chunks)
    assert (built.choices[0].message.content, built.choices[0].finish_reason) == (ANSWER, "stop")
    assert built.usage.total_tokens == answer.usage.total_tokens > 0


@with_sdk
async def test_an_answer_with_an_event_loop(litellm: Any, asked: Any) -> None:
    answer = await litellm.acompletion(**asked())
    assert answer.choices[0].message.content == ANSWER
    stream = await litellm.acompletion(**asked(), stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == ANSWER


@with_sdk
def test_a_function_is_called_and_its_result_told(litellm: Any, asked: Any) -> None:
    question = asked("What is the weather in Paris?", tools=[WEATHER])
    message = litellm.completion(**question).choices[0].message
    (call,) = message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == (PARIS[0], {"city": "Paris"})
    streamed = litellm.stream_chunk_builder(list(litellm.completion(**question, stream=True)))
    (same,) = streamed.choices[0].message.tool_calls
    assert (same.function.name, same.function.arguments) == (call.function.name, call.function.arguments)
    told = {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 21, "condition": "sunny"}'}
    question["messages"] += [message, told]
    assert "21" in litellm.completion(**question).choices[0].message.content


@with_sdk
def test_a_picture(litellm: Any, asked: Any) -> None:
    picture = base64.b64encode((EXAMPLES / "red-circle.png").read_bytes()).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
    question = [image, {"type": "text", "text": "What is in the picture?"}]
    assert litellm.completion(**asked(question, SEEING)).choices[0].message.content == "A red circle."


@with_sdk
@pytest.mark.parametrize(
    ("kind", "question"),
    [
        ("ContextWindowExceededError", {"question": "word " * 9000}),
        ("NotFoundError", {"model": "gpt-9"}),
        ("BadRequestError", {"response_format": {"type": "json_object"}}),
        ("RateLimitError", {"question": "/busy for litellm, streamed: {}", "model": "able"}),
        ("ServiceUnavailableError", {"question": "/fail", "model": "scripted"}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_of_its_own_kinds(
    litellm: Any, asked: Any, kind: str, question: dict[str, Any], stream: bool
) -> None:
    if "question" in question:
        question = {**question, "question": question["question"].format(stream)}
    with pytest.raises(getattr(litellm, kind)):
        litellm.completion(**asked(**question), stream=stream)


@with_sdk
def test_an_error_in_the_middle_is_raised(litellm: Any, asked: Any) -> None:
    stream = litellm.completion(**asked("/fail after 2", "scripted"), stream=True)
    with pytest.raises(openai.APIError, match="after 2 words"):
        list(stream)


@with_sdk
def test_it_tries_again_where_it_helps(litellm: Any, asked: Any) -> None:
    answer = litellm.completion(**{**asked("/busy, litellm waits", "able"), "max_retries": 1})
    assert answer.choices[0].message.content == "Hello, here I am."

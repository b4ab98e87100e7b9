"""Conversations that run Python functions, with real models that say what a test wants."""

import socket
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from chain import write_chain
from client_ways import WAYS, Driven, opened
from pydantic import BaseModel, Field
from running import MODEL, Glmserve
from upstreams import DONE, HEAD, HELLO, Upstream, chunk, failure

from glmserve_client import (
    AsyncConversation,
    BadRequest,
    BrokenStream,
    ConfigurationError,
    Conversation,
    FinishReason,
    Stalled,
    TooManyRounds,
    UnknownModel,
    function_tool,
    tool,
    user,
)

CALL = ["<|assistant|>", "get_weather", "\n", '{"city"', ': "Par', 'is"}', "<|observation|>"]
SAYS = {
    # Calls the function, and says the same after its result: `<|assistant|>` comes before every answer.
    "call": CALL,
    "plain": ["<|assistant|>", "\n", "It", " is", " sunny", ".", "<|user|>"],
    "broken": ["<|assistant|>", "get_weather\n", '{"city": Par', "<|observation|>"],
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glmserve]:
    folder = tmp_path_factory.mktemp("chains")
    files = [write_chain(folder / f"{name}.bin", run) for name, run in SAYS.items()]
    arguments = [argument for file in files for argument in ("--model", str(file))]
    with Glmserve("up", "--workers", "1", "--threads", "1", *arguments, "--model", MODEL) as running:
        yield running


@pytest.fixture(params=WAYS)
def client(request: pytest.FixtureRequest, models: Glmserve) -> Iterator[Any]:
    wire, style = request.param.split("-")
    with opened(style, f"grpc://{models.grpc_address}" if wire == "grpc" else models.openai_url) as made:
        yield made


def conversation(client: Any, **arguments: Any) -> Any:
    """A conversation of the client's style, greedy."""
    arguments = {"temperature": 0, **arguments}
    if isinstance(client, Driven):
        return Driven(client.runner, AsyncConversation(client.wrapped, **arguments))
    return Conversation(client, **arguments)


def test_it_remembers_what_was_said(client: Any) -> None:
    talk = conversation(client, model=MODEL)
    talk.say("Hello! My name is Ada.")
    with talk.stream("What is my name?") as turn:
        assert "".join(turn.texts()) == turn.text
    assert "Ada" in turn.text
    assert [message["role"] for message in talk.messages] == ["user", "assistant"] * 2
    assert talk.messages[-1]["content"] == turn.text


def test_it_has_instructions(client: Any) -> None:
    talk = conversation(client, model=MODEL, system="You are Bob.")
    assert "Bob" in talk.say("What is your name?").text
    assert [message["role"] for message in talk.messages] == ["system", "user", "assistant"]


def test_a_turn_that_fails_or_is_left_is_forgotten(client: Any) -> None:
    talk = conversation(client, model=MODEL)
    with pytest.raises(UnknownModel):
        talk.say("Hello!", model="gpt-9")
    with talk.stream("Hello!") as turn:
        next(turn)
    assert talk.messages == []
    assert talk.say(user("Hello!")).text
    assert len(talk.messages) == 2


@pytest.fixture(params=["sync", "async"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_turn_that_is_read_past_its_end_is_remembered_once(style: str) -> None:
    with Upstream(HELLO) as upstream, opened(style, upstream.url) as client:
        talk = conversation(client)
        with talk.stream("Hello!") as turn:
            assert len(list(turn)) == 2
            assert list(turn.texts()) == list(turn) == []
        assert [message["role"] for message in talk.messages] == ["user", "assistant"]


def test_a_turn_that_broke_off_is_forgotten_though_it_is_read_on(style: str) -> None:
    def stall(connection: socket.socket) -> None:
        connection.sendall(HEAD + chunk({"content": "half"}))
        connection.recv(1)

    for script, error in ((stall, Stalled), (HEAD + chunk({"content": "half"}), BrokenStream)):
        with Upstream(script) as upstream, opened(style, upstream.url, token_timeout=0.2) as client:
            talk = conversation(client)
            with talk.stream("Hello!") as turn:
                with pytest.raises(error):
                    list(turn)
                assert list(turn) == []
            assert (turn.text, talk.messages) == ("half", [])


def test_a_turn_that_was_left_is_forgotten_though_it_is_read_on(style: str) -> None:
    with Upstream(HELLO) as upstream, opened(style, upstream.url) as client:
        talk = conversation(client)
        with talk.stream("Hello!") as turn:
            next(turn)
        assert list(turn) == talk.messages == []


def test_an_answer_is_still_there_once_the_next_round_is_refused(style: str) -> None:
    def get_weather() -> str:
        return "fair"

    call = {"index": 0, "id": "1", "function": {"name": "get_weather", "arguments": "{}"}}
    calls = HEAD + chunk({"content": "Let me see.", "tool_calls": [call]}) + chunk(finish="tool_calls") + DONE
    answers = iter([calls, failure("400 No", message="No more.")])
    with (
        Upstream(lambda connection: connection.sendall(next(answers))) as upstream,
        opened(style, upstream.url) as client,
    ):
        talk = conversation(client, functions=[get_weather])
        with talk.stream("What is the weather?") as turn, pytest.raises(BadRequest, match="No more"):
            list(turn)
        assert (turn.text, turn.finish_reason) == ("Let me see.", FinishReason.TOOL_CALLS)
        assert list(turn) == talk.messages == []


def rounds(client: Any, model: str, function: Any, **arguments: Any) -> list[str]:
    """What the model is told when it calls the same function until it may not any more."""
    talk = conversation(client, model=model, functions=[function], rounds=2, **arguments)
    talk.messages.append(user("Before."))
    with talk.stream("What is the weather?") as turn:
        with pytest.raises(TooManyRounds):
            list(turn)
        inner = getattr(turn, "wrapped", None) or turn._wrapped
        told = [message["content"] for message in inner._messages if message["role"] == "tool"]
    assert turn.finish_reason is FinishReason.TOOL_CALLS
    assert talk.messages == [user("Before.")]
    return told


def test_a_function_is_called_and_its_result_told(client: Any) -> None:
    cities = []

    def get_weather(city: str) -> dict[str, Any]:
        """The weather in a city."""
        cities.append(city)
        return {"sky": "heiter", "city": city}

    assert rounds(client, "call", get_weather) == ['{"sky":"heiter","city":"Paris"}'] * 2
    assert cities == ["Paris"] * 2


def test_an_async_function_is_awaited(client: Any) -> None:
    async def get_weather(city: str) -> str:
        return f"rain in {city}"

    assert rounds(client, "call", get_weather) == ["rain in Paris"] * 2


def test_exceptions_are_told_without_a_traceback(client: Any) -> None:
    def get_weather(city: str) -> str:
        raise LookupError(f"no station in {city}")

    assert rounds(client, "call", get_weather) == ["Error: LookupError: no station in Paris"] * 2


def test_arguments_that_do_not_fit_are_told(client: Any) -> None:
    def get_weather(city: int, day: str) -> str:
        raise AssertionError(f"it must not be called: {city} {day}")

    first, _ = rounds(client, "call", get_weather)
    assert first.startswith("Error: the arguments are wrong: city: Input should be a valid integer")
    assert "day: Field required" in first


def test_arguments_that_are_no_json_are_told(client: Any) -> None:
    def get_weather(city: str) -> str:
        raise AssertionError(f"it must not be called: {city}")

    first, _ = rounds(client, "broken", get_weather)
    assert first.startswith("Error: the arguments are wrong: JSON: Invalid JSON")


def test_a_required_call_is_required_once(client: Any) -> None:
    def get_weather() -> str:
        """The weather here."""
        return "fair"

    # The model is made to call, writes its sentence as arguments, and may say it the next time.
    talk = conversation(client, model="plain", functions=[get_weather], tool_choice="required")
    assert talk.say("What is the weather?", max_completion_tokens=40).text == "It is sunny."
    assert [message["role"] for message in talk.messages] == ["user", "assistant", "tool", "assistant"]
    assert talk.messages[2]["tool_call_id"] == talk.messages[1]["tool_calls"][0]["id"]
    assert talk.messages[2]["content"].startswith("Error: the arguments are wrong: JSON")


def test_a_function_declares_itself() -> None:
    class Place(BaseModel):
        city: str

    def look(
        place: Place,
        unit: Annotated[Literal["C", "F"], Field(description="The unit")] = "C",
        *,
        copy: list[float] | None = None,
    ) -> None:
        """Looks.

        Far.
        """

    function = function_tool(look)["function"]
    assert (function["name"], function["description"]) == ("look", "Looks.\n\nFar.")
    schema = function["parameters"]
    assert (schema["type"], schema["required"], schema["additionalProperties"]) == ("object", ["place"], False)
    assert schema["properties"]["unit"] == {
        "default": "C",
        "description": "The unit",
        "enum": ["C", "F"],
        "type": "string",
    }
    assert list(schema["properties"]) == ["place", "unit", "copy"]


@pytest.mark.parametrize(
    "function", [lambda: None, lambda x: x, print, len], ids=["lambda", "argument", "print", "len"]
)
def test_what_a_model_cannot_call_is_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError):
        function_tool(function)


def test_types_that_json_cannot_hold_are_refused() -> None:
    def look(at: Glmserve) -> None:
        pass

    with pytest.raises(ConfigurationError, match="look cannot be called by a model"):
        function_tool(look)


async def test_two_functions_of_one_name_are_refused(models: Glmserve) -> None:
    def one() -> None:
        pass

    with opened("sync", models.openai_url) as client, pytest.raises(ConfigurationError, match="two functions"):
        Conversation(client, functions=[one, one])


async def test_an_unknown_name_is_told() -> None:
    from glmserve_client import ToolCall
    from glmserve_client.functions import Functions

    def one() -> None:
        pass

    told = await Functions([one]).call(ToolCall(id="1", name="two", arguments="{}"))
    assert told == "Error: there is no function 'two'; there are: one"
    assert await Functions([one]).call(ToolCall(id="1", name="one", arguments="")) == "null"


def test_calls_come_whole_and_in_pieces(client: Any) -> None:
    def get_weather(city: str) -> str:
        """The weather."""
        return city

    asked: dict[str, Any] = {"model": "call", "temperature": 0, "tools": [function_tool(get_weather)]}
    (whole,) = client.chat("What is the weather?", **asked).tool_calls
    assert (whole.name, whole.arguments) == ("get_weather", '{"city": "Paris"}')
    with client.stream("What is the weather?", **asked) as stream:
        pieces = [delta.tool_call for delta in stream if delta.tool_call]
    assert [(piece.index, bool(piece.id), piece.name) for piece in pieces[:2]] == [
        (0, True, "get_weather"),
        (0, False, ""),
    ]
    (call,) = stream.tool_calls
    assert (call.name, call.arguments) == (whole.name, "".join(piece.arguments for piece in pieces))
    assert stream.finish_reason is FinishReason.TOOL_CALLS
    with_result = ["What is the weather?", stream.reply, tool("Rain", tool_call_id=call.id)]
    assert client.chat(with_result, **asked).usage.prompt_tokens > stream.usage.prompt_tokens

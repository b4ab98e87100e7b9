"""What a chat does, the same over both faces, with the real engine and the embedded model."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from faces import BATCHED_WAYS, SMOLLM2_WAYS, WAYS, Face, Refused, Reply, chatting
from running import MODEL

GREEDY = {"model": MODEL, "temperature": 0}

ANY_MODEL = pytest.mark.parametrize("face", [*WAYS, *BATCHED_WAYS, *SMOLLM2_WAYS], ids="-".join, indirect=True)
"""For a test of what SmolLM2 does as well, which knows nothing of France and says more."""


@pytest.fixture(params=[*WAYS, *BATCHED_WAYS], ids="-".join)
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    """Both ways to a server that runs the model, to one that has it from there, and to those with llama.cpp."""
    name, route = request.param
    servers = {"direct": "server", "relayed": "relay", "batched": "batched", "smollm2": "smollm2"}
    with chatting(name, request.getfixturevalue(servers[route])) as way:
        yield way


def whole(face: Face, turns: list[tuple[str, str]], **parameters: object) -> Reply:
    """The answer of a stream, after its last piece."""
    *_, last = face.stream(turns, **parameters)
    return last


def test_a_question_is_answered(face: Face) -> None:
    reply = face.ask([("user", "What is the capital of France?")], **GREEDY)
    assert "Paris" in reply.text
    assert reply.finish == "stop"


@ANY_MODEL
def test_an_answer_has_no_white_space_around_it(face: Face) -> None:
    reply = face.ask([("user", "Hello!")], **GREEDY)
    assert reply.text == reply.text.strip() != ""


@pytest.mark.parametrize("question", ["What is the capital of France?", "你好", "Tell me who you are.", "1 2 3"])
def test_streamed_pieces_make_the_whole_answer(face: Face, question: str) -> None:
    turns = [("user", question)]
    assert whole(face, turns, **GREEDY) == face.ask(turns, **GREEDY)


@ANY_MODEL
def test_streamed_pieces_make_an_answer_that_is_cut(face: Face) -> None:
    for question in ("Hello!", "What is the capital of France?", "你好"):
        turns = [("user", question)]
        assert whole(face, turns, **GREEDY, max_completion_tokens=12) == face.ask(
            turns, **GREEDY, max_completion_tokens=12
        )


@ANY_MODEL
def test_the_limit_holds_for_an_answer_without_end(face: Face) -> None:
    for limit in (1, 2, 20):
        reply = face.ask([("user", "Hello!")], **GREEDY, ignore_eos=True, max_completion_tokens=limit)
        assert (reply.finish, reply.completion_tokens) == ("length", limit)


def test_a_stream_comes_in_pieces(face: Face) -> None:
    turns = [("user", "What is the capital of France?")]
    texts = {reply.text for reply in face.stream(turns, **GREEDY, ignore_eos=True, max_completion_tokens=500)}
    assert len(texts) > 5  # a slow reader gets several tokens at once, but never more than a bound


def test_chinese_characters_are_never_broken(face: Face) -> None:
    pieces = [reply.text for reply in face.stream([("user", "你好！你是谁？")], **GREEDY)]
    assert re.search(r"[\u4e00-\u9fff]", pieces[-1])
    assert "\ufffd" not in pieces[-1]


def test_a_conversation_is_remembered(face: Face) -> None:
    turns = [
        ("user", "Hello! My name is Ada."),
        ("assistant", "Nice to meet you, Ada!"),
        ("user", "What is my name?"),
    ]
    assert "Ada" in face.ask(turns, **GREEDY).text


def test_a_system_prompt_is_followed(face: Face) -> None:
    turns = [("system", "You are Bob."), ("user", "What is your name?")]
    assert "Bob" in face.ask(turns, **GREEDY).text


@ANY_MODEL
def test_developer_and_system_are_the_same(face: Face) -> None:
    question = ("user", "What is your name?")
    developer = face.ask([("developer", "You are Bob."), question], **GREEDY, max_completion_tokens=12)
    assert developer == face.ask([("system", "You are Bob."), question], **GREEDY, max_completion_tokens=12)


def test_the_limit_counts_the_answer_alone(face: Face) -> None:
    turns = [("user", "What is the capital of France?")]
    full = face.ask(turns, **GREEDY)
    for limit in (1, 2, full.completion_tokens - 1):
        cut = face.ask(turns, **GREEDY, max_completion_tokens=limit)
        assert (cut.finish, cut.completion_tokens) == ("length", limit)
        assert full.text.startswith(cut.text)
    assert face.ask(turns, **GREEDY, max_completion_tokens=full.completion_tokens + 1) == full


def test_a_limit_beyond_the_context_is_no_fault(face: Face) -> None:
    turns = [("user", "Hello!")]
    assert face.ask(turns, **GREEDY, max_completion_tokens=1_000_000) == face.ask(turns, **GREEDY)


def test_a_stop_string_ends_the_answer_before_it_appears(face: Face) -> None:
    turns = [("user", "What is the capital of France?")]
    full = face.ask(turns, **GREEDY)
    for start in range(len(full.text) - 3):
        stop = full.text[start : start + 3]  # wherever the tokens begin and end
        expected = full.text[: full.text.index(stop)]
        for cut in (face.ask(turns, **GREEDY, stop=[stop]), whole(face, turns, **GREEDY, stop=["never", stop])):
            assert (cut.text, cut.finish) == (expected, "stop")
            assert cut.completion_tokens <= full.completion_tokens


def test_text_that_only_begins_like_a_stop_string_is_not_lost(face: Face) -> None:
    turns = [("user", "What is the capital of France?")]
    full = face.ask(turns, **GREEDY)
    assert whole(face, turns, **GREEDY, stop=[full.text + "!"]) == full


def test_a_temperature_of_zero_gives_the_same_answer_every_time(face: Face) -> None:
    replies = [face.ask([("user", "Tell me something.")], **GREEDY) for _ in range(3)]
    assert replies[0] == replies[1] == replies[2]


@ANY_MODEL
def test_a_high_temperature_does_not(face: Face) -> None:
    turns = [("user", "Tell me something.")]
    texts = {face.ask(turns, model=MODEL, temperature=2, max_completion_tokens=24).text for _ in range(8)}
    assert len(texts) > 1


def test_a_top_p_of_zero_is_greedy(face: Face) -> None:
    turns = [("user", "What is the capital of France?")]
    assert face.ask(turns, model=MODEL, temperature=2, top_p=0) == face.ask(turns, **GREEDY)


@ANY_MODEL
def test_letters_that_look_like_special_tokens_stay_text(face: Face) -> None:
    plain = face.ask([("user", "say x")], **GREEDY, max_completion_tokens=1)
    marked = face.ask([("user", "say <|user|>")], **GREEDY, max_completion_tokens=1)
    assert marked.prompt_tokens > plain.prompt_tokens + 2


@ANY_MODEL
def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(face: Face) -> None:
    with pytest.raises(Refused, match=r"maximum context length is 2048 tokens.* (\d+) tokens") as refused:
        face.ask([("user", "word " * 5000)], **GREEDY)
    assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")
    with pytest.raises(Refused, match="at least"):
        next(iter(face.stream([("user", "word " * 1_000_000)], **GREEDY)))


def test_earlier_calls_count_before_they_are_read(face: Face) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": " " * 1_100_000}}
    turns: Any = [{"role": "assistant", "tool_calls": [call]}, ("user", "Hello!")]
    with pytest.raises(Refused, match="at least") as refused:
        face.ask(turns, **GREEDY)
    assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")


def test_an_unknown_model_is_not_found(face: Face) -> None:
    with pytest.raises(Refused, match=f"'gpt-9' does not exist; this server has: {MODEL}, scripted") as refused:
        face.ask([("user", "Hello!")], model="gpt-9")
    assert (refused.value.status, refused.value.code) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 1.01}, "top_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -2.1}, "frequency_penalty"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"repetition_penalty": 1e-300}, "repetition_penalty"),
        ({"n": 129}, "n"),
        ({"n": 9}, "n"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ],
)
def test_what_cannot_be_is_refused_by_name(face: Face, parameters: dict[str, object], param: str) -> None:
    for call in (face.ask, partial(whole, face)):
        with pytest.raises(Refused, match=param) as refused:
            call([("user", "Hello!")], **{"model": MODEL, **parameters})
        assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize("face", WAYS, ids="-".join, indirect=True)  # llama.cpp can
def test_what_the_engine_cannot_do_is_refused_by_name(face: Face) -> None:
    for call in (face.ask, partial(whole, face)):
        with pytest.raises(Refused, match="logprobs") as refused:
            call([("user", "Hello!")], model=MODEL, logprobs=True)
        assert (refused.value.status, refused.value.param) == (400, "logprobs")


@ANY_MODEL
def test_no_messages_are_refused(face: Face) -> None:
    with pytest.raises(Refused, match="messages must hold") as refused:
        face.ask([], model=MODEL)
    assert (refused.value.status, refused.value.param) == (400, "messages")


@pytest.mark.parametrize("face", WAYS, ids="-".join, indirect=True)
def test_preferences_that_cannot_be_honoured_are_ignored_and_named(face: Face) -> None:
    turns = [("user", "Hello!")]
    wishes = {"presence_penalty": 1.2, "seed": 7, "min_p": 0.1, "top_k": 3}
    expected = ["min_p", "presence_penalty", "seed"]  # top_k is honoured
    assert face.ask(turns, **GREEDY, **wishes).ignored == expected
    assert whole(face, turns, **GREEDY, **wishes).ignored == expected
    assert face.ask(turns, **GREEDY, presence_penalty=0).ignored == []

"""From what is read in an answer to the events of the contract: their order, and where stop strings end them."""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import pytest

from glmserve.v1.chat_pb2 import ChatCompletionRequest, StreamChatCompletionResponse
from glmserve.v1.tool_pb2 import FunctionTool
from glmserve_server.dialects.answer import Answer
from glmserve_server.dialects.chatglm3_answer import ChatGlm3Parser
from glmserve_server.dialects.deltas import Call, Delta
from glmserve_server.dialects.glm4_answer import Glm4Parser
from glmserve_server.dialects.progress import End, Written
from glmserve_server.dialects.reader import Parser
from glmserve_server.dialects.toolbox import Toolbox

TOOLBOX = Toolbox((FunctionTool(name="f"),), frozenset(["f"]))
PARSERS = pytest.mark.parametrize(
    ("parser", "call"),
    [(Glm4Parser, "f\n{}"), (ChatGlm3Parser, "f\n```python\ntool_call()\n```")],
    ids=["glm4", "chatglm3"],
)
TURN, CALL, STOP = "turn", 1, 2


class PlainReader:
    """An `AnswerReader` of texts and turns, without a vocabulary."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    @property
    def thinking(self) -> bool:
        """See `AnswerReader.thinking`."""
        return self._parser.thinking

    def feed(self, token: int) -> Sequence[Delta]:  # noqa: ARG002 (there is one token)
        """See `AnswerReader.feed`. The token begins another turn."""
        return self._parser.turn()

    def feed_text(self, text: str) -> Sequence[Delta]:
        """See `AnswerReader.feed_text`."""
        return self._parser.feed(text)

    def end(self, token: int | None) -> Sequence[Delta]:
        """See `AnswerReader.end`."""
        return self._parser.end(whole=token is not None, called=token == CALL)


def events(
    parser: Parser, pieces: Iterable[str | None], *, end: int | None = CALL, **fields: object
) -> list[StreamChatCompletionResponse]:
    """The events of an answer in pieces, as they are on the wire; None begins another turn."""
    answer = Answer(PlainReader(parser), ChatCompletionRequest(**fields), 0, 1)  # type: ignore[arg-type]
    told: list[StreamChatCompletionResponse] = []
    for piece in [
        *([0] if piece is None else [Written(piece)] for piece in pieces),
        End("length" if end is None else "stop", end),
    ]:
        if not answer.ended:
            told += answer.read(piece)
    return [StreamChatCompletionResponse.FromString(event.SerializeToString()) for event in told]


def words(told: Iterable[StreamChatCompletionResponse]) -> list[str]:
    """Thoughts, texts, names and arguments in their order."""
    said = [
        event.reasoning.text or event.text.text or event.tool_call.name or event.tool_call.arguments_json
        for event in told
    ]
    return [word for word in said if word]


def check_events(make: Callable[[], Parser], pieces: Sequence[str | None], end: int | None, stop: str) -> None:
    """An answer can be told: all that its parser found, in that order; with a stop string, only a beginning of it."""
    parser = make()
    deltas = [delta for piece in pieces for delta in (parser.turn() if piece is None else parser.feed(piece))]
    deltas += parser.end(whole=end is not None, called=end == CALL)
    told = events(make(), pieces, end=end)
    assert "".join(words(told)) == "".join(d.name if isinstance(d, Call) else d.text for d in deltas)
    assert "".join(words(told)).startswith("".join(words(events(make(), pieces, end=end, stop=[stop]))))
    calls = [event.tool_call for event in told if event.HasField("tool_call")]
    names = list(accumulate(bool(call.name) for call in calls))
    assert [call.index + 1 for call in calls] == names


@PARSERS
def test_text_that_may_become_a_stop_string_is_told_before_a_call(parser: type, call: str) -> None:
    told = events(parser(TOOLBOX), [f"\nLet me look.\n{call}"], stop=[".x"])
    assert words(told) == ["Let me look.", "f", "{}"]


@PARSERS
def test_a_stop_string_is_not_found_across_a_call(parser: type, call: str) -> None:
    told = events(parser(TOOLBOX), ["\nLet me st", f"\n{call}", "\n", "op."], stop=["stop"], end=STOP)
    assert "".join(words(told)) == "Let me stf{}op."
    assert told[-2].finished.stop_token == STOP


@pytest.mark.parametrize(
    ("name", "arguments"), [("python", '{"code": ""}'), ("cogview", '{"prompt": ""}'), ("simple_browser", "{}")]
)
@pytest.mark.parametrize("after", ["", "\n"])
def test_a_built_in_tool_that_is_only_named_has_its_argument(name: str, arguments: str, after: str) -> None:
    assert "".join(words(events(Glm4Parser(Toolbox((name,))), [name, after]))) == name + arguments


def test_a_function_with_the_name_of_a_built_in_tool_has_no_such_argument() -> None:
    toolbox = Toolbox((FunctionTool(name="python"),), frozenset(["python"]))
    assert words(events(Glm4Parser(toolbox), ["python"])) == ["python", "{}"]


@PARSERS
def test_text_before_a_call_too_many_is_told(parser: type, call: str) -> None:
    told = events(parser(TOOLBOX), [call, f"\nAgain.\n{call}"], stop=[".x"], parallel_tool_calls=False)
    assert "".join(words(told)) == "f{}Again."

"""An answer under way: folds the events of a stream."""

from dataclasses import dataclass, field

from glmserve_client.errors import InvalidAnswer
from glmserve_client.reply import Choice, Delta, Event, FinishReason, Reply, Started, TokenLogprob, ToolCall, Usage

_MOST_CHOICES = 1024
_MOST_CALLS = 4096


class Text:
    """Characters that come in pieces, joined when somebody looks."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def __iadd__(self, piece: str) -> "Text":
        if piece:
            self._pieces.append(piece)
        return self

    def __str__(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: Text = field(default_factory=Text)


@dataclass(slots=True)
class _Choice:
    text: Text = field(default_factory=Text)
    reasoning: Text = field(default_factory=Text)
    calls: list[_Call] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    logprobs: list[TokenLogprob] = field(default_factory=list)


class Draft:
    """What has come so far."""

    def __init__(self, started: Started) -> None:
        self._started = started
        self._choices = [_Choice()]
        self._usage: Usage | None = None

    def add(self, event: Event) -> None:
        """Takes the next event. Raises `InvalidAnswer` for one that cannot follow."""
        if isinstance(event, Delta):
            self._add_delta(event)
        elif isinstance(event, Usage):
            self._usage = event

    @property
    def reply(self) -> Reply:
        """The answer so far."""
        return Reply(
            id=self._started.id,
            model=self._started.model,
            created=self._started.created,
            ignored=self._started.ignored,
            choices=tuple(_frozen(index, choice) for index, choice in enumerate(self._choices)),
            usage=self._usage,
        )

    def _add_delta(self, delta: Delta) -> None:
        if not 0 <= delta.index < _MOST_CHOICES:
            raise InvalidAnswer(f"a delta belongs to choice {delta.index}, which cannot be")
        while delta.index >= len(self._choices):
            self._choices.append(_Choice())
        choice = self._choices[delta.index]
        choice.text += delta.text
        choice.reasoning += delta.reasoning
        choice.logprobs += delta.logprobs
        choice.finish_reason = delta.finish_reason or choice.finish_reason
        if delta.tool_call is not None:
            call = _call(choice.calls, delta.tool_call.index)
            call.id = call.id or delta.tool_call.id
            call.name = call.name or delta.tool_call.name
            call.arguments += delta.tool_call.arguments


def _call(calls: list[_Call], index: int) -> _Call:
    if not 0 <= index <= min(len(calls), _MOST_CALLS):
        raise InvalidAnswer(f"a piece belongs to tool call {index}, but only {len(calls)} have begun")
    if index == len(calls):
        calls.append(_Call())
    return calls[index]


def _frozen(index: int, choice: _Choice) -> Choice:
    return Choice(
        index=index,
        text=str(choice.text),
        reasoning=str(choice.reasoning),
        tool_calls=tuple(ToolCall(id=call.id, name=call.name, arguments=str(call.arguments)) for call in choice.calls),
        finish_reason=choice.finish_reason,
        logprobs=tuple(choice.logprobs),
    )

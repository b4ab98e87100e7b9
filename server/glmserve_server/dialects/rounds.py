"""Conversations of the families before ChatGLM3: rounds of a question and its answer, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from glmserve.v1 import message_pb2
from glmserve.v1.message_pb2 import Message
from glmserve_server.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Round:
    """What the user said, and what the assistant answered; the last round has no answer yet."""

    question: str
    answer: str | None = None


def rounds(messages: Sequence[Message], *, title: str) -> list[Round]:
    """A conversation as rounds. Raises `InvalidArgument` for what is none; `title` is the family's name."""
    made: list[Round] = []
    for index, message in enumerate(messages):
        _check(message, index, asked=bool(made) and made[-1].answer is None, title=title)
        text = "".join(part.text for part in message.content)
        if message.role == message_pb2.ROLE_USER:
            made.append(Round(text))
        else:
            made[-1] = Round(made[-1].question, text)
    if made[-1].answer is not None:
        last = f"messages[{len(messages) - 1}].role"
        raise InvalidArgument(f"{last} must be user: {title} models answer the last message", field=last)
    return made


def _check(message: Message, index: int, *, asked: bool, title: str) -> None:
    path = f"messages[{index}].role"
    role = message_pb2.Role.Name(message.role).removeprefix("ROLE_").lower()
    if role not in ("user", "assistant"):
        instead = (
            "say it in a user message"
            if role in ("system", "developer")
            else "say the result in a user message, or ask a model that knows tools"
        )
        raise InvalidArgument(
            f"{path} must be user or assistant, not {role}, for {title} models: {instead}", field=path
        )
    if role != (wanted := "assistant" if asked else "user"):
        raise InvalidArgument(
            f"{path} must be {wanted}, not {role}: with {title} models user and assistant take turns, the user first",
            field=path,
        )
    if message.tool_calls:
        path = f"messages[{index}].tool_calls"
        raise InvalidArgument(f"{path} must be empty: {title} models know no tools", field=path)

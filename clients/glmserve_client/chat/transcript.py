"""What was said, as OpenAI messages, and the file that keeps it.

The file is JSON: `{"model": "…", "messages": [{"role": "user", "content": "…"}, …]}`, which is also the body of a
request to `/v1/chat/completions`. An answer that was cut short has `"cut": true`. A bare list of messages is read too.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from glmserve_client.errors import ConfigurationError
from glmserve_client.messages import system

Message = dict[str, Any]

_LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a file."""
_CUT: Final = "cut"


class _Form(BaseModel):
    """What is not named here is kept as it is."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Text(_Form):
    type: Literal["text"]
    text: str


class _Address(_Form):
    url: str


class _Image(_Form):
    type: Literal["image_url"]
    image_url: _Address


class _Function(_Form):
    name: str
    arguments: str


class _Call(_Form):
    id: str
    type: Literal["function"]
    function: _Function


class _Message(_Form):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Annotated[_Text | _Image, Field(discriminator="type")]] | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    cut: bool = False


class _File(_Form):
    model: str = ""
    messages: list[_Message]


_MESSAGES: Final = TypeAdapter(list[_Message])


class Transcript:
    """A conversation: instructions, and turns that each begin with a question."""

    def __init__(self, *, system: str | None = None) -> None:
        self.system = system
        """Instructions that go before all."""
        self.messages: list[Message] = []
        """All else, oldest first. A message with `cut` is the beginning of an answer that was stopped."""

    def to_ask(self, question: Message) -> list[Message]:
        """What to send so that the question is answered."""
        messages = [*self.messages, question]
        return [{name: value for name, value in one.items() if name != _CUT} for one in self._with_system(messages)]

    def add(self, question: Message, answer: Message, *, cut: bool = False) -> None:
        """Remembers a turn."""
        self.messages += [question, {**answer, _CUT: True} if cut else answer]

    def take_turn(self) -> list[Message]:
        """Forgets the last turn, and gives it: a question and what followed. Empty where there is none."""
        start = max((place for place, one in enumerate(self.messages) if one["role"] == "user"), default=None)
        if start is None:
            return []
        taken = self.messages[start:]
        del self.messages[start:]
        return taken

    def save(self, path: Path, *, model: str, unanswered: Sequence[Message] = ()) -> None:
        """Writes the file, whole or not at all, for the eyes of its owner. Raises `ConfigurationError`."""
        messages = self._with_system([*self.messages, *unanswered])
        text = json.dumps({"model": model, "messages": messages}, ensure_ascii=False, indent=1)
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                    file.write(f"{text}\n")
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink()
                raise
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None

    def _with_system(self, messages: list[Message]) -> list[Message]:
        return [*([] if self.system is None else [system(self.system)]), *messages]


def load(path: Path) -> tuple[Transcript, str]:
    """The conversation of a file, and the name of its model or an empty one.

    Raises `ConfigurationError` that says why a file is none.
    """
    data = _read(path)
    try:
        if data.lstrip()[:1] == b"[":
            model, messages = "", _MESSAGES.validate_json(data)
        else:
            file = _File.model_validate_json(data)
            model, messages = file.model, file.messages
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigurationError(f"{path} holds no conversation: {place}: {first['msg']}") from None
    plain = [one.model_dump(exclude_unset=True) for one in messages]
    made = Transcript()
    if plain and plain[0]["role"] == "system" and isinstance(plain[0].get("content"), str):
        made.system = plain.pop(0)["content"]
    made.messages = plain
    return made, model


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ConfigurationError(f"{path}: there is no such file")
        if path.stat().st_size > _LARGEST:
            raise ConfigurationError(f"{path} is larger than {_LARGEST >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None

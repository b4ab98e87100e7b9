"""What a command asks, and how it is to be answered."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from glmserve_client.errors import ConfigurationError
from glmserve_client.terminal.files import named

if TYPE_CHECKING:
    from glmserve_client.parameters import Parameters

_LARGEST_IMAGE: Final = 20 * 1024 * 1024
"""Bytes; a server takes no larger ones."""
_PANEL: Final = "Answer"

ModelName = Annotated[
    str, typer.Option("--model", envvar="GLMSERVE_MODEL", help="The model's name.", show_default="the only one")
]
System = Annotated[str | None, typer.Option(help="Instructions that go before the question.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A group: the words of the question, and what goes with them."""

    text: Annotated[
        list[str] | None,
        typer.Argument(help="The question; - is standard input.", show_default="standard input"),
    ] = None
    image: Annotated[
        list[str] | None, typer.Option(metavar="FILE|URL", help="A picture to ask about; may be repeated.")
    ] = None
    system: System = None
    model: ModelName = ""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation to send. Reads standard input where the question says so."""
        from glmserve_client.messages import system, user

        said: list[Any] = [picture(source) for source in self.image or ()]
        said.append(_text(self.text or []))
        return [*([] if self.system is None else [system(self.system)]), user(*said)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """A group: how to answer. What is None is the model's default; the server checks ranges."""

    temperature: Annotated[float | None, typer.Option(help="Randomness, 0 to 2.", rich_help_panel=_PANEL)] = None
    top_p: Annotated[
        float | None, typer.Option(help="Share of the probability to sample from.", rich_help_panel=_PANEL)
    ] = None
    top_k: Annotated[
        int | None, typer.Option(help="Number of tokens to sample from; 0: all.", rich_help_panel=_PANEL)
    ] = None
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1: repeats less.", rich_help_panel=_PANEL)] = (
        None
    )
    seed: Annotated[int | None, typer.Option(help="The same seed, the same answer.", rich_help_panel=_PANEL)] = None
    stop: Annotated[
        list[str] | None, typer.Option(help="End where this would appear; repeatable.", rich_help_panel=_PANEL)
    ] = None
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="The most tokens.", show_default="as many as fit", rich_help_panel=_PANEL),
    ] = None
    reasoning_effort: Annotated[
        str | None, typer.Option(help="How much to think: none, low, medium, high …", rich_help_panel=_PANEL)
    ] = None

    @property
    def parameters(self) -> "Parameters":
        """The arguments of a chat."""
        given: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        given["max_completion_tokens"] = given.pop("max_tokens")
        given["stop"] = given["stop"] or None
        made: Parameters = given  # type: ignore[assignment]
        return made


def picture(source: str) -> dict[str, Any]:
    """An image file, or the address of one, as a part of a message. Raises `ConfigurationError` for what is neither."""
    from glmserve_client.messages import image

    if source.startswith(("https://", "http://", "data:")):
        return image(source)
    path = named(source)
    try:
        if not path.is_file():
            raise ConfigurationError(f"{source}: there is no such file")
        if path.stat().st_size > _LARGEST_IMAGE:
            raise ConfigurationError(f"{source}: an image has at most {_LARGEST_IMAGE >> 20} MiB")
        return image(path)
    except OSError as error:
        raise ConfigurationError(f"{source}: {error.strerror}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {str(error).removeprefix(f'{source}: ')}") from None


def _text(words: list[str]) -> str:
    """The words, with standard input in the place of each `-` as a paragraph of its own."""
    if not words and sys.stdin.isatty():
        raise typer.BadParameter('ask something: glmserve ask "What is the capital of France?"')
    text = ""
    for word in words or ["-"]:
        said, gap = (_standard_input(), "\n\n") if word == "-" else (word, " ")
        text = f"{text}{gap}{said}" if text else said
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("the question is not UTF-8 text") from None
    if not text.strip():
        raise typer.BadParameter("the question is empty")
    return text


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"standard input is not UTF-8 text: {error.reason} at byte {error.start}") from None

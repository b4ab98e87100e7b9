"""A conversation on the terminal: what is asked, what comes of it, and what is remembered."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from glmserve_client.chat.interrupt import interruptible
from glmserve_client.chat.screen import Screen
from glmserve_client.chat.transcript import Message, Transcript, load
from glmserve_client.client import AsyncClient
from glmserve_client.errors import ConfigurationError, GlmserveError, InvalidAnswer, NotFound, NotSupported
from glmserve_client.messages import user
from glmserve_client.model import Model
from glmserve_client.reply import FinishReason, Reply
from glmserve_client.stream import AsyncStream
from glmserve_client.terminal.failure import worded
from glmserve_client.terminal.pace import Pace
from glmserve_client.terminal.printable import one_line

_DRAWINGS: Final = 12
"""A second: as many as an eye needs."""


class Session:
    """What a conversation has. Nothing of a question or an answer is lost unless the person says so."""

    def __init__(
        self, client: AsyncClient, console: Console, *, model: str, system: str | None, parameters: Mapping[str, Any]
    ) -> None:
        self.client = client
        self.console = console
        self.model = model
        self.transcript = Transcript(system=system)
        self.images: list[Message] = []
        """Pictures for the next question."""
        self.file: Path | None = None
        """Where the conversation was saved, or came from."""
        self.stats = False
        self._parameters = parameters
        self._unanswered: Message | None = None
        """The last question, if it has no answer."""

    async def ask(self, text: str) -> None:
        """Asks, with the pictures that wait."""
        question = user(*self.images, text)
        self.images = []
        await self._answer(question)

    async def retry(self) -> None:
        """Asks the last question again. An answer that it had is kept unless a new one comes."""
        if (question := self._unanswered) is not None:
            await self._answer(question)
            return
        if not (turn := self.transcript.take_turn()):
            self.note("There is no question yet.")
            return
        if not await self._answer(turn[0]):
            self.transcript.messages += turn
            self._unanswered = None
            if len(turn) > 1:
                self.note("The former answer is kept.")

    @property
    def is_unanswered(self) -> bool:
        """Whether the last question has no answer."""
        return self._unanswered is not None

    async def models(self) -> list[Model]:
        """Those of the server; none if it does not say, as servers need not."""
        try:
            return await self.client.models()
        except (NotFound, NotSupported, InvalidAnswer):
            return []

    def undo(self) -> Message | None:
        """Forgets the last question with its answer, and gives it."""
        question, self._unanswered = self._unanswered, None
        if question is None:
            question = next(iter(self.transcript.take_turn()), None)
        return question

    def renew(self) -> None:
        """Forgets all but the instructions."""
        self.transcript = Transcript(system=self.transcript.system)
        self._unanswered, self.images, self.file = None, [], None

    def load(self, path: Path) -> None:
        """Goes on with the conversation of a file. Raises `ConfigurationError`, and changes nothing then."""
        self.transcript, model = load(path)
        self.model = model or self.model
        self.file = path
        last = self.transcript.messages[-1:]
        self._unanswered = self.transcript.messages.pop() if last and last[0]["role"] == "user" else None

    def save(self, path: Path) -> None:
        """Writes the conversation, with a question that has no answer yet. Raises `ConfigurationError`: another file
        than its own is never written over."""
        if path != self.file and _exists(path):
            raise ConfigurationError(f"{path} exists, and is kept: name another file")
        unanswered = [] if self._unanswered is None else [self._unanswered]
        self.transcript.save(path, model=self.model, unanswered=unanswered)
        self.file = path

    def note(self, text: str, *, style: str = "dim") -> None:
        """A line from the program."""
        self.console.print(Text(one_line(text), style=style))

    def show(self, text: str) -> None:
        """An answer as it looks when it comes."""
        with Screen(self.console) as screen:
            screen.add(text)

    async def _answer(self, question: Message) -> bool:
        """Shows the answer and remembers it. Whether there is one: the beginning of one that was stopped is."""
        self._unanswered = question
        pace = Pace()
        stream = self.client.stream(self.transcript.to_ask(question), model=self.model, **self._parameters)
        self.console.print()
        try:
            with Screen(self.console) as screen:
                reply, stopped = await self._received(stream, screen, pace)
        except GlmserveError as error:
            self.note(worded(error), style="red")
            self.note("/retry asks again.")
            return False
        answered = reply is not None and bool(reply.text or reply.reasoning or not stopped)
        if reply is not None and answered:
            self.transcript.add(question, reply.message, cut=stopped)
            self._unanswered = None
            self._comment(reply)
        if stopped:
            self.note("Stopped; what came is kept, /retry asks again." if answered else "Stopped; /retry asks again.")
        if self.stats and reply is not None:
            self.note(pace.worded(reply.usage))
        return answered

    async def _received(self, stream: AsyncStream, screen: Screen, pace: Pace) -> tuple[Reply | None, bool]:
        """The answer as far as it came, and whether it was stopped."""
        begun = False

        async def receive() -> bool:
            nonlocal begun
            async with stream:
                begun = True
                async for delta in stream:
                    if delta.text or delta.reasoning:
                        pace.piece()
                    screen.add(delta.reasoning, thinks=True)
                    screen.add(delta.text)
            return True

        drawing = asyncio.create_task(_drawn(screen, pace))
        try:
            whole = await interruptible(receive())
        finally:
            drawing.cancel()
        return stream.reply if begun else None, not whole

    def _comment(self, reply: Reply) -> None:
        """What is worth knowing beside the text."""
        for call in reply.tool_calls:
            self.note(f"The model calls {call.name}({call.arguments}), which nobody runs here.")
        if not (reply.text or reply.reasoning or reply.tool_calls):
            self.note("The answer is empty.")
        if reply.finish_reason is FinishReason.LENGTH:
            self.note("The answer is cut: it reached the most tokens that it may have.")
        if reply.finish_reason is FinishReason.CONTENT_FILTER:
            self.note("The answer is cut: a filter withheld the rest.")
        if reply.ignored:
            self.note(f"Not honoured by the model: {', '.join(reply.ignored)}.")


def _exists(path: Path) -> bool:
    """Whether there is such a file. Raises `ConfigurationError` where that cannot be known: one might be lost."""
    try:
        return path.exists()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


async def _drawn(screen: Screen, pace: Pace) -> None:
    while True:
        seconds = int(pace.waited)
        screen.draw(f"… {seconds} s" if seconds else "…")
        await asyncio.sleep(1 / _DRAWINGS)

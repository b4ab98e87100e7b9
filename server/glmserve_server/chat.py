"""What both faces call: checks a request, runs it, and gives its answer whole or piece by piece."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from itertools import groupby

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status

from glmserve.v1.chat_pb2 import (
    ChatCompletionRequest,
    CreateChatCompletionResponse,
    Started,
    StreamChatCompletionResponse,
)
from glmserve.v1.model_pb2 import Model
from glmserve.v1.token_pb2 import (
    CountTokensRequest,
    CountTokensResponse,
    DetokenizeRequest,
    DetokenizeResponse,
    TokenizeRequest,
    TokenizeResponse,
)
from glmserve_server import calls, errors, fates, validation
from glmserve_server.ahead import Ahead
from glmserve_server.catalogue import Catalogue, Entry
from glmserve_server.engines.engine import Events
from glmserve_server.errors import DeadlineExceeded, InvalidArgument, ShuttingDown
from glmserve_server.fold import Fold
from glmserve_server.together import together


class Chat:
    """The server's work, apart from any wire. Raises `ServeError`; also the gateway's `Backend`."""

    def __init__(self, catalogue: Catalogue, *, refuse_unsupported: bool) -> None:
        self._catalogue = catalogue
        self._refuse_unsupported = refuse_unsupported
        self._answers: set[Ahead[StreamChatCompletionResponse]] = set()
        self._cut = False

    async def create_chat_completion(self, *requests: ChatCompletionRequest) -> CreateChatCompletionResponse:
        """The whole answer."""
        fold = Fold()
        async with contextlib.aclosing(self.stream_chat_completion(*requests)) as answer:
            async for events in answer:
                for event in events:
                    fold.add(event)
        return fold.response()

    async def stream_chat_completion(
        self, *requests: ChatCompletionRequest
    ) -> AsyncGenerator[list[StreamChatCompletionResponse], None]:
        """The answer as it is made, in lists of what is ready; closing the generator stops the model.

        Several requests differ in their prompt alone and get one answer, see `together`.
        """
        entry = self._catalogue.find(requests[0].model)
        calls.note(model=entry.id)
        ignored, *_ = [self._checked(request, entry) for request in requests]
        answers = [entry.engine.generate(request) for request in requests]
        async with self._running(entry, together(answers, requests[0].n or 1)) as answer:
            async for events in answer:
                if events[0].HasField("started"):
                    _complete(events[0].started, entry, ignored)
                if not events[-1].HasField("started"):
                    calls.note_answer()
                if events[-1].HasField("usage"):
                    calls.note_usage(events[-1].usage)
                yield _joined(events)

    async def count_tokens(self, request: CountTokensRequest, /) -> CountTokensResponse:
        """The size of a conversation."""
        entry = self._catalogue.find(request.chat.model)
        calls.note(model=entry.id)
        self._checked(request.chat, entry)
        if request.include_token_ids:
            ids = (await entry.engine.tokenize(request.chat)).ids
            size = len(ids)
        else:
            ids, size = [], await entry.engine.count(request.chat)
        return CountTokensResponse(prompt_tokens=size, context_length=entry.engine.context_length, token_ids=ids)

    async def tokenize(self, request: TokenizeRequest, /) -> TokenizeResponse:
        """The tokens of a conversation or a text."""
        entry = self._catalogue.find(request.chat.model)
        calls.note(model=entry.id)
        validation.check_tokenize(request)
        self._checked(request.chat, entry)
        ids, texts = await entry.engine.tokenize(request.chat, texts=request.include_token_texts)
        return TokenizeResponse(token_ids=ids, token_texts=texts, context_length=entry.engine.context_length)

    async def detokenize(self, request: DetokenizeRequest, /) -> DetokenizeResponse:
        """The text of tokens."""
        entry = self._catalogue.find(request.model)
        calls.note(model=entry.id)
        validation.check_token_ids(request.token_ids, "token_ids")
        return DetokenizeResponse(text=await entry.engine.detokenize(request.token_ids))

    def cut_short(self) -> None:
        """Makes all answers that run, and all to come, end with `ShuttingDown`."""
        self._cut = True
        for answer in self._answers:
            answer.fail(_shutting_down())

    def list_models(self) -> Sequence[Model]:
        """All models."""
        return [self._described(entry) for entry in self._catalogue.entries]

    def get_model(self, name: str, /) -> Model:
        """The model of that name."""
        if not name:
            raise InvalidArgument("model must not be empty", field="model")
        entry = self._catalogue.find(name)
        calls.note(model=entry.id)
        return self._described(entry)

    def status_of(self, error: Exception, /) -> Status:
        """The status that tells a caller of `error`."""
        return errors.status_of(error)

    def _described(self, entry: Entry) -> Model:
        model = entry.describe()
        if model.HasField("capabilities"):
            model.parameters.CopyFrom(fates.parameters(model.capabilities, refuse=self._refuse_unsupported))
        return model

    def _checked(self, request: ChatCompletionRequest, entry: Entry) -> list[str]:
        """Returns the preferences that will be ignored. What the request does not say, the operator's defaults do."""
        validation.check(request)
        entry.fill(request)
        return fates.settle(request, entry.engine.capabilities, refuse=self._refuse_unsupported)

    @contextlib.asynccontextmanager
    async def _running(self, entry: Entry, events: Events) -> AsyncIterator[Ahead[StreamChatCompletionResponse]]:
        """Reads an answer until it ends, or takes too long, or is cut short."""
        if self._cut:
            raise _shutting_down()
        time_limit = entry.settings.time_limit
        late = DeadlineExceeded(f"The answer took longer than {time_limit:g} seconds.")
        async with Ahead(events) as answer:
            timer = asyncio.get_running_loop().call_later(time_limit, answer.fail, late)
            self._answers.add(answer)
            entry.running += 1
            try:
                yield answer
            except Exception as error:
                calls.note(error=type(error).__name__)  # over HTTP it may come too late to be the call's status
                raise
            finally:
                entry.running -= 1
                self._answers.discard(answer)
                timer.cancel()


def _complete(started: Started, entry: Entry, ignored: list[str]) -> None:
    started.id = f"chatcmpl-{uuid.uuid4().hex}"
    started.model = entry.id
    started.created.CopyFrom(Timestamp(seconds=int(time.time())))
    numbers = ChatCompletionRequest.DESCRIPTOR.fields_by_name
    ignored = sorted({*started.ignored, *ignored}, key=lambda name: numbers[name].number)
    started.ClearField("ignored")
    started.ignored.extend(ignored)


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("The server is shutting down and ends this answer.")


def _joined(events: Iterable[StreamChatCompletionResponse]) -> list[StreamChatCompletionResponse]:
    """The same answer in fewer events: pieces of a text that follow each other become one piece."""
    joined = []
    for place, pieces in groupby(events, _place):
        first, *others = pieces
        joined.append(first)
        if place is None:
            joined.extend(others)
        elif others:
            first.text.text = "".join([first.text.text, *(piece.text.text for piece in others)])
            first.text.logprobs.extend(logprob for piece in others for logprob in piece.text.logprobs)
    return joined


def _place(event: StreamChatCompletionResponse) -> int | None:
    """The choice that a piece of text belongs to; None for all that is no text."""
    return event.text.choice_index if event.HasField("text") else None

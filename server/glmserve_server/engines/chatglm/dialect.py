"""How a model family writes a conversation as token ids, and reads an answer from them."""

from collections.abc import Sequence
from typing import Protocol

from glmserve.v1.message_pb2 import Message
from glmserve_server.engines.chatglm.architecture import Family
from glmserve_server.engines.chatglm.glm4 import Glm4Dialect
from glmserve_server.engines.chatglm.modelfile import ModelFile
from glmserve_server.errors import ModelUnavailable


class AnswerReader(Protocol):
    """Reads one answer, token by token."""

    def feed(self, token: int) -> str:
        """The text that `token` completes; often nothing."""
        ...


class Dialect(Protocol):
    """One family's prompt format over one model's vocabulary. Knows nothing of sampling and of processes."""

    @property
    def stop_ids(self) -> Sequence[int]:
        """The tokens that end an answer."""
        ...

    @property
    def longest_token(self) -> int:
        """The most bytes of text that one token can stand for."""
        ...

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The prompt: whole conversation and the beginning of the answer's turn."""
        ...

    def answer(self) -> AnswerReader:
        """A reader for one answer."""
        ...


def dialect_of(model: ModelFile) -> Dialect:
    """A model file's dialect. Raises `ModelUnavailable` for a family that is not served, or a damaged tokenizer."""
    if model.family is not Family.GLM4:
        raise ModelUnavailable(
            f"{model.path}: {model.family.title} models are not served yet, only {Family.GLM4.title} models are"
        )
    try:
        return Glm4Dialect(model.tokenizer, model.config.vocab_size)
    except ValueError as error:
        raise ModelUnavailable(f"{model.path}: the tokenizer is damaged: {error}") from None

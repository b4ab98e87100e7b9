"""What upstreams say beside OpenAI's API: what a model can, how long its prompts may be, the tokens of one, a text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, ValidationError

from glmserve.v1.model_pb2 import Capabilities
from glmserve_server.engines.engine import Tokens

_MAX_CHOICES: Final = 128
"""The largest `n` of any request."""

EVERYTHING: Final = Capabilities(
    **{field.name: True for field in Capabilities.DESCRIPTOR.fields if field.name != "max_choices"},
    max_choices=_MAX_CHOICES,
)
"""Taken of a server that does not say what it can: what it cannot do it refuses itself."""

Uint32 = Annotated[int, Field(ge=0, lt=1 << 32)]


@dataclass(frozen=True, slots=True)
class Listed:
    """What a server says of a model."""

    context_length: int
    """0: nothing."""
    capabilities: Capabilities
    """As another glmserve says it; everything that is not said."""


class _Glmserve(BaseModel):
    aliases: list[str] = []
    context_length: Uint32 | None = None
    capabilities: dict[str, Any] = {}


class _Model(BaseModel):
    id: str
    max_model_len: Uint32 | None = None
    """vLLM's and SGLang's."""
    glmserve: _Glmserve = _Glmserve()


class _Models(BaseModel):
    data: list[_Model]


class _Tokens(BaseModel):
    count: int
    tokens: list[Uint32]
    token_strs: list[str] | None = None


class _Text(BaseModel):
    prompt: str


def listed(data: bytes, model: str) -> Listed | None:
    """What the answer to `GET /models` says of a model; None if nothing."""
    try:
        models = _Models.model_validate_json(data).data
    except ValidationError:
        return None
    found = next((one for one in models if model in (one.id, *one.glmserve.aliases)), None)
    if found is None:
        return None
    context_length = found.glmserve.context_length or found.max_model_len or 0
    return Listed(context_length, _capabilities(found.glmserve.capabilities))


def tokens_of(data: bytes) -> Tokens | None:
    """The tokens in an answer of vLLM's `/tokenize`; None if it is another's."""
    try:
        answer = _Tokens.model_validate_json(data)
    except ValidationError:
        return None
    texts = answer.token_strs or []
    whole = answer.count == len(answer.tokens) and len(texts) in (0, answer.count)
    return Tokens(answer.tokens, texts) if whole else None


def text_of(data: bytes) -> str | None:
    """The text in an answer of vLLM's `/detokenize`; None if it is another's."""
    try:
        return _Text.model_validate_json(data).prompt
    except ValidationError:
        return None


def _capabilities(said: Mapping[str, Any]) -> Capabilities:
    """What is of another form than it should be counts as not said."""
    made = Capabilities()
    made.CopyFrom(EVERYTHING)
    for field in Capabilities.DESCRIPTOR.fields:
        value = said.get(field.name)
        if field.name == "max_choices":
            made.max_choices = value if type(value) is int and 1 <= value <= _MAX_CHOICES else _MAX_CHOICES
        elif value is False:
            setattr(made, field.name, False)
    return made

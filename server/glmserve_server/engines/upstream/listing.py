"""What upstreams say beside OpenAI's API: how long a model's prompts may be, the tokens of one, the text of some."""

from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from glmserve_server.engines.engine import Tokens

Uint32 = Annotated[int, Field(ge=0, lt=1 << 32)]


class _Glmserve(BaseModel):
    context_length: Uint32 | None = None


class _Model(BaseModel):
    id: str
    max_model_len: Uint32 | None = None
    """vLLM's and SGLang's."""
    glmserve: _Glmserve | None = None


class _Models(BaseModel):
    data: list[_Model]


class _Tokens(BaseModel):
    count: int
    tokens: list[Uint32]
    token_strs: list[str] | None = None


class _Text(BaseModel):
    prompt: str


def context_length_of(data: bytes, model: str) -> int:
    """The context length of a model in the answer to `GET /models`; 0 if it does not say."""
    try:
        listed = _Models.model_validate_json(data).data
    except ValidationError:
        return 0
    for one in listed:
        if one.id == model:
            return (one.glmserve.context_length if one.glmserve else None) or one.max_model_len or 0
    return 0


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

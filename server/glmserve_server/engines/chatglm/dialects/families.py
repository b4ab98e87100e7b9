"""Which dialect a model file speaks."""

from glmserve_server.engines.chatglm.architecture import Family
from glmserve_server.engines.chatglm.dialects.dialect import Dialect
from glmserve_server.engines.chatglm.dialects.glm4 import Glm4Dialect
from glmserve_server.engines.chatglm.modelfile import ModelFile
from glmserve_server.errors import ModelUnavailable


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

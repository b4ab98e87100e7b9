"""Which dialect a model file speaks."""

from glmserve_server.engines.chatglm.architecture import Family
from glmserve_server.engines.chatglm.dialects.dialect import Dialect
from glmserve_server.engines.chatglm.dialects.glm4 import Glm4Dialect
from glmserve_server.engines.chatglm.modelfile import ModelFile
from glmserve_server.errors import ModelUnavailable


def dialect_of(model: ModelFile) -> Dialect:
    """A model file's dialect. Raises `ModelUnavailable` for a family that is not served, or a damaged tokenizer."""
    if model.family not in (Family.GLM4, Family.GLM4V):
        raise ModelUnavailable(
            f"{model.path}: {model.family.title} models are not served yet, only {Family.GLM4.title} and "
            f"{Family.GLM4V.title} models are"
        )
    try:
        image_tokens = model.vision.tokens if model.vision else 0
        return Glm4Dialect(model.tokenizer, model.config.vocab_size, image_tokens=image_tokens)
    except ValueError as error:
        raise ModelUnavailable(f"{model.path}: the tokenizer is damaged: {error}") from None

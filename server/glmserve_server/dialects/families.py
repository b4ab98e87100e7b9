"""Which dialect a model file speaks."""

from glmserve_server.dialects.chatglm import ChatGlmDialect
from glmserve_server.dialects.chatglm2 import ChatGlm2Dialect
from glmserve_server.dialects.chatglm3 import ChatGlm3Dialect
from glmserve_server.dialects.dialect import Dialect
from glmserve_server.dialects.glm4 import Glm4Dialect
from glmserve_server.engines.chatglm.architecture import Config, Family
from glmserve_server.engines.chatglm.modelfile import ModelFile
from glmserve_server.errors import ModelBroken


def dialect_of(model: ModelFile) -> Dialect:
    """A model file's dialect. Raises `ModelBroken` for a damaged tokenizer."""
    image_tokens = model.vision.tokens if model.vision else 0
    try:
        return dialect_for(model.family, model.tokenizer, model.config, image_tokens=image_tokens)
    except ValueError as error:
        raise ModelBroken(f"{model.path}: the tokenizer is damaged: {error}") from None


def dialect_for(family: Family, tokenizer: bytes, config: Config, *, image_tokens: int = 0) -> Dialect:
    """A family's dialect over one vocabulary. Raises ValueError for a damaged tokenizer."""
    match family:
        case Family.CHATGLM:
            return ChatGlmDialect(tokenizer, config)
        case Family.CHATGLM2:
            return ChatGlm2Dialect(tokenizer, config)
        case Family.CHATGLM3:
            return ChatGlm3Dialect(tokenizer, config)
        case Family.GLM4 | Family.GLM4V:
            return Glm4Dialect(tokenizer, config.vocab_size, image_tokens=image_tokens)

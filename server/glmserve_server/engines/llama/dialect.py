"""In which words a GGUF file is spoken to: those of our dialects, if this server made the file of a chatglm.cpp one.

Such a file carries the name of its family and its tokenizer as it was. Any other is spoken to by llama.cpp, which
finds a chat template in the file.
"""

import base64
import binascii
from typing import Final

from glmserve_server.engines.chatglm.architecture import Config, Family
from glmserve_server.engines.chatglm.dialects.dialect import Dialect
from glmserve_server.engines.chatglm.dialects.families import dialect_for
from glmserve_server.engines.llama.ggufheader import GgufHeader
from glmserve_server.errors import ModelBroken

FAMILY_KEY: Final = "glmserve.family"
TOKENIZER_KEY: Final = "glmserve.tokenizer"
VOCABULARY_KEY: Final = "glmserve.vocabulary_size"


def family_of(header: GgufHeader) -> Family | None:
    """The family of a file that this server made; None for others."""
    name = str(header.values.get(FAMILY_KEY, "")).upper()
    return Family[name] if name in Family.__members__ else None


def dialect_of(header: GgufHeader) -> Dialect | None:
    """None: llama.cpp writes the prompts and reads the answers. Raises `ModelBroken` for a damaged tokenizer."""
    if (family := family_of(header)) is None:
        return None
    try:
        tokenizer = base64.b64decode(str(header.values[TOKENIZER_KEY]), validate=True)
        return dialect_for(family, tokenizer, _config(header))
    except (KeyError, ValueError, binascii.Error) as error:
        raise ModelBroken(f"{header.path}: the tokenizer is damaged: {error}") from None


def _config(header: GgufHeader) -> Config:
    vocabulary, end = header.values[VOCABULARY_KEY], header.values["tokenizer.ggml.eos_token_id"]
    return Config(
        dtype=0,
        vocab_size=int(vocabulary),
        hidden_size=header.number("embedding_length"),
        num_attention_heads=header.number("attention.head_count"),
        num_key_value_heads=header.number("attention.head_count_kv"),
        num_hidden_layers=header.number("block_count"),
        intermediate_size=header.number("feed_forward_length"),
        max_length=header.number("context_length"),
        eos_token_id=int(end),
    )

"""In which words a GGUF file is spoken to: those of our dialects, if this server made the file of a chatglm.cpp one, or
if it is a GLM-4 (also 0414 and Z1) that another has made.

The former carries the name of its family and its tokenizer as it was. The chat template of the latter shows calls as
turns with metadata, which OpenAI's messages do not have, so that llama.cpp would leave out calls and their results.
Any other file is spoken to by llama.cpp and by its own chat template.
"""

import base64
import binascii
from typing import Final

from glmserve_server.dialects.dialect import Dialect
from glmserve_server.dialects.families import dialect_for
from glmserve_server.dialects.glm4 import SPECIAL, Glm4Dialect
from glmserve_server.dialects.glm4_tools import IDENTITY
from glmserve_server.dialects.thinking import BEGIN
from glmserve_server.engines.chatglm.architecture import Config, Family
from glmserve_server.engines.llama import letters
from glmserve_server.engines.llama.ggufheader import GgufHeader, tokens_of
from glmserve_server.errors import ModelBroken

FAMILY_KEY: Final = "glmserve.family"
TOKENIZER_KEY: Final = "glmserve.tokenizer"
VOCABULARY_KEY: Final = "glmserve.vocabulary_size"

_GLM4_PARTS: Final = ("metadata", "[gMASK]", "<sop>", "<|assistant|>")


def family_of(header: GgufHeader) -> Family | None:
    """The family of a file that this server made; None for others."""
    name = str(header.values.get(FAMILY_KEY, "")).upper()
    return Family[name] if name in Family.__members__ else None


def dialect_of(header: GgufHeader) -> Dialect | None:
    """None: llama.cpp writes the prompts and reads the answers. Raises `ModelBroken` for a damaged tokenizer."""
    if (family := family_of(header)) is None:
        return _glm4_of(header)
    try:
        tokenizer = base64.b64decode(str(header.values[TOKENIZER_KEY]), validate=True)
        return dialect_for(family, tokenizer, _config(header))
    except (KeyError, ValueError, OverflowError, binascii.Error) as error:
        raise ModelBroken(f"{header.path}: the tokenizer is damaged: {error}") from None


def _glm4_of(header: GgufHeader) -> Dialect | None:
    template = str(header.values.get("tokenizer.chat_template", ""))
    if "tool_calls" in template or not all(part in template for part in _GLM4_PARTS):
        return None
    tokens = tokens_of(header.path)
    size = tokens.index(SPECIAL[0]) if SPECIAL[0] in tokens else 0
    if tuple(tokens[size : size + len(SPECIAL)]) != SPECIAL:
        return None
    try:
        lines = [b"%s %d" % (base64.b64encode(letters.read(token)), rank) for rank, token in enumerate(tokens[:size])]
        thinking = BEGIN in template.rpartition("<|assistant|>")[2]
        return Glm4Dialect(b"\n".join(lines), len(tokens), identity=IDENTITY in template, thinking=thinking)
    except (KeyError, ValueError):
        return None


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

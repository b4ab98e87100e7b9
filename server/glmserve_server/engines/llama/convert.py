"""Turns a chatglm.cpp file of GLM-4, ChatGLM3 or ChatGLM2 into GGUF: tensor by tensor, quantised blocks as they are.

The tokenizer goes along twice: as llama.cpp wants it, for whoever else reads the file, and as it was, so that this
server speaks to the model in the words of its family's dialect.
"""

import base64
import logging
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sentencepiece import SentencePieceProcessor

from glmserve_server.dialects.families import dialect_of
from glmserve_server.dialects.glm4 import ranks_of
from glmserve_server.engines.chatglm import modelfile
from glmserve_server.engines.chatglm.architecture import Family
from glmserve_server.engines.chatglm.modelfile import ModelFile, Tensor
from glmserve_server.engines.llama import letters
from glmserve_server.engines.llama.dialect import FAMILY_KEY, TOKENIZER_KEY, VOCABULARY_KEY
from glmserve_server.engines.llama.packages import check_packages
from glmserve_server.errors import ModelBroken

_FAMILIES: Final = (Family.GLM4, Family.CHATGLM3, Family.CHATGLM2)
_NAMES: Final = {
    "transformer.embedding.word_embeddings": "token_embd",
    "transformer.encoder.final_layernorm": "output_norm",
    "transformer.output_layer": "output",
    "input_layernorm": "attn_norm",
    "self_attention.query_key_value": "attn_qkv",
    "self_attention.dense": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
}
_LAYERS: Final = "transformer.encoder.layers."
_ROPE_THETA: Final = 10000.0
_NORM_EPS: Final = 1e-5

_NORMAL, _UNKNOWN, _CONTROL, _UNUSED, _BYTE = 1, 2, 3, 5, 6  # llama.cpp's kinds of tokens


def convert(source: Path, target: Path) -> None:
    """Writes `target`. Raises `ModelUnavailable` for a source that cannot be read or has no GGUF form, and OSError."""
    check_packages(str(source))
    import gguf

    logging.getLogger("gguf").setLevel(logging.WARNING)
    model = modelfile.read(source)
    if model.family not in _FAMILIES:
        known = ", ".join(family.title for family in _FAMILIES)
        raise ModelBroken(f"{source}: llama.cpp runs no {model.family.title}; of chatglm.cpp's it runs {known}")
    writer = gguf.GGUFWriter(target, "chatglm")
    _write_config(writer, model)
    _write_tokenizer(writer, model)
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for tensor in model.tensors:
            if (name := _name(tensor)) is not None:
                _add_tensor(gguf, writer, name, tensor, data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        writer.tensors.clear()  # they are views of the mapping


def _name(tensor: Tensor) -> str | None:
    """llama.cpp's name; None for what is no weight."""
    stem, _, kind = tensor.name.rpartition(".")
    if not stem.startswith(_LAYERS):
        return f"{_NAMES[stem]}.{kind}" if stem in _NAMES else None
    index, _, part = stem.removeprefix(_LAYERS).partition(".")
    return f"blk.{index}.{_NAMES[part]}.{kind}"


def _add_tensor(gguf: Any, writer: Any, name: str, tensor: Tensor, data: mmap.mmap) -> None:
    import numpy

    kind = gguf.GGMLQuantizationType[tensor.dtype.upper()]
    array = numpy.frombuffer(data, dtype=numpy.uint8, count=tensor.size, offset=tensor.offset)
    if kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
        array = array.view(numpy.dtype(f"<f{4 if tensor.dtype == 'f32' else 2}")).reshape(tensor.shape)
        writer.add_tensor(name, array)
    else:
        writer.add_tensor(name, array.reshape(*tensor.shape[:-1], -1), raw_dtype=kind)


def _write_config(writer: Any, model: ModelFile) -> None:
    config = model.config
    writer.add_name(model.path.stem)
    writer.add_context_length(config.max_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps or _NORM_EPS)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads // 2)
    writer.add_rope_freq_base(config.rope_theta or _ROPE_THETA)
    writer.add_string(FAMILY_KEY, model.family.name.lower())
    writer.add_uint32(VOCABULARY_KEY, config.vocab_size)
    writer.add_string(TOKENIZER_KEY, base64.b64encode(model.tokenizer).decode())


def _write_tokenizer(writer: Any, model: ModelFile) -> None:
    if model.family is Family.GLM4:
        _write_tiktoken(writer, model)
    else:
        _write_sentencepiece(writer, model)
    writer.add_add_bos_token(False)
    ends = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    for add, token in zip(ends, dialect_of(model).stop_ids, strict=False):
        add(token)


def _write_tiktoken(writer: Any, model: ModelFile) -> None:
    from glmserve_server.dialects.glm4 import SPECIAL

    ranks = ranks_of(model.tokenizer)
    tokens = [letters.written(token) for token in sorted(ranks, key=ranks.__getitem__)]
    kinds = [_NORMAL] * len(tokens) + [_CONTROL] * len(SPECIAL)
    tokens += SPECIAL
    padding = model.config.vocab_size - len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("chatglm-bpe")
    writer.add_token_list([*tokens, *(f"[PAD{index}]" for index in range(padding))])
    writer.add_token_types([*kinds, *[_UNUSED] * padding])
    merges = list(_merges(ranks)) or [(b"\0", b"\0")]  # llama.cpp wants at least one
    writer.add_token_merges([f"{letters.written(left)} {letters.written(right)}" for left, right in merges])
    end = len(ranks)
    writer.add_unk_token_id(end)
    writer.add_pad_token_id(end)


def _merges(ranks: dict[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """The two parts of which each longer token is made, in the order of the ranks."""
    for token in sorted((token for token in ranks if len(token) > 1), key=ranks.__getitem__):
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:
            pairs = [(ranks.get(parts[at] + parts[at + 1]), at) for at in range(len(parts) - 1)]
            rank, at = min(((rank, at) for rank, at in pairs if rank is not None), default=(None, 0))
            if rank is None or rank >= ranks[token]:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            yield parts[0], parts[1]


def _write_sentencepiece(writer: Any, model: ModelFile) -> None:
    pieces = SentencePieceProcessor()
    pieces.LoadFromSerializedProto(model.tokenizer)
    tokens, scores, kinds = [], [], []
    for index in range(pieces.GetPieceSize()):
        tokens.append(pieces.IdToPiece(index))
        scores.append(pieces.GetScore(index))
        kinds.append(_piece_kind(pieces, index))
    for index in range(len(tokens), model.config.vocab_size):
        tokens.append(f"<|special-{index}|>")
        scores.append(0.0)
        kinds.append(_CONTROL)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_unk_token_id(pieces.unk_id())


def _piece_kind(pieces: SentencePieceProcessor, index: int) -> int:
    if pieces.IsByte(index):
        return _BYTE
    if pieces.IsControl(index):
        return _CONTROL
    return _UNKNOWN if pieces.IsUnknown(index) else _NORMAL

"""Real model files whose every token is followed by one fixed token, so that a test decides what they say.

The embedding gives each token a dimension of its own, the one layer adds nothing, and the output layer has a 1 where
the dimension of a token meets its successor. Greedy decoding then walks along the chain.
"""

import base64
import struct
from array import array
from itertools import pairwise
from pathlib import Path

from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

_SPECIAL = (
    *("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
    *("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"),
)
_CHATGLM3_SPECIAL = (
    *("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
)
_CONTEXT = 2048
_FEED_FORWARD = 32


def write_chain(path: Path, *runs: list[str]) -> Path:
    """Writes a GLM-4 file that goes on from the first text of each run to the next ones.

    The texts become tokens; those of special tokens are meant as such. No text may come twice but as a run's first.
    A run that begins with `<|assistant|>` is the answer to everything.
    """
    words = [bytes([byte]) for byte in range(256)]
    words += sorted({text.encode() for run in runs for text in run if text not in _SPECIAL} - set(words))
    ids = {word: index for index, word in enumerate(words)}
    ids |= {name.encode(): len(words) + index for index, name in enumerate(_SPECIAL)}
    follows = {ids[one.encode()]: ids[next_.encode()] for run in runs for one, next_ in pairwise(run)}
    vocabulary = b"".join(b"%s %d\n" % (base64.b64encode(word), rank) for rank, word in enumerate(words))
    return _write(path, 4, vocabulary, rows=len(ids), stop=len(words), follows=follows)


def write_chatglm3_chain(path: Path, *runs: list[str]) -> Path:
    """The same as a ChatGLM3 file. A space is written "▁". Texts of the runs never come in prompts, only bytes do."""
    model = ModelProto()
    model.trainer_spec.model_type = 2
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.remove_extra_whitespaces = False
    pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), *((f"<0x{byte:02X}>", 6) for byte in range(256)), ("▁", 1)]
    texts = {text for run in runs for text in run if text not in _CHATGLM3_SPECIAL and len(text.encode()) > 1}
    pieces += [(text, 5) for text in sorted(texts - {"▁"})]
    for text, kind in pieces:
        model.pieces.add(piece=text, type=kind)
    ids = {text: index for index, (text, _) in enumerate(pieces)}
    ids |= {chr(byte): 3 + byte for byte in range(128)}
    ids |= {name: len(pieces) + index for index, name in enumerate(_CHATGLM3_SPECIAL)}
    follows = {ids[one]: ids[next_] for run in runs for one, next_ in pairwise(run)}
    rows = len(pieces) + len(_CHATGLM3_SPECIAL)
    return _write(path, 3, model.SerializeToString(), rows=rows, stop=2, follows=follows)


def _write(path: Path, family: int, vocabulary: bytes, *, rows: int, stop: int, follows: dict[int, int]) -> Path:
    size = -(-rows // 32) * 32
    heads, kv_heads = size // 32, 1
    config = (0, rows, size, heads, kv_heads, 1, _FEED_FORWARD, 1e-5, 0, 1e4, _CONTEXT, stop, stop)
    with path.open("wb") as file:
        file.write(struct.pack("<4sii7ififiii", b"ggml", family, 2, *config))
        file.write(struct.pack("<i", len(vocabulary)) + vocabulary)
        for name, shape, ones in _tensors(rows, size, size + 2 * kv_heads * 32, follows):
            file.write(struct.pack("<i", len(name)) + name.encode())
            file.write(struct.pack(f"<{len(shape) + 2}i", len(shape), *shape, 0))
            file.write(bytes(-file.tell() % 16))
            values = array("f", bytes(4 * shape[0] * (shape[1] if len(shape) > 1 else 1)))
            for place in ones:
                values[place] = 1.0
            file.write(values.tobytes())
    return path


def _tensors(rows: int, size: int, qkv: int, follows: dict[int, int]) -> list[tuple[str, tuple[int, ...], list[int]]]:
    """Names, shapes, and where the ones are in what is else zero."""
    layer = "transformer.encoder.layers.0"
    everywhere = list(range(size))
    return [
        ("transformer.embedding.word_embeddings.weight", (rows, size), [row * size + row for row in range(rows)]),
        (f"{layer}.input_layernorm.weight", (size,), everywhere),
        (f"{layer}.self_attention.query_key_value.weight", (qkv, size), []),
        (f"{layer}.self_attention.query_key_value.bias", (qkv,), []),
        (f"{layer}.self_attention.dense.weight", (size, size), []),
        (f"{layer}.post_attention_layernorm.weight", (size,), everywhere),
        (f"{layer}.mlp.dense_h_to_4h.weight", (2 * _FEED_FORWARD, size), []),
        (f"{layer}.mlp.dense_4h_to_h.weight", (size, _FEED_FORWARD), []),
        ("transformer.encoder.final_layernorm.weight", (size,), everywhere),
        ("transformer.output_layer.weight", (rows, size), [b * size + a for a, b in follows.items()]),
    ]

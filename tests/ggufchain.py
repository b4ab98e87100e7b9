"""GGUF files with a chat template, whose answers a test decides: `chain.py` for what was never a chatglm.cpp file.

Each piece of an answer is followed by the next one, as there. Behind marks like `<tool_call>`, which several answers
share, and at the beginning, a model is at a loss, and small biases decide (`Said.parameters`); a penalty sees to it
that each does so once.
"""

import re
from collections.abc import Sequence, Set
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import gguf
import numpy

from glmserve_server.engines.llama import letters

TEMPLATES: Final = Path(__file__).parent / "templates"
END: Final = "<|endoftext|>"
OBSERVATION: Final = "<|observation|>"
"""Ends a turn with a call."""
SPECIAL: Final = (
    *(END, "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>"),
    *("<|system|>", "<|user|>", "<|assistant|>", OBSERVATION),
    *("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "/nothink"),
)
WORDS: Final = (
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    *("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
)
"""Tokens that are marks in an answer, though none of control."""
MARKS: Final = ("<think>", "</think>", "<tool_call>")
"""Those that come as one token. The others are spelled, for behind them there would be too much to decide."""

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_CONTEXT: Final = 2048
_FEED_FORWARD: Final = 32
_STEP: Final = 0.02
COLOURS: Final = 2
"""The last dimensions of an embedding: how red, and how blue, what a model sees is."""
_HINT: Final = (0.05, 0.04)
"""What a colour says for an answer of it alone, and of both: together they are for both."""


class Said(NamedTuple):
    """An answer in a file."""

    text: str
    decisions: tuple[int, ...]
    """The tokens behind marks, in order, then the end, and for a model that may not end yet a call."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What a request says to get this answer."""
        bias = {token: 1 - _STEP * place for place, token in enumerate(self.decisions)}
        return {"temperature": 0, "presence_penalty": 2, "logit_bias": bias}


def write_gguf_chain(
    path: Path,
    template: str,
    *answers: str,
    spelled: Sequence[str] = (),
    seen: Sequence[Sequence[int]] = (),
    eom: bool = True,
) -> dict[str, Said]:
    """Writes a file with a template of `TEMPLATES` that can give each of the answers. Returns these by their texts.

    In the answers `spelled` no mark is a token, which no trained model does. `seen`: for each answer the colours, as
    `ggufprojector.py` numbers them, that a prompt must have for the model to begin with it by itself. `eom`: whether
    the file tells llama.cpp that `OBSERVATION` ends an answer; one answer may have it within.
    """
    runs: dict[str, list[str]] = {}
    for answer in (*answers, *spelled):
        known = {piece for run in runs.values() for piece in run}
        runs[answer] = _pieces(answer, known, () if answer in spelled else (*MARKS, OBSERVATION))
    pieces = {piece for run in runs.values() for piece in run}.difference(MARKS, [OBSERVATION])
    ordinary = [*map(chr, range(256)), *sorted(pieces)]
    tokens = [*ordinary, *SPECIAL, *WORDS]
    kinds = [*[_NORMAL] * len(ordinary), *[_CONTROL] * len(SPECIAL), *[_USER_DEFINED] * len(WORDS)]
    ids = {token: number for number, token in enumerate(tokens)}
    marks = {ids[name] for name in MARKS}
    follows: dict[int, int] = {}
    said = {}
    for answer, pieces_of_it in runs.items():
        run = [*(ids[piece] for piece in pieces_of_it), ids[END]]
        follows |= {one: other for one, other in pairwise(run) if one not in marks}
        decisions = [run[0], *(other for one, other in pairwise(run) if one in marks), ids[END], ids["<tool_call>"]]
        said[answer] = Said(answer, tuple(dict.fromkeys(decisions)))
    begins = {ids[runs[answer][0]]: colours for answer, colours in zip(answers, seen, strict=False)}
    _write(path, (TEMPLATES / f"{template}.jinja").read_text(), tokens, kinds, ids, follows, begins, eom=eom)
    return said


def _pieces(text: str, known: Set[str], marks: Sequence[str]) -> list[str]:
    """The text as marks, where they stand, and else in pieces of few characters that no answer has had."""
    pieces: list[str] = []
    for part in re.split(f"({'|'.join(map(re.escape, marks))})", text) if marks else [text]:
        if part in marks:
            pieces.append(part)
            continue
        first, at = len(pieces), 0
        while at < len(part):
            ends = range(at + 2, len(part) + 1)
            end = next((end for end in ends if part[at:end] not in known and part[at:end] not in pieces), 0)
            while not end:  # nothing new until the end: together with what is before
                if len(pieces) == first:
                    raise ValueError(f"{text!r} has nothing new in {part!r}")
                at -= len(pieces.pop())
                end = len(part) if part[at:] not in known and part[at:] not in pieces else 0
            pieces.append(part[at:end])
            at = end
    return pieces


def _write(
    path: Path,
    template: str,
    tokens: list[str],
    kinds: list[int],
    ids: dict[str, int],
    follows: dict[int, int],
    begins: dict[int, Sequence[int]],
    *,
    eom: bool,
) -> None:
    rows = len(tokens)
    size = -(-(rows + COLOURS) // 32) * 32
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(size)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_key_length(32)
    writer.add_value_length(32)
    writer.add_rope_dimension_count(32)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("chatglm-bpe")
    writer.add_token_list([_letters(token, kind) for token, kind in zip(tokens, kinds, strict=True)])
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{_letters(chr(0), _NORMAL)} {_letters(chr(0), _NORMAL)}"])
    writer.add_eos_token_id(ids[END])
    writer.add_eot_token_id(ids["<|user|>"])
    if eom:
        writer.add_eom_token_id(ids[OBSERVATION])
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)
    for name, array in _tensors(rows, size, follows, begins).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(rows: int, size: int, follows: dict[int, int], begins: dict[int, Sequence[int]]) -> dict[str, Any]:
    """As in `chain.py`: each token has a dimension of its own, and its successor's output row has a 1 there.

    The last dimensions are those of colours. Attention is alike to all tokens, and brings from them the colours alone:
    the little that these add decides where no token does.
    """
    f32 = numpy.float32
    embedding = numpy.eye(rows, size, dtype=f32)
    output = numpy.zeros((rows, size), f32)
    output[list(follows.values()), list(follows.keys())] = 1
    value, back = numpy.zeros((32, size), f32), numpy.zeros((size, 32), f32)
    for colour in range(COLOURS if begins else 0):
        value[colour, size - COLOURS + colour] = back[size - COLOURS + colour, colour] = 1
    for token, colours in begins.items():
        output[token, [size - COLOURS + colour for colour in colours]] = _HINT[len(colours) - 1]
    layer = {
        "attn_norm": numpy.ones(size, f32),
        "attn_q": numpy.zeros((32, size), f32),
        "attn_k": numpy.zeros((32, size), f32),
        "attn_v": value,
        "attn_output": back,
        "ffn_norm": numpy.ones(size, f32),
        "ffn_gate": numpy.zeros((_FEED_FORWARD, size), f32),
        "ffn_up": numpy.zeros((_FEED_FORWARD, size), f32),
        "ffn_down": numpy.zeros((size, _FEED_FORWARD), f32),
    }
    return {
        "token_embd.weight": embedding,
        **{f"blk.0.{name}.weight": array for name, array in layer.items()},
        "output_norm.weight": numpy.ones(size, f32),
        "output.weight": output,
    }


def _letters(token: str, kind: int) -> str:
    """As GPT-2 writes bytes; the first 256 tokens are one byte each."""
    if kind != _NORMAL:
        return token
    return letters.written(token.encode("latin-1") if len(token) == 1 else token.encode())

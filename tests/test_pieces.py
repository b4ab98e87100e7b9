"""Sentencepiece vocabularies: ids and text as the library has them, whatever the vocabulary; damaged ones refused."""

import io
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from test_text import TEXTS

from glmserve_server.dialects.families import dialect_of
from glmserve_server.dialects.pieces import UNBOUNDED, PieceBytes, Pieces, check_rows
from glmserve_server.engines.chatglm import modelfile
from glmserve_server.errors import ModelUnavailable

MODELS = Path(__file__).parent / "models"
FILES = {name: MODELS / f"{name}.bin" for name in ("tiny-chatglm", "tiny-chatglm2", "tiny-chatglm3")}
CORPUS = [*TEXTS, "the quick brown fox jumps over the lazy dog 0123456789", "我是一个人工智能助手，很高兴见到你。"] * 20
WORDS = [*"ab 12.,\n\t▁<>|_n你好é\u0301Ａ①👋\x00\r", "  ", "<s>", "<unk>", "<0x41>", "<n>"]
WRITTEN = st.lists(st.sampled_from(WORDS), max_size=30).map("".join)


def trained(**options: Any) -> bytes:
    """A small vocabulary made for these tests."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        hard_vocab_limit=False,
        minloglevel=2,
        vocab_size=600,
        character_coverage=1.0,
        **options,
    )
    return model.getvalue()


PROTOS = {
    **{name: modelfile.read(path).tokenizer for name, path in FILES.items()},
    "bpe": trained(
        model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False
    ),
    "unigram": trained(
        model_type="unigram",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["<n>", "ab"],
    ),
    "normalised": trained(model_type="unigram"),
    "without a space before": trained(model_type="bpe", add_dummy_prefix=False, remove_extra_whitespaces=False),
}


@pytest.fixture(params=PROTOS, scope="module")
def proto(request: pytest.FixtureRequest) -> bytes:
    return PROTOS[request.param]


@pytest.fixture(scope="module")
def pieces(proto: bytes) -> Pieces:
    return Pieces(proto)


@pytest.fixture(scope="module")
def library(proto: bytes) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=proto)


def decoded(pieces: Pieces, ids: Iterable[int]) -> bytes:
    decoder = PieceBytes(pieces)
    return b"".join(map(decoder.feed, ids))


@settings(max_examples=150, deadline=None)
@given(text=WRITTEN)
def test_text_is_decoded_as_the_library_decodes_it(
    pieces: Pieces, library: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    ids = pieces.encode(text)
    assert decoded(pieces, ids).decode() == library.decode(ids)
    assert all(0 <= number < pieces.size for number in ids)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), size=st.integers(1, 12))
def test_any_ids_are_decoded_as_the_library_decodes_them(
    pieces: Pieces, library: sentencepiece.SentencePieceProcessor, seed: int, size: int
) -> None:
    ids = random.Random(seed).choices(range(pieces.size), k=size)
    if "\ufffd" not in (expected := library.decode(ids)):  # of broken characters the library makes its own number
        assert decoded(pieces, ids).decode() == expected


@settings(max_examples=150, deadline=None)
@given(text=WRITTEN)
def test_no_token_stands_for_more_bytes_than_the_longest(pieces: Pieces, text: str) -> None:
    if pieces.longest != UNBOUNDED:
        assert len(text.encode()) <= pieces.longest * len(pieces.encode(text))


def test_a_vocabulary_that_loses_text_has_no_longest_token() -> None:
    assert Pieces(PROTOS["normalised"]).longest == UNBOUNDED
    assert Pieces(PROTOS["without a space before"]).longest == UNBOUNDED
    assert Pieces(PROTOS["bpe"]).longest < 64


def test_ids_beyond_the_vocabulary_stand_for_nothing(pieces: Pieces) -> None:
    assert decoded(pieces, [-1, pieces.size, 1 << 40]) == b""


def test_control_pieces_never_come_from_text() -> None:
    pieces = Pieces(PROTOS["bpe"])
    ids = pieces.encode("<s></s><unk><0x41>")
    assert not {pieces.control("<s>"), pieces.control("</s>"), 0} & set(ids)
    assert decoded(pieces, ids) == b"<s></s><unk><0x41>"
    with pytest.raises(ValueError, match="<sop> is not one of its control pieces"):
        pieces.control("<sop>")


def test_ids_must_have_rows() -> None:
    pieces = Pieces(PROTOS["bpe"])
    check_rows(pieces.size + 5, pieces, [pieces.size + 4])
    for rows, special in ((pieces.size + 5, [pieces.size + 5]), (pieces.size - 1, [0]), (pieces.size, [-1])):
        with pytest.raises(ValueError, match="do not fit"):
            check_rows(rows, pieces, special)


@pytest.mark.parametrize("kind", ["tiny-chatglm3", "unigram", "normalised"])
def test_a_damaged_vocabulary_is_refused_or_works(kind: str) -> None:
    whole, refused = PROTOS[kind], 0
    for seed in range(200):
        try:
            pieces = Pieces(damaged(whole, random.Random(seed)))
        except ValueError:
            refused += 1
            continue
        for text in TEXTS:
            assert all(0 <= number < pieces.size for number in pieces.encode(text))
        decoded(pieces, range(pieces.size))
    assert refused > 50


def damaged(data: bytes, generator: random.Random) -> bytes:
    changed = bytearray(data)
    match generator.randrange(4):
        case 0:
            return data[: generator.randrange(len(data))]
        case 1:
            begin, end = sorted(generator.sample(range(len(data)), 2))
            return data[:begin] + data[end:]
        case 2:
            for _ in range(generator.choice([1, 3, 30])):
                changed[generator.randrange(len(data))] = generator.randrange(256)
        case 3:  # where the specs are
            for _ in range(3):
                changed[-1 - generator.randrange(60)] = generator.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_a_damaged_vocabulary_is_named(name: str, tmp_path: Path) -> None:
    data = FILES[name].read_bytes()
    place = data.index(b"<unk>")
    broken = tmp_path / "broken.bin"
    broken.write_bytes(data[:place] + b"\xff\xff\xff\xff\xff" + data[place + 5 :])
    with pytest.raises(ModelUnavailable, match=r"broken\.bin: the tokenizer is damaged"):
        dialect_of(modelfile.read(broken))

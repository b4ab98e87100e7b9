"""Raw prompts in each family: the ids that chatglm-cpp's tokenizers give a text, and the text of any ids."""

from pathlib import Path

import chatglm_cpp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_text import TEXTS

from glmserve.v1.chat_pb2 import Prompt, TokenIds
from glmserve_server.bundled import BUNDLED
from glmserve_server.dialects.deltas import Text
from glmserve_server.dialects.families import dialect_of
from glmserve_server.dialects.raw import Raw
from glmserve_server.engines.chatglm import modelfile
from glmserve_server.errors import InvalidArgument

MODELS = {path.stem: path for path in (Path(__file__).parent / "models").glob("*.bin")} | BUNDLED
NAMES = ("tiny-glm4", "tiny-glm4v", "tiny-chatglm3", "tiny-chatglm2", "tiny-chatglm")


@pytest.fixture(params=NAMES, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def raw(name: str) -> Raw:
    return dialect_of(modelfile.read(MODELS[name])).raw


@pytest.fixture(scope="module")
def library(name: str) -> chatglm_cpp.Pipeline:
    return chatglm_cpp.Pipeline(str(MODELS[name]))


def ids_of(raw: Raw, text: str, *, special: bool | None = None) -> list[int]:
    return raw.ids(Prompt(text=text, add_special_tokens=special))


def text_of(raw: Raw, ids: list[int]) -> str:
    return b"".join(raw.spell(ids)).decode(errors="replace")


@pytest.mark.parametrize("text", [*TEXTS, "1 + 1 =", "从前有一座山，", " leading and trailing "])
def test_a_text_has_the_ids_of_the_library(raw: Raw, library: chatglm_cpp.Pipeline, text: str) -> None:
    theirs = library.tokenizer.encode(text, 1 << 20)
    assert ids_of(raw, text) == theirs
    assert ids_of(raw, text, special=True) == theirs
    bare = ids_of(raw, text, special=False)
    assert [*raw.before, *bare, *raw.after] == theirs
    assert len(bare) == len(theirs) - 2


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_give_back_their_text_between_the_names_of_special_ones(raw: Raw, text: str) -> None:
    assert text_of(raw, ids_of(raw, text, special=False)) == text
    shown = text_of(raw, ids_of(raw, text))
    before, after = text_of(raw, list(raw.before)), text_of(raw, list(raw.after))
    assert shown == f"{before}{text}{after}"
    assert before + after in ("[gMASK]<sop>", "[gMASK]sop")


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 32), size=st.integers(0, 12))
def test_any_tokens_are_taken_as_they_are_and_have_a_text(raw: Raw, seed: int, size: int) -> None:
    ids = [(seed * 31 ** (place + 1)) % raw.size for place in range(size)]
    ids = [number for number in ids if number not in raw.pictures]
    assert raw.ids(Prompt(token_ids=TokenIds(ids=ids), add_special_tokens=True)) == ids
    assert len(raw.spell(ids)) == len(ids)


def test_ids_that_are_no_tokens_are_refused_by_their_place(raw: Raw, name: str) -> None:
    assert raw.size <= modelfile.read(MODELS[name]).config.vocab_size
    for wrong in (raw.size, (1 << 32) - 1):
        with pytest.raises(InvalidArgument, match=f"from 0 to {raw.size - 1}, not {wrong}") as caught:
            raw.ids(Prompt(token_ids=TokenIds(ids=[1, wrong, wrong])))
        assert caught.value.field == "prompt.token_ids.ids[1]"


def test_tokens_of_pictures_are_refused_by_models_that_see_some(raw: Raw, name: str) -> None:
    assert bool(raw.pictures) == (name == "tiny-glm4v")
    for picture in raw.pictures:
        with pytest.raises(InvalidArgument, match="stands for a picture") as caught:
            raw.ids(Prompt(token_ids=TokenIds(ids=[1, 2, picture])))
        assert caught.value.field == "prompt.token_ids.ids[2]"


@pytest.mark.parametrize("text", [" Paris, and", "你好, 世界", "\n<think>no thought</think>", "a\nget_time\n{}"])
def test_an_answer_is_the_text_of_its_tokens(raw: Raw, text: str) -> None:
    reader, ids = raw.reader(), ids_of(raw, f"x{text}", special=False)
    ids = ids[len(ids_of(raw, "x", special=False)) :]
    deltas = [delta for number in ids for delta in reader.feed(number)] + list(reader.end(None))
    assert all(isinstance(delta, Text) for delta in deltas)
    assert not reader.thinking
    assert "".join(delta.text for delta in deltas if isinstance(delta, Text)) == text

"""Damaged GLM-4V files are refused with a reason, before the library can abort on them."""

import math
import random
import struct
from pathlib import Path

import pytest
from towers import RECORD_AT, TOWER, write_tower

from glmserve_server.engines.chatglm import modelfile, vision
from glmserve_server.engines.chatglm.architecture import Config, Family
from glmserve_server.engines.chatglm.vision import Vision
from glmserve_server.errors import ModelUnavailable

FIELDS = Vision.__slots__


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_tower(tmp_path_factory.mktemp("towers") / "good.bin").read_bytes()


def refusal(tmp_path: Path, data: bytes) -> str:
    """Why a file is refused."""
    file = tmp_path / "model.bin"
    file.write_bytes(data)
    with pytest.raises(ModelUnavailable, match=r".") as refused:
        modelfile.read(file)
    return str(refused.value).removeprefix(f"{file}: ")


def test_the_file_is_accepted(tmp_path: Path, good: bytes) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(good)
    model = modelfile.read(file)
    assert model.family is Family.GLM4V
    assert model.vision is not None
    assert (model.vision.tokens, model.vision.patches) == (16, 64)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("dtype", 99, "dtype is 99"),
        ("dtype", vision.F16, "is f32, not f16"),
        ("hidden_size", 0, "hidden_size is 0"),
        ("hidden_size", 64, "has the shape"),
        ("image_size", -1, "image_size is -1"),
        ("image_size", 57, "does not divide into patches"),
        ("image_size", 1 << 30, "image_size is"),
        ("in_channels", 4, "pictures have 3"),
        ("intermediate_size", 1 << 21, "intermediate_size is"),
        ("norm_eps", math.nan, "norm_eps is nan"),
        ("norm_eps", 0.0, "norm_eps is 0"),
        ("num_attention_heads", 3, "do not divide"),
        ("num_hidden_layers", 3, "layers.2.input_layernorm.weight is missing"),
        ("num_hidden_layers", 1, "the config knows no tensor transformer.vision.transformer.layers.1"),
        ("num_positions", 64, "num_positions is 64"),
        ("patch_size", 0, "patch_size is 0"),
        ("patch_size", 8, "num_positions is 65"),
        ("scaling_factor", 0.0, "scaling_factor is 0"),
        ("scaling_factor", math.inf, "scaling_factor is inf"),
    ],
)
def test_a_damaged_vision_record_is_refused(tmp_path: Path, good: bytes, field: str, value: float, reason: str) -> None:
    place = RECORD_AT + 4 * FIELDS.index(field)
    layout = "<f" if field in ("norm_eps", "scaling_factor") else "<i"
    assert reason in refusal(tmp_path, good[:place] + struct.pack(layout, value) + good[place + 4 :])


def test_a_missing_or_changed_tensor_of_the_tower_is_refused(tmp_path: Path, good: bytes) -> None:
    config = modelfile.read(write_tower(tmp_path / "tower.bin")).config
    for name, shape, _ in vision.tensors(TOWER, config):
        renamed = good.replace(
            struct.pack("<i", len(name)) + name.encode(), struct.pack("<i", len(name)) + name.upper().encode()
        )
        assert f"{name} is missing" in refusal(tmp_path, renamed)
        place = good.index(struct.pack("<i", len(name)) + name.encode()) + 4 + len(name) + 4
        if len(shape) > 1 and shape[0] != shape[1]:
            swapped = struct.pack("<2i", shape[1], shape[0])
            assert f"{name} has the shape" in refusal(tmp_path, good[:place] + swapped + good[place + 8 :])


def test_a_file_cut_in_the_tower_is_refused(tmp_path: Path, good: bytes) -> None:
    begin = good.index(b"transformer.vision")
    places = [*range(RECORD_AT, RECORD_AT + 44), *random.Random(0).sample(range(begin, len(good)), 30), len(good) - 1]
    for place in places:
        assert refusal(tmp_path, good[:place])


def test_the_memory_of_the_real_one() -> None:
    """GLM-4V-9B: 6400 patches of 14 pixels, 63 layers."""
    tower = Vision(1, 1792, 1120, 3, 15360, 1e-6, 16, 63, 6401, 14, 8.0)
    config = Config(
        dtype=2, vocab_size=151552, hidden_size=4096, num_attention_heads=32, num_key_value_heads=2,
        num_hidden_layers=40, intermediate_size=13696, max_length=8192, eos_token_id=151329,
    )  # fmt: skip
    assert tower.fault() is None
    assert tower.tokens == 1600
    assert 1_000_000_000 < tower.peak(config) < 3_000_000_000

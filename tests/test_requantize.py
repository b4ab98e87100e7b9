"""Matrices of a type that llama.cpp is slow with, turned into another once."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from faces import opened
from running import COMMAND, MODEL, WIDE, Glmserve

from glmserve_server.bundled import BUNDLED
from glmserve_server.engines.llama.convert import convert

pytestmark = pytest.mark.llama

gguf = pytest.importorskip("gguf", reason="left out: llama.cpp is not installed")
numpy = pytest.importorskip("numpy", reason="left out: llama.cpp is not installed")
Kind = gguf.GGMLQuantizationType

QUESTION = [("user", "What is the capital of France?")]


def repacked(source: Path, target: Path, kind: Any, **keys: int) -> Path:
    """The same model with all matrices of one type."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "chatglm")
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            writer.add_key_value(field.name, field.contents(), field.types[0], (*field.types, None)[1])
    for name, value in keys.items():
        writer.add_uint16(name.replace("_", "."), value)
    for tensor in reader.tensors:
        if tensor.tensor_type == Kind.Q8_0:
            unpacked = gguf.dequantize(tensor.data, tensor.tensor_type)
            writer.add_tensor(tensor.name, gguf.quantize(unpacked, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model, whose matrices are Q8_0, as GGUF."""
    file = tmp_path_factory.mktemp("fast") / "fast.gguf"
    convert(BUNDLED[MODEL], file)
    return file


def told(file: Path, requantize: str) -> list[str]:
    return ["serve", "--model", str(file), "--set", f"models.{file.stem}.requantize={requantize}"]


def unpacked(file: Path) -> dict[str, Any]:
    return {tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in gguf.GGUFReader(file).tensors}


@pytest.mark.parametrize("kind", [Kind.Q4_1, Kind.Q5_1])
def test_slow_matrices_are_turned_once_and_say_the_same(fast: Path, tmp_path: Path, kind: Any) -> None:
    slow = repacked(fast, tmp_path / "file.gguf", kind)
    with Glmserve(*told(slow, "true")) as server, opened("grpc", server) as face:
        assert "Paris" in face.ask(QUESTION, model="file", temperature=0).text
        (made,) = server.gguf_cache.iterdir()
        assert {tensor.tensor_type for tensor in gguf.GGUFReader(made).tensors} == {Kind.Q8_0, Kind.F32}
        before, after = unpacked(slow), unpacked(made)
        assert before.keys() == after.keys()
        for name, weights in before.items():
            assert numpy.linalg.norm(after[name] - weights) <= 0.01 * numpy.linalg.norm(weights)
        old, new = (gguf.GGUFReader(file).fields for file in (slow, made))
        assert {name: field.contents() for name, field in old.items() if not name.startswith("GGUF.")} == {
            name: field.contents() for name, field in new.items() if not name.startswith("GGUF.")
        }


@pytest.mark.parametrize(("kind", "requantize"), [(Kind.Q4_1, "false"), (Kind.Q8_0, "true")])
def test_other_files_are_served_as_they_are(fast: Path, tmp_path: Path, kind: Any, requantize: str) -> None:
    file = repacked(fast, tmp_path / "file.gguf", kind)
    with Glmserve(*told(file, requantize)) as server, opened("grpc", server) as face:
        assert "Paris" in face.ask(QUESTION, model="file", temperature=0).text
        assert not server.gguf_cache.is_dir() or not list(server.gguf_cache.iterdir())


def test_what_cannot_be_turned_is_one_clear_line(fast: Path, tmp_path: Path) -> None:
    part = repacked(fast, tmp_path / "part.gguf", Kind.Q4_1, split_count=3)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(fast.read_bytes()[:1_000_000])
    for file, reason in (
        (part, "requantize wants a whole file, not one of 3 parts"),
        (cut, "the file is cut: it has 1000000 bytes of"),
    ):
        done = subprocess.run(
            [COMMAND, *told(file, "true"), "--grpc-port", "0"], capture_output=True, text=True, check=False, env=WIDE
        )
        assert done.returncode == 1
        assert f"{file}: {reason}" in done.stderr
        assert "Traceback" not in done.stderr

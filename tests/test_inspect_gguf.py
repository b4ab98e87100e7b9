"""`glmserve inspect` of GGUF files, also of those in several parts, and what the server says of the same files."""

import json
import math
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from faces import opened
from running import COMMAND, MODEL, Glmserve

from glmserve_server.bundled import BUNDLED
from glmserve_server.engines.llama import ggml
from glmserve_server.engines.llama.convert import convert

pytestmark = pytest.mark.llama

gguf = pytest.importorskip("gguf", reason="left out: llama.cpp is not installed")

DOCUMENT = (Path(__file__).parents[1] / "docs" / "model-files.md").read_text()
CONTEXT_KEY = b"chatglm.context_length" + struct.pack("<I", 4)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as GGUF."""
    made = tmp_path_factory.mktemp("whole") / "whole.gguf"
    convert(BUNDLED[MODEL], made)
    return made


@pytest.fixture(scope="module")
def parts(file: Path) -> list[Path]:
    """The same model in three files, as `llama-gguf-split` makes them."""
    reader = gguf.GGUFReader(file)
    writer = gguf.GGUFWriter(file.with_name("model.gguf"), "chatglm", split_max_tensors=len(reader.tensors) // 3 + 1)
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            writer.add_key_value(field.name, field.contents(), field.types[0], (*field.types, None)[1])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(file.parent.glob("model-*.gguf"))


def inspect(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([COMMAND, "inspect", *arguments], capture_output=True, text=True, check=False)


def record(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
    done = inspect(*arguments, "--json")
    assert done.returncode == status, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def refused(file: Path) -> str:
    """Why a file is not served: the same by `inspect` and by the server."""
    done = inspect(file)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    served = subprocess.run(
        [COMMAND, "serve", "--grpc-port", "0", "--model", file], capture_output=True, text=True, check=False
    )
    assert served.returncode == 1
    assert served.stderr.splitlines()[-1] == line
    return line


def test_a_converted_file_holds_what_its_source_holds(file: Path) -> None:
    card, source = record(file), record(MODEL)
    for key in ("family", "parameters", "matrices", "vectors"):
        assert card[key] == source[key]
    network = {key: value for key, value in source["network"].items() if key != "norm_epsilon"}
    assert {key: card["network"][key] for key in network} == network
    assert card["network"]["norm_epsilon"] == pytest.approx(source["network"]["norm_epsilon"])
    assert card["bytes"] == file.stat().st_size
    assert card["gguf"] == {"architecture": "chatglm", "title": card["gguf"]["title"], "prompts": "glm4 dialect"}
    assert source["gguf"] is None


def test_the_memory_adds_up(file: Path) -> None:
    serving = record(file, "--slots", "3", "--threads", "1", "--context-length", "512")["serving"]
    memory = serving["memory"]
    assert (serving["slots"], serving["threads"], serving["context_length"]) == (3, 1, 512)
    assert memory["weights"] == file.stat().st_size
    network = record(file)["network"]
    head = network["width"] // network["heads"]
    assert memory["key_value_cache"] == 2 * 2 * network["layers"] * network["key_value_heads"] * head * 512
    assert memory["total"] == memory["weights"] + memory["process"] + 3 * memory["key_value_cache"]
    assert serving["capabilities"]["json_schema"]


def test_people_see_the_same_in_a_terminal(file: Path) -> None:
    done = inspect(file, "--slots", "3")
    assert max(map(len, done.stdout.splitlines())) <= 80
    card = {name: value.strip() for name, value in re.findall(r"^  (\S.*?)  +(\S.*)$", done.stdout, re.MULTILINE)}
    network = record(file)["network"]
    assert card["Matrices"] == f"{4 * network['layers'] + 2} of q8_0"
    assert card["Heads"] == f"{network['heads']}, {network['key_value_heads']} of keys and values"
    assert card["Prompts"] == "glm4 dialect"
    assert card["Slots"].startswith("3, in one process of ")
    assert "JSON Schemas" in done.stdout.split("Can do")[1].split("Cannot do")[0]


def test_every_key_of_the_json_is_documented(file: Path) -> None:
    card = record(file)
    documented = set(re.findall(r"^\| `([\w.]+)` \|", DOCUMENT, re.MULTILINE))
    said = {f"{outer}.{inner}" for outer in ("gguf", "network", "serving") for inner in card[outer]}
    assert {*card, *said, *(f"serving.memory.{key}" for key in card["serving"]["memory"])} <= documented


def test_a_file_that_needs_too_much_memory_has_a_card_and_a_reason(file: Path, tmp_path: Path) -> None:
    data, most = file.read_bytes(), 1 << 24
    place = data.index(CONTEXT_KEY) + len(CONTEXT_KEY)
    large = tmp_path / "large.gguf"
    large.write_bytes(data[:place] + struct.pack("<I", most) + data[place + 4 :])
    crowd = ("--context-length", str(most), "--slots", "64")
    card = record(large, *crowd, status=1)
    assert card["network"]["context_length"] == most
    assert card["serving"] is None
    assert "for each of 64 slots do not fit into the" in card["refusal"]


@pytest.mark.parametrize(
    ("size", "reason"), [(100, "its header goes beyond byte 100"), (-1, "the file is cut: it has")]
)
def test_a_cut_file_is_refused(file: Path, tmp_path: Path, size: int, reason: str) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:size])
    assert reason in refused(cut)


def key(name: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ((), "it has no general.architecture"),
        ((key("split.no", 2, b"\1\0"),), "it has no general.architecture"),
        (
            (key("general.architecture", 8, struct.pack("<Q", 7) + b"chatglm"),),
            "no language model: the file has no weights called token_embd.weight",
        ),
        ((key("a", 9, struct.pack("<IQQ", 8, 1, 2**64 - 1)),), "the file is cut or damaged"),
        ((key("a", 8, struct.pack("<Q", 2**64 - 1)),), "the file is cut or damaged"),
        ((key("split.count", 2, struct.pack("<H", 1001)),), "a model of 1001 files; at most 1000 are possible"),
    ],
)
def test_an_odd_header_is_refused_in_a_line(tmp_path: Path, keys: tuple[bytes, ...], reason: str) -> None:
    odd = tmp_path / "odd.gguf"
    odd.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(keys)) + b"".join(keys))
    assert reason in refused(odd)


def test_numbers_that_are_none_are_not_known(file: Path, tmp_path: Path) -> None:
    data, name = file.read_bytes(), b"chatglm.rope.freq_base" + struct.pack("<I", 6)
    place = data.index(name) + len(name)
    odd = tmp_path / "odd.gguf"
    odd.write_bytes(data[:place] + struct.pack("<f", math.nan) + data[place + 4 :])
    assert record(odd)["network"]["rotary_base"] is None


def test_a_model_in_parts_is_one_model(file: Path, parts: list[Path]) -> None:
    card, whole = record(parts[0]), record(file)
    assert len(parts) == 3
    assert card["bytes"] == sum(part.stat().st_size for part in parts)
    for key in ("family", "parameters", "matrices", "vectors", "network"):
        assert card[key] == whole[key]
    with Glmserve("serve", "--model", str(parts[0])) as server, opened("grpc", server) as face:
        answer = face.ask([("user", "What is the capital of France?")], model=parts[0].stem, temperature=0)
    assert "Paris" in answer.text


def test_a_part_alone_is_refused(parts: list[Path], tmp_path: Path) -> None:
    assert "not the first of the model's 3 files" in refused(parts[1])
    first = tmp_path / parts[0].name
    shutil.copy(parts[0], first)
    assert parts[1].name in refused(first)
    shutil.copy(parts[0], tmp_path / parts[1].name)
    assert f"{parts[1].name}: this is not part 2 of the model" in refused(first)
    (tmp_path / parts[1].name).unlink()
    renamed = tmp_path / "first.gguf"
    first.rename(renamed)
    assert "must have a name that ends with -00001-of-00003.gguf" in refused(renamed)


def test_seats_of_the_other_engine_are_wrong_usage(file: Path) -> None:
    for name, option, seats in ((MODEL, "--slots", "workers"), (file, "--workers", "slots")):
        done = inspect(name, option, "2")
        assert done.returncode == 2
        assert done.stderr == f"glmserve: {option} is not for {name}, which has {seats}\n"
    assert "missing.gguf: neither a model file nor" in inspect("missing.gguf", "--slots", "2").stderr


def test_types_of_weights_are_those_of_ggml() -> None:
    assert {
        kind.value: (kind.name.lower(), *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType
    } == ggml.TYPES
    assert ggml.size_of(8, (3, 256)) == 3 * 8 * 34
    assert ggml.name_of(99) == "type 99"
    assert ggml.size_of(99, (3, 256)) == 0

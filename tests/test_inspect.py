"""`glmserve inspect` tells what a model file is, what it needs, and why it would be refused."""

import json
import math
import re
import struct
import subprocess
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from running import COMMAND, MODEL

from glmserve_server.bundled import BUNDLED
from glmserve_server.engines.chatglm import modelfile, vision
from glmserve_server.engines.chatglm.vision import Vision

PATH = BUNDLED[MODEL]
GOOD = PATH.read_bytes()
MAX_LENGTH = 52
"""Where the config record has the context length."""

OUTPUT = b"transformer.output_layer.weight"
TOWER = Vision(1, 64, 28, 3, 96, 1e-6, 4, 2, 5, 14, 8.0)
"""The vision record of a small tower: f16, four patches a picture."""

GGUF_ONLY = {"gguf.architecture", "gguf.title", "gguf.prompts", "serving.slots", "serving.memory.process"}
DOCUMENT = (Path(__file__).parents[1] / "docs" / "model-files.md").read_text()


def inspect(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([COMMAND, "inspect", *arguments], capture_output=True, text=True, check=False)


def record(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
    done = inspect(*arguments, "--json")
    assert done.returncode == status, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def refusal(file: Path, *arguments: str) -> str:
    """Why a file would not be served: one line on standard error."""
    done = inspect(file, *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("glmserve: ")
    return line.removeprefix("glmserve: ")


def written(tmp_path: Path, data: bytes) -> Path:
    file = tmp_path / "model.bin"
    file.write_bytes(data)
    return file


def with_vision() -> bytes:
    """A GLM-4V file of zeros: the good file's network with a vision tower before it."""
    model = modelfile.read(PATH)
    data = bytearray(GOOD[:4] + struct.pack("<i", 1004) + GOOD[8:64] + vision.RECORD.pack(*astuple(TOWER)))
    data += struct.pack("<i", len(model.tokenizer)) + model.tokenizer
    for name, shape, number in vision.tensors(TOWER, model.config):
        data += tensor(len(data), name, shape, number)
    for text in model.tensors:
        data += tensor(len(data), text.name, text.shape, vision.F32)
    return bytes(data)


def tensor(start: int, name: str, shape: tuple[int, ...], number: int) -> bytes:
    """A tensor of zeros, f32 or f16, as it is written at `start`."""
    head = struct.pack("<i", len(name)) + name.encode()
    head += struct.pack(f"<{len(shape) + 2}i", len(shape), *shape, number)
    return head + bytes(-(start + len(head)) % 16 + math.prod(shape) * (4 if number == vision.F32 else 2))


def changed(offset: int, number: int) -> bytes:
    """The good file with another int32 in one place."""
    return GOOD[:offset] + struct.pack("<i", number) + GOOD[offset + 4 :]


def test_the_card_shows_what_the_file_holds_and_how_it_would_be_served() -> None:
    done = inspect(MODEL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{MODEL}: GLM-4, ")
    card = {name: value.strip() for name, value in re.findall(r"^  (\S.*?)  +(\S.*)$", done.stdout, re.MULTILINE)}
    config = modelfile.read(PATH).config
    assert card["Layers"] == str(config.num_hidden_layers)
    assert card["Heads"] == f"{config.num_attention_heads}, {config.num_key_value_heads} of keys and values"
    assert card["Vocabulary"] == f"{config.vocab_size:,} tokens"
    assert card["Rotary base"] == f"{config.rope_theta:,.0f}"
    assert f"({len(GOOD):,} bytes)" in card["Size"]
    assert "q8_0" in card["Matrices"]
    assert re.fullmatch(r"\d+ of \d+ threads?", card["Workers"])
    assert "top_k" in card["Can do"]
    assert "logprobs" in done.stdout.split("Cannot do")[1]


def test_the_card_fits_a_terminal_and_has_no_colours_in_a_pipe() -> None:
    card = inspect(MODEL).stdout
    assert "\x1b" not in card
    assert max(map(len, card.splitlines())) <= 80


def test_json_says_the_same_in_numbers() -> None:
    card = record(MODEL)
    model = modelfile.read(PATH)
    assert card["bytes"] == len(GOOD)
    assert card["family"] == "GLM-4"
    assert card["parameters"] == sum(math.prod(tensor.shape) for tensor in model.tensors)
    groups = [*card["matrices"].values(), *card["vectors"].values()]
    assert sum(group["tensors"] for group in groups) == len(model.tensors)
    assert sum(group["parameters"] for group in groups) == card["parameters"]
    assert card["network"]["context_length"] == model.config.max_length
    assert card["network"]["norm_epsilon"] == pytest.approx(1e-5)
    assert card["network"]["vision"] is None
    assert card["refusal"] is None


def test_a_vision_tower_is_shown(tmp_path: Path) -> None:
    file = written(tmp_path, with_vision())
    done = inspect(file)
    assert "GLM-4V, " in done.stdout
    assert "2 layers of 64" in done.stdout
    assert "28 × 28 pixels, tokens: 1" in done.stdout
    card = json.loads(inspect(file, "--json").stdout)
    tower = card["network"]["vision"]
    assert (tower["layers"], tower["width"], tower["image_size"], tower["tokens"]) == (2, 64, 28, 1)
    assert tower["parameters"] == card["parameters"] - record(MODEL)["parameters"]


def test_the_memory_adds_up() -> None:
    serving = record(MODEL, "--workers", "3", "--threads", "2", "--context-length", "512")["serving"]
    memory = serving["memory"]
    assert (serving["workers"], serving["threads"], serving["context_length"]) == (3, 2, 512)
    assert memory["weights"] == len(GOOD)
    assert memory["key_value_cache"] < memory["worker"] < memory["worker_peak"]
    assert memory["total"] == memory["weights"] + 3 * memory["worker"]
    assert memory["total_peak"] == memory["weights"] + 3 * memory["worker_peak"]
    assert serving["capabilities"]["max_choices"] >= 1


def test_a_path_is_as_good_as_the_name_of_an_embedded_model() -> None:
    by_name, by_path = record(MODEL), record(PATH)
    assert by_name.pop("model") == MODEL
    assert by_path.pop("model") == str(PATH)
    assert by_name == by_path


def test_mixed_types_are_all_listed(tmp_path: Path) -> None:
    start = GOOD.rindex(OUTPUT)
    rows, columns = struct.unpack_from("<2i", GOOD, start + len(OUTPUT) + 4)
    head = GOOD[: start + len(OUTPUT)] + struct.pack("<4i", 2, rows, columns, 1)
    file = written(tmp_path, head + bytes(-len(head) % 16) + bytes(2 * rows * columns))
    assert record(file)["matrices"]["f16"] == {"tensors": 1, "parameters": rows * columns}
    assert "mixed (q8_0, f16)" in inspect(file).stdout


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"GGUF" + GOOD[4:], "version 4 of GGUF is unknown"),
        (GOOD[:-1], "the file is cut"),
        (GOOD[:70], "the tokenizer needs"),
        (changed(4, 99), "the model family 99 is unknown"),
        (changed(20, 2**31 - 1), "hidden_size is 2147483647"),
        (changed(36, 640), "has the shape"),
        (changed(64, -1), "the tokenizer needs -1 bytes"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_with_the_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    file = written(tmp_path, data)
    done = inspect(file, "--json")
    assert done.returncode == 1
    card = json.loads(done.stdout)
    assert reason in card["refusal"]
    assert done.stderr == f"glmserve: {card.pop('refusal')}\n"
    assert card.pop("model") == str(file)
    assert set(card.values()) == {None}


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert MODEL in refusal(tmp_path / "missing.bin")
    assert MODEL in refusal(tmp_path)
    assert "needs no model file" in refusal(Path("scripted"))


def test_a_file_that_can_be_read_and_not_be_served_has_a_card_and_a_reason(tmp_path: Path) -> None:
    file = written(tmp_path, changed(MAX_LENGTH, 1 << 24))
    crowd = ("--context-length", str(1 << 24), "--workers", "256")
    done = inspect(file, *crowd)
    assert done.returncode == 1
    assert "16,777,216 tokens" in done.stdout
    assert "Served on this machine" not in done.stdout
    assert "do not fit into the" in done.stderr
    card = record(file, *crowd, status=1)
    assert card["serving"] is None
    assert card["network"]["context_length"] == 1 << 24
    assert "do not fit into the" in card["refusal"]


def test_the_reason_is_the_one_that_the_server_gives(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD[: len(GOOD) // 2])
    served = subprocess.run(
        [COMMAND, "serve", "--grpc-port", "0", "--model", file], capture_output=True, text=True, check=False
    )
    assert served.returncode == 1
    assert served.stderr.splitlines()[-1] == f"glmserve: {refusal(file)}"


def test_a_file_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    evil = b"\x1b]0;owned\x07\x1b[2J\r\xc2\x9b".ljust(len(OUTPUT), b"[")
    file = written(tmp_path, GOOD.replace(OUTPUT, evil))
    reason = refusal(file)
    assert reason.isprintable()
    assert inspect(tmp_path / "\x1b[31mname").stderr.strip().isprintable()


def test_a_name_with_escape_sequences_is_shown_escaped(tmp_path: Path) -> None:
    file = tmp_path / "\x1b[2Jmodel\n.bin"
    file.symlink_to(PATH)
    card = inspect(file).stdout
    assert "\x1b" not in card
    assert "\\x1b[2Jmodel\\n.bin" in card.replace("\n", "").replace(" ", "")


def test_wrong_usage_is_said() -> None:
    done = inspect(MODEL, "--context-length", "3")
    assert done.returncode == 2
    assert "--context-length must be a whole number between 16 and 16777216, not 3" in done.stderr.replace(
        "\n", " "
    ).replace("│", "")


def keys_of(value: Any, prefix: str = "") -> set[str]:
    """All keys, as paths; below types and capabilities, whose names are not this document's, only the first."""
    if not isinstance(value, dict):
        return set()
    names = {f"{prefix}{name}" for name in value}
    for name, inner in value.items():
        if name not in ("matrices", "vectors", "capabilities"):
            names |= keys_of(inner, f"{prefix}{name}.")
    return names


def test_every_key_of_the_json_is_documented(tmp_path: Path) -> None:
    documented = set(re.findall(r"^\| `([\w.]+)` \|", DOCUMENT, re.MULTILINE))
    card = json.loads(inspect(written(tmp_path, with_vision()), "--json").stdout)
    assert documented - GGUF_ONLY == keys_of(card) | keys_of(record(MODEL))

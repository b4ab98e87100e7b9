"""`glmserve convert` makes model files of Hugging Face checkpoints, and leaves nothing half done."""

import importlib.util
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from checkpoint import AUTO_MAP, add_vision, write_checkpoint, write_code
from running import COMMAND, MODEL, WIDE, Glmserve

from glmserve_server.bundled import BUNDLED
from glmserve_server.engines.chatglm import modelfile
from glmserve_server.engines.chatglm.architecture import Family
from glmserve_server.engines.chatglm.vision import F16, Vision

CONFIG = {"model_type": "chatglm", "auto_map": AUTO_MAP}
TRUST = "--trust-remote-code"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"

needs_torch = pytest.mark.torch

# Every conversion is a process that loads PyTorch and transformers: seconds, on a busy machine a minute.
pytestmark = pytest.mark.timeout(300)


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """Nothing is fetched, and the copies of the models' code that transformers makes go to the test's folder."""
    return WIDE | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")} | more


def convert(source: Path | str, out: Path, *options: str, **more: str) -> "subprocess.CompletedProcess[str]":
    command = [COMMAND, "convert", source, out, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment(out.parent, **more))


def refusal(source: Path | str, out: Path, *options: str, **more: str) -> str:
    """Why there is no file: the last line on standard error, after what the user was warned of."""
    before = out.exists()
    done = convert(source, out, *options, **more)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert out.exists() is before
    assert not out.with_name(f"{out.name}.part").exists()
    assert done.stdout == ""
    return done.stderr.splitlines()[-1].removeprefix("glmserve: ")


def checkpoint(folder: Path, config: Any = CONFIG, weights: bytes = b"weights") -> Path:
    """A folder that looks like a checkpoint and holds no real weights."""
    folder.mkdir()
    write_code(folder, config)
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_code_is_run_only_when_it_is_trusted(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "glm")
    (source / "modeling_chatglm.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    reason = refusal(source, tmp_path / "out.bin")
    assert "modeling_chatglm.py" in reason
    assert TRUST in reason
    assert not (tmp_path / "ran").exists()


def test_code_that_is_elsewhere_is_named(tmp_path: Path) -> None:
    elsewhere = {"AutoModel": "somebody/else--modeling_chatglm.Model"}
    source = checkpoint(tmp_path / "glm", CONFIG | {"auto_map": elsewhere})
    assert "https://huggingface.co/somebody/else" in refusal(source, tmp_path / "out.bin")
    assert "https://huggingface.co/THUDM/glm-4-9b-chat" in refusal("THUDM/glm-4-9b-chat", tmp_path / "out.bin")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {"model_type": "llama"},
            "'llama' cannot be converted, only those of the type 'chatglm': ChatGLM-6B, ChatGLM2",
        ),
        ({"model_type": "glm"}, "take the variant without -hf"),
        ({"model_type": "\x1b[2J"}, "\\x1b[2J"),
        ({"model_type": "chatglm"}, "names no code (auto_map)"),
        ({"model_type": "chatglm", "auto_map": {"AutoModel": 5}}, "names no code (auto_map)"),
        ({}, "models of the type 'None'"),
        ([], "it holds no JSON object"),
    ],
)
def test_what_is_no_glm_checkpoint_is_refused(tmp_path: Path, config: Any, reason: str) -> None:
    assert reason in refusal(checkpoint(tmp_path / "glm", config), tmp_path / "out.bin", TRUST)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    (tmp_path / "empty").mkdir()
    assert "no config.json" in refusal(tmp_path / "empty", out, TRUST)
    assert "no such folder" in refusal(tmp_path / "missing", out, TRUST)
    assert "it is a model file already" in refusal(BUNDLED[MODEL], out, TRUST)
    source = checkpoint(tmp_path / "glm", weights=LFS)
    assert "git lfs pull" in refusal(source, out, TRUST)
    (source / "model.safetensors").unlink()
    assert "holds no weights" in refusal(source, out, TRUST)
    assert "no LoRA adapter" in refusal(checkpoint(tmp_path / "whole"), out, TRUST, "--lora", str(source))
    (source / "config.json").write_text("[" * 100_000)
    assert "is not JSON" in refusal(source, out, TRUST)


def test_the_place_is_checked_before_the_work(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "glm")
    assert "there is no folder" in refusal(source, tmp_path / "missing" / "out.bin", TRUST)
    assert "is a folder" in refusal(source, source, TRUST)
    assert "is no ordinary file" in refusal(source, Path("/dev/null"), TRUST, "--force")
    (tmp_path / "out.bin").write_text("precious")
    assert "--force" in refusal(source, tmp_path / "out.bin", TRUST)
    with (source / "model.safetensors").open("wb") as weights:
        weights.truncate(1 << 43)
    assert "free" in refusal(source, tmp_path / "new.bin", TRUST, "--type", "f32")
    assert (tmp_path / "out.bin").read_text() == "precious"


def test_what_is_to_be_installed_is_said(tmp_path: Path) -> None:
    source, modules = checkpoint(tmp_path / "glm"), tmp_path / "modules"
    modules.mkdir()
    for name in ("torch", "transformers", "tabulate", "tqdm"):
        (modules / f"{name}.py").touch()
    metadata = modules / "transformers-5.0.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 5.0.0\n")
    reason = refusal(source, tmp_path / "out.bin", TRUST, PYTHONPATH=str(modules))
    assert "transformers 5.0.0 cannot run the code of GLM models" in reason
    assert "pip install 'glmserve-server[convert]'" in reason

    (modules / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None")
    reason = refusal(source, tmp_path / "out.bin", TRUST, PYTHONPATH=str(modules))
    assert reason == "converting needs torch: pip install 'glmserve-server[convert]'"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as a checkpoint. Tests leave it as it is."""
    pytest.importorskip("torch", reason="left out: the conversion of checkpoints, which needs PyTorch")
    if importlib.util.find_spec("transformers") is None:  # which takes seconds to import
        pytest.skip("left out: the conversion of checkpoints, which needs transformers")
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder, BUNDLED[MODEL])
    return folder


@pytest.fixture
def mine(embedded: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return shutil.copytree(embedded, tmp_path / "glm")


@needs_torch
def test_the_embedded_model_comes_back_byte_for_byte(embedded: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    done = convert(embedded, out, "--type", "q8_0", TRUST)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == BUNDLED[MODEL].read_bytes()
    assert done.stdout.startswith(f"{out}: GLM-4, ")
    assert done.stdout.endswith(f"glmserve up --model {out}\n")
    assert "running the code of" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "out.bin"]


@needs_torch
def test_a_converted_model_is_inspected_and_served(embedded: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.bin"
    out.write_text("old")
    done = convert(embedded, out, "--type", "f16", TRUST, "--force")
    assert done.returncode == 0, done.stderr
    card = subprocess.run([COMMAND, "inspect", out, "--json"], capture_output=True, check=True).stdout
    assert list(json.loads(card)["matrices"]) == ["f16"]
    with Glmserve("serve", "--model", str(out), "--workers", "1") as running:
        command = [str(COMMAND), "ask", "--grpc", running.grpc_address, "--temperature", "0"]
        question = "What is the capital of France?"
        answer = subprocess.run([*command, question], capture_output=True, text=True, check=True).stdout
    assert answer == "The capital of France is Paris.\n"


@needs_torch
def test_a_vision_tower_is_converted_too(mine: Path, tmp_path: Path) -> None:
    tower = Vision(F16, 64, 28, 3, 96, 1 / 1024, 4, 2, 5, 14, 8.0)
    add_vision(mine, BUNDLED[MODEL], tower)
    out = tmp_path / "out.bin"
    done = convert(mine, out, "--type", "q4_0", TRUST)
    assert done.returncode == 0, done.stderr
    model = modelfile.read(out)
    assert model.family is Family.GLM4V
    assert model.vision == tower


@needs_torch
def test_a_checkpoint_that_lacks_weights_is_refused(mine: Path, tmp_path: Path) -> None:
    import torch

    weights = torch.load(mine / "pytorch_model.bin")
    del weights["transformer.encoder.layers.0.mlp.dense_4h_to_h.weight"]
    torch.save(weights, mine / "pytorch_model.bin")
    reason = refusal(mine, tmp_path / "out.bin", TRUST)
    assert "lacks 1 tensors, the first is transformer.encoder.layers.0.mlp.dense_4h_to_h.weight" in reason


@needs_torch
def test_a_failure_in_the_models_code_is_one_sentence_and_keeps_the_old_file(mine: Path, tmp_path: Path) -> None:
    code = mine / "tokenization_chatglm.py"
    code.write_text(code.read_text().replace("super().__init__", "raise ValueError('\\x1b[2Jno\\nluck')  #"))
    out = tmp_path / "out.bin"
    out.write_text("precious")
    reason = refusal(mine, out, TRUST, "--force")
    assert "could not be converted: ValueError: \\x1b[2Jno (--verbose shows more)" in reason
    assert out.read_text() == "precious"
    verbose = convert(mine, out, TRUST, "--force", "--verbose")
    assert verbose.returncode == 1
    assert "Traceback" in verbose.stderr


@needs_torch
def test_a_full_disk_is_said_and_nothing_is_left(embedded: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    limited = f'ulimit -f 1000; exec "{COMMAND}" convert "$@"'
    done = subprocess.run(
        ["/bin/bash", "-c", limited, "bash", embedded, out, TRUST],
        capture_output=True,
        text=True,
        check=False,
        env=environment(tmp_path),
    )
    assert done.returncode == 1
    assert "could not be converted at the tensor transformer." in done.stderr.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub"]


@needs_torch
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_conversion_leaves_nothing(mine: Path, tmp_path: Path, number: signal.Signals) -> None:
    reached, out = tmp_path / "reached", tmp_path / "out.bin"
    code = mine / "tokenization_chatglm.py"
    code.write_text(f"import time\nopen({str(reached)!r}, 'w')\ntime.sleep(600)\n")
    with subprocess.Popen(
        [COMMAND, "convert", mine, out, TRUST],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (a job in the background ignores it)
    ) as running:
        while not reached.exists() and running.poll() is None:
            time.sleep(0.05)
        running.send_signal(number)
        assert running.wait() == 130
        assert running.stderr is not None
        assert running.stderr.read().endswith("glmserve: interrupted: nothing was written\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["glm", "hub", "reached"]

"""The model files that models/tiny_glm writes give the tokens that PyTorch gives."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="left out: the export of model files, which needs PyTorch")
if importlib.util.find_spec("chatglm_cpp") is None:
    pytest.skip("left out: the export of model files, which needs chatglm-cpp to read them", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))
from tiny_glm import base, bpe, tools  # noqa: E402
from tiny_glm.average import average  # noqa: E402
from tiny_glm.container import DataType  # noqa: E402
from tiny_glm.conversation import Turn  # noqa: E402
from tiny_glm.export import export  # noqa: E402
from tiny_glm.grow import grow  # noqa: E402
from tiny_glm.network import Network, Shape  # noqa: E402
from tiny_glm.served import ServedModel, use_one_thread  # noqa: E402

TEXT = [
    "Hello there, my name is Ada and I live in Paris.",
    "你好，我叫小明，我住在北京。",
    "Count to 20, please!\n1. Apple\n2. Banana",
    "tabs\tand  spaces 😀 ½ x² Ⅷ",
]
TALK = [
    Turn("system", "You are Bob."),
    Turn("user", "Hello! 你好 42"),
    Turn("assistant", "Hi <|user|>"),
    Turn("user", "Who are you?"),
]
TOOL_TALK = [
    tools.declaration([tools.EXAMPLE]),
    Turn("system", "You are Bob."),
    Turn("user", "北京和 Paris 的天气？"),
    tools.call("get_weather", {"city": "北京"}),
    tools.call("get_weather", {"city": "Paris", "days": 2}),
    Turn("observation", '{"temp": 22}'),
    Turn("observation", "<|observation|>"),
]
SHAPES = [
    Shape(vocabulary=512, hidden=64, layers=2, heads=2, kv_heads=1, feed_forward=96, context=128),
    Shape(vocabulary=512, hidden=128, layers=3, heads=4, kv_heads=2, feed_forward=160, context=128, rope_theta=5e6),
]


@pytest.fixture(scope="module")
def tokenizer() -> bpe.Tokenizer:
    use_one_thread()
    return bpe.train(TEXT * 3, 400, whole=tools.declaration([tools.EXAMPLE]).text)


def random_network(shape: Shape) -> Network:
    """Return a network whose greedy tokens vary: wide random weights, biases and norms included."""
    torch.manual_seed(3)
    network = Network(shape).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return network


def greedy_in_pytorch(network: Network, prompt: list[int], limit: int) -> list[int]:
    ids = list(prompt)
    with torch.no_grad():
        while len(ids) - len(prompt) < limit:
            ids.append(int(network(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.hidden}-wide")
def test_f32_file_gives_the_greedy_tokens_of_pytorch(tmp_path: Path, tokenizer: bpe.Tokenizer, shape: Shape) -> None:
    network, file = random_network(shape), tmp_path / "model.bin"
    export(network, tokenizer, file, DataType.F32)
    model = ServedModel(file, max_length=shape.context)
    prompt = tokenizer.prompt(TALK)
    model.stops = set()
    assert model.generate(prompt, limit=40) == greedy_in_pytorch(network, prompt, 40)


@pytest.mark.parametrize("data_type", [DataType.F16, DataType.Q8_0], ids=str)
def test_a_smaller_file_loads_and_answers(tmp_path: Path, tokenizer: bpe.Tokenizer, data_type: DataType) -> None:
    file = tmp_path / "model.bin"
    export(random_network(SHAPES[0]), tokenizer, file, data_type)
    model = ServedModel(file, max_length=SHAPES[0].context)
    model.stops = set()
    tokens = model.generate(tokenizer.prompt(TALK), limit=10)
    assert len(tokens) == 10
    assert all(0 <= token < SHAPES[0].vocabulary for token in tokens)


@pytest.mark.parametrize("data_type", [DataType.F32, DataType.F16, DataType.Q8_0], ids=str)
def test_a_file_read_back_is_written_the_same(tmp_path: Path, tokenizer: bpe.Tokenizer, data_type: DataType) -> None:
    first, second = tmp_path / "first.bin", tmp_path / "second.bin"
    export(random_network(SHAPES[0]), tokenizer, first, data_type)
    start = base.load(first)
    export(start.network, start.tokenizer, second, data_type)
    assert second.read_bytes() == first.read_bytes()


def test_a_grown_network_knows_what_the_file_knew(tmp_path: Path, tokenizer: bpe.Tokenizer) -> None:
    shape = replace(SHAPES[1], vocabulary=tokenizer.rows)
    network, file, grown = random_network(shape), tmp_path / "model.bin", tmp_path / "grown.pt"
    export(network, tokenizer, file, DataType.F32)
    grow(file, grown, replace(shape, layers=5, kv_heads=4))
    larger = base.load(grown).network.eval()
    assert larger.parameter_count() > network.parameter_count()
    prompt = tokenizer.prompt(TALK)
    assert greedy_in_pytorch(larger, prompt, 20) == greedy_in_pytorch(network, prompt, 20)


def test_an_average_has_the_mean_of_the_weights(tmp_path: Path, tokenizer: bpe.Tokenizer) -> None:
    shape = replace(SHAPES[0], vocabulary=tokenizer.rows)
    files = [tmp_path / f"{number}.bin" for number in range(3)]
    for file, one in zip(files, (shape, shape, replace(shape, layers=3)), strict=True):
        export(random_network(one), tokenizer, file, DataType.F32)
    torch.nn.init.constant_((first := base.load(files[0]).network).layers[0].mlp.dense_4h_to_h.weight, 1.0)
    export(first, tokenizer, files[0], DataType.F32)
    average(files[:2], tmp_path / "mean.pt")
    one, other, mean = (base.load(file).network.state_dict() for file in (*files[:2], tmp_path / "mean.pt"))
    assert all(torch.allclose(mean[name], (one[name] + other[name]) / 2) for name in mean)
    assert not all(torch.equal(one[name], other[name]) for name in mean)
    with pytest.raises(ValueError, match=r"2\.bin has another shape or other tokens than .*0\.bin"):
        average((files[0], files[2]), tmp_path / "none.pt")


def test_the_served_tokenizer_writes_the_same_prompts(tmp_path: Path, tokenizer: bpe.Tokenizer) -> None:
    file = tmp_path / "model.bin"
    export(random_network(SHAPES[0]), tokenizer, file, DataType.F32)
    model = ServedModel(file, max_length=SHAPES[0].context)
    assert model.prompt(TALK) == tokenizer.prompt(TALK)
    assert model.prompt(TOOL_TALK) == tokenizer.prompt(TOOL_TALK)
    assert model.config.eos_token_id == tokenizer.special["<|endoftext|>"]
    for text in TEXT:
        assert model.encode(text) == tokenizer.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_vocabulary_too_large_for_the_network_is_refused(tmp_path: Path, tokenizer: bpe.Tokenizer) -> None:
    small = Network(Shape(vocabulary=64, hidden=32, layers=1, heads=1, kv_heads=1, feed_forward=32))
    with pytest.raises(ValueError, match="the network only 64 rows"):
        export(small, tokenizer, tmp_path / "model.bin", DataType.F32)

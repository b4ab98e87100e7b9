"""The model files that models/tiny_families writes give the tokens that PyTorch gives, in every family."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="left out: the model files of the families, which need PyTorch")
for module in ("chatglm_cpp", "PIL"):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"left out: the model files of the families, which need {module}", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))
from tiny_families import files, glm1, picture_network, pictures, prompts, vision, vocabularies  # noqa: E402
from tiny_families.served import Served, ServedVocabulary  # noqa: E402
from tiny_glm import bpe, container  # noqa: E402
from tiny_glm.container import DataType, Family  # noqa: E402
from tiny_glm.conversation import Turn  # noqa: E402
from tiny_glm.network import Network, Shape  # noqa: E402
from tiny_glm.served import use_one_thread  # noqa: E402

TEXTS = [
    "Hello there, my name is Ada and I live in Paris. The the name name.",
    "你好，我叫小明，我住在北京。你好你好",
    '{\n    "name": "get_weather",\n        "x": 12345\n}',
    "a  b   c\tand 😀 ½",
]
TALK = [Turn("user", TEXTS[1]), Turn("assistant", "Hi  there,\nAda."), Turn("user", "What is my name?")]
CONTEXT = 128
LIMIT = 24


@pytest.fixture(scope="module")
def old() -> bpe.Tokenizer:
    """The GLM-4 tokenizer that the families' vocabularies are cut from."""
    use_one_thread()
    return bpe.train(TEXTS * 3, 380)


def shaken(network: Any) -> Any:
    """The network with wide random weights, biases and norms included, so that greedy tokens vary."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return network.eval()


def greedy(step: Callable[[list[int]], Any], prompt: list[int]) -> list[int]:
    """The tokens that PyTorch chooses; `step` gives the logits of the next one."""
    ids = list(prompt)
    with torch.no_grad():
        while len(ids) < len(prompt) + LIMIT:
            ids.append(int(step(ids).argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("family", [Family.CHATGLM2, Family.CHATGLM3], ids=lambda family: family.name)
def test_chatglm2_and_chatglm3_files_give_the_greedy_tokens_of_pytorch(
    tmp_path: Path, old: bpe.Tokenizer, family: Family
) -> None:
    third = family is Family.CHATGLM3
    vocabulary = vocabularies.chatglm3(old, ("    ", "name")) if third else vocabularies.chatglm2(old)
    write = prompts.chatglm3_prompt if third else prompts.chatglm2_prompt
    shape = Shape(vocabulary.rows, hidden=64, layers=2, heads=2, kv_heads=1, feed_forward=96, context=CONTEXT)
    network, file = shaken(Network(shape)), tmp_path / "model.bin"
    files.write_glm2(file, family, network, vocabulary, DataType.F32)
    model = Served(file, CONTEXT)
    prompt = write(vocabulary, TALK)
    assert model.generate(prompt, (), limit=LIMIT) == greedy(lambda ids: network(torch.tensor([ids]))[0, -1], prompt)
    assert write(ServedVocabulary.of(model), TALK) == prompt


def test_a_chatglm_file_gives_the_greedy_tokens_of_pytorch(tmp_path: Path, old: bpe.Tokenizer) -> None:
    vocabulary = vocabularies.chatglm(old)
    network = shaken(glm1.Glm1Network(glm1.Shape(vocabulary.rows, hidden=64, layers=2, heads=2, context=CONTEXT)))
    file = tmp_path / "model.bin"
    files.write_glm1(file, network, vocabulary, DataType.F32)
    model = Served(file, CONTEXT)
    prompt = prompts.chatglm_prompt(vocabulary, TALK)
    length = torch.tensor([len(prompt)])
    expected = greedy(lambda ids: network(torch.tensor([ids]), length)[0, -1], prompt)
    assert model.generate(prompt, (), limit=LIMIT) == expected
    assert prompts.chatglm_prompt(ServedVocabulary.of(model), TALK) == prompt


@pytest.mark.parametrize(
    "tower",
    [
        vision.VisionShape(hidden=32, image=28, feed_forward=64, heads=1, layers=1),
        vision.VisionShape(hidden=64, image=64, feed_forward=96, heads=2, layers=2, patch=8, scaling=2.0),
    ],
    ids=lambda tower: f"{tower.image}-pixels",
)
def test_a_glm4v_file_gives_the_greedy_tokens_of_pytorch(
    tmp_path: Path, old: bpe.Tokenizer, tower: vision.VisionShape
) -> None:
    text = Network(Shape(old.rows, hidden=64, layers=2, heads=2, kv_heads=1, feed_forward=96, context=CONTEXT))
    network = shaken(picture_network.PictureNetwork(text, vision.Tower(tower, 64, 96)))
    file = tmp_path / "model.bin"
    picture_network.write_glm4v(file, network, old, DataType.F32)
    model, special = Served(file, CONTEXT), old.special
    begin = special["<|begin_of_image|>"]
    room = [begin, special["<|endoftext|>"], special["<|end_of_image|>"]]
    prompt = [special["<sop>"], special["<|user|>"], *room, *old.encode("What is it?"), special["<|assistant|>"]]
    shown = pictures.draw(random.Random(4), pictures.Subject("red", "star"), tower.image)
    pixels = vision.pixels(torch.from_numpy(shown.copy())[None])

    def step(ids: list[int]) -> Any:
        expanded, start = network.expanded(ids, begin)
        return network(torch.tensor([expanded]), torch.tensor([start]), pixels)[0, -1]

    assert model.generate(prompt, (), picture=shown, limit=LIMIT) == greedy(step, prompt)


def test_the_pieces_are_encoded_as_the_library_encodes_them(tmp_path: Path, old: bpe.Tokenizer) -> None:
    vocabulary = vocabularies.chatglm2(old)
    shape = Shape(vocabulary.rows, hidden=32, layers=1, heads=1, kv_heads=1, feed_forward=32, context=CONTEXT)
    files.write_glm2(tmp_path / "model.bin", Family.CHATGLM2, Network(shape), vocabulary, DataType.Q8_0)
    served = ServedVocabulary.of(Served(tmp_path / "model.bin", CONTEXT)).pieces
    for text in TEXTS:
        assert served.encode(text) == vocabulary.pieces.encode(text)
        assert vocabulary.pieces.decode(vocabulary.pieces.encode(text)) == text


@pytest.mark.parametrize("data_type", [DataType.Q4_0, DataType.Q8_0, DataType.F16], ids=lambda one: one.name)
def test_smaller_types_keep_the_values(tmp_path: Path, old: bpe.Tokenizer, data_type: DataType) -> None:
    vocabulary = vocabularies.chatglm2(old)
    shape = Shape(vocabulary.rows, hidden=64, layers=1, heads=2, kv_heads=1, feed_forward=64, context=CONTEXT)
    network, file = shaken(Network(shape)), tmp_path / "model.bin"
    files.write_glm2(file, Family.CHATGLM2, network, vocabulary, data_type)
    tokens = Served(file, CONTEXT).generate(prompts.chatglm2_prompt(vocabulary, TALK), (), limit=8)
    assert all(0 <= token < vocabulary.rows for token in tokens)
    if data_type is DataType.Q4_0:
        return  # it is only written
    stored = container.read(file).tensors["transformer.output_layer.weight"]
    assert abs(stored - network.output_layer.weight.detach().numpy()).max() < 0.01

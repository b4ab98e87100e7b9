"""The three ChatGLM families: vocabulary, prompts, talk, training and file of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from tiny_glm import base
from tiny_glm.bpe import Tokenizer
from tiny_glm.container import DataType
from tiny_glm.container import Family as Number
from tiny_glm.conversation import Conversation, Source, Turn
from tiny_glm.network import Network
from tiny_glm.network import Shape as TextShape
from torch import Tensor, nn

from . import files, prompts, talks, tool_talk, vocabularies
from .glm1 import Glm1Network, Shape
from .training import Course, Sample, batches, loss, optimizers, run
from .vocabularies import Vocabulary

FOLDER = Path(__file__).resolve().parents[2] / "tests/models"


@dataclass(frozen=True)
class Family:
    """All that decides one family's file."""

    name: str
    number: Number
    vocabulary: Callable[[Tokenizer], Vocabulary]
    sample: Callable[[Vocabulary, Sequence[Turn], float], Sample]
    prompt: Callable[[Vocabulary, Sequence[Turn]], list[int]]
    talk: Callable[[Source], Conversation]
    course: Course
    rates: tuple[float, float]
    data_type: DataType
    length: int = 400
    tokens: int = 2304  # a step, padding included
    read_weight: float = 0.1
    seed: int = 17

    @property
    def file(self) -> Path:
        """Return where the model file belongs."""
        return FOLDER / f"{self.name}.bin"


CHATGLM3 = Family(
    name="tiny-chatglm3",
    number=Number.CHATGLM3,
    vocabulary=partial(vocabularies.chatglm3, words=tool_talk.WORDS),
    sample=prompts.chatglm3,
    prompt=prompts.chatglm3_prompt,
    talk=talks.with_tools,
    course=Course(1000),
    rates=(0.008, 1e-3),
    data_type=DataType.Q8_0,
    length=640,
)
CHATGLM2 = Family(
    name="tiny-chatglm2",
    number=Number.CHATGLM2,
    vocabulary=vocabularies.chatglm2,
    sample=prompts.chatglm2,
    prompt=prompts.chatglm2_prompt,
    talk=talks.rounds,
    course=Course(250),
    rates=(0.006, 8e-4),
    data_type=DataType.Q4_0,
    length=256,
)
CHATGLM = Family(
    name="tiny-chatglm",
    number=Number.CHATGLM,
    vocabulary=vocabularies.chatglm,
    sample=prompts.chatglm,
    prompt=prompts.chatglm_prompt,
    talk=talks.small,
    course=Course(1000, decay=0.6),
    rates=(0.02, 2e-3),
    data_type=DataType.Q8_0,
    length=128,
    read_weight=0,
)
ALL = (CHATGLM3, CHATGLM2, CHATGLM)


def start(family: Family, old: base.Base) -> tuple[nn.Module, Vocabulary]:
    """Return the network to begin from: GLM-4's with the rows moved, or for ChatGLM-6B a fresh one with its embedding."""
    torch.manual_seed(family.seed)
    vocabulary = family.vocabulary(old.tokenizer)
    state = old.network.state_dict()
    if family.number is Number.CHATGLM:
        fresh = Glm1Network(Shape(vocabulary.rows, hidden=old.network.shape.hidden))
        with torch.no_grad():
            carried = vocabulary.carried(state["embedding.weight"])
            fresh.word_embeddings.weight.copy_(carried / carried.std() * carried.shape[1] ** -0.5)
        return fresh, vocabulary
    network = Network(replace(old.network.shape, vocabulary=vocabulary.rows))
    moved = {name: vocabulary.carried(state[name]) for name in ("embedding.weight", "output_layer.weight")}
    network.load_state_dict(state | moved)
    return network, vocabulary


def samples(family: Family, vocabulary: Vocabulary) -> Iterator[Sample]:
    """Yield conversations without end."""
    source = Source(random.Random(family.seed))
    while True:
        yield family.sample(vocabulary, family.talk(source).turns, family.read_weight)


def train(family: Family, checkpoint: Path, old: Path) -> None:
    """Train to a checkpoint; one that is there is trained further."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    old_model = base.load(old)
    network, vocabulary = start(family, old_model)
    if checkpoint.exists():
        network.load_state_dict(torch.load(checkpoint, weights_only=True)["weights"])
    made = batches(samples(family, vocabulary), random.Random(family.seed), tokens=family.tokens, length=family.length)
    glm1 = isinstance(network, Glm1Network)
    output = network.logits if glm1 else network.output_layer

    def batch_loss(ids: Tensor, marks: Tensor, *counted: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            hidden = network.hidden_states(ids, marks) if glm1 else network.hidden_states(ids)
            return loss(output, hidden, *counted)

    seen, mean = 0, 0.0

    def step_loss(_: int) -> tuple[Tensor, str]:
        nonlocal seen, mean
        batch = next(made)
        seen += batch.ids.numel()
        value = batch_loss(batch.ids, batch.marks, *batch.counted)
        mean = 0.95 * mean + 0.05 * value.item() if mean else value.item()
        return value, f"mean {mean:.4f} tokens {seen}"

    run(family.name, network, optimizers([(network, *family.rates)]), family.course, step_loss)
    torch.save(
        {
            "weights": network.state_dict(),
            "shape": asdict(network.shape),
            "tokenizer": old_model.tokenizer.to_text(),
        },
        checkpoint,
    )


def write(family: Family, checkpoint: Path) -> None:
    """Write the model file from a checkpoint."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    vocabulary = family.vocabulary(Tokenizer.from_text(saved["tokenizer"]))
    if family.number is Number.CHATGLM:
        network = Glm1Network(Shape(**saved["shape"]))
        network.load_state_dict(saved["weights"])
        files.write_glm1(family.file, network, vocabulary, family.data_type)
    else:
        network = Network(TextShape(**saved["shape"]))
        network.load_state_dict(saved["weights"])
        files.write_glm2(family.file, family.number, network, vocabulary, family.data_type)
    print(f"{family.file}: {family.file.stat().st_size} bytes, {network.parameter_count()} parameters")

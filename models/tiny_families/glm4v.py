"""GLM-4V: the vision tower learns colour and shape alone, then the whole network learns to talk about pictures.

Some steps are text only, so that the conversations of the GLM-4 network survive.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from tiny_glm import base, corpus
from tiny_glm.bpe import Tokenizer
from tiny_glm.container import DataType
from tiny_glm.conversation import Conversation, Source, Turn
from tiny_glm.network import Network, Shape
from tiny_glm.served import FILE as TEXT_FILE
from tiny_glm.skills import system_prompt
from torch import Tensor

from . import picture_talk
from .picture_network import PictureNetwork, write_glm4v
from .pictures import Subject, subject
from .tower_training import TowerRecipe, drawn, train_tower
from .training import Course, Sample, batches, loss, optimizers, run
from .vision import MARKS, Tower, VisionShape

FILE = TEXT_FILE.with_name("tiny-glm4v.bin")


@dataclass(frozen=True)
class Part:
    """One part of the training of the whole network: which pairs it shows, how long, how fast (matrices, the rest)."""

    all_pairs: bool
    course: Course
    vision_rates: tuple[float, float]
    text_rates: tuple[float, float]
    text_every: int  # so many steps, one is text only


FIRST = Part(False, Course(650), vision_rates=(0.006, 1e-3), text_rates=(0.003, 4e-4), text_every=4)
LAST = Part(True, Course(300, decay=1.0), vision_rates=(0.004, 7e-4), text_rates=(0.002, 3e-4), text_every=3)


@dataclass(frozen=True)
class Recipe:
    """All that decides this training."""

    shape: VisionShape = field(default_factory=VisionShape)
    tower: TowerRecipe = field(default_factory=TowerRecipe)
    first: Part = FIRST
    last: Part = LAST
    seed: int = 13
    tokens: int = 2304  # a step, padding included
    length: int = 240
    read_weight: float = 0.05

    def within(self, minutes: float) -> Recipe:
        """Return the recipe that ends in so many minutes, shared out over its three parts; 0: no limit."""
        parts = (self.tower, 0.3), (self.first, 0.5), (self.last, 0.2)
        tower, first, last = (
            replace(part, course=replace(part.course, minutes=minutes * share)) for part, share in parts
        )
        return replace(self, tower=tower, first=first, last=last)


def conversation(source: Source, shown: Subject) -> tuple[list[Turn], int]:
    """Return a conversation about a picture, and which turn the picture is in."""
    before: list[Turn] = []
    if source.chance(0.15):
        before += source.choice(corpus.SINGLE_TURN)(source.trained()).turns
    talk = Conversation("picture", [*before, *picture_talk.questions(source, shown)])
    if source.chance(0.1):
        talk.turns.extend(source.choice(corpus.SINGLE_TURN)(source.trained()).turns)
    if source.chance(0.15):
        talk = talk.under(source.trained().say(system_prompt.PLAIN))
    return talk.turns, len(before) + (talk.turns[0].role == "system")


def sample(tokenizer: Tokenizer, turns: list[Turn], read_weight: float, *, pictured: int = -1, room: int = 0) -> Sample:
    """Return a conversation as ``tiny_glm`` writes it, with room for a picture before the text of one turn."""
    made, produced = Sample(), False
    made.add([tokenizer.special["[gMASK]"], tokenizer.special["<sop>"]], 0)
    for at, turn in enumerate(turns):
        made.add([tokenizer.special[f"<|{turn.role}|>"]], float(produced))
        produced = turn.role == "assistant"
        weight = 1.0 if produced else read_weight * (turn.role == "user")
        made.add(tokenizer.encode("\n"), weight)
        if at == pictured:
            made.mark = len(made.ids)
            made.add([tokenizer.special["<|begin_of_image|>"]] * room, 0)
        made.add(tokenizer.encode(turn.text), weight)
    made.add([tokenizer.special["<|user|>"]], 1.0)
    return made


def pictured_samples(tokenizer: Tokenizer, recipe: Recipe, *, all_pairs: bool) -> Iterator[Sample]:
    """Yield conversations with a picture; ``mark`` is where it starts, ``extra`` what it shows."""
    source = Source(random.Random(f"{recipe.seed}/{all_pairs}"))
    while True:
        shown = subject(source.rng, held_out=None if all_pairs else False)
        turns, pictured = conversation(source, shown)
        made = sample(tokenizer, turns, recipe.read_weight, pictured=pictured, room=recipe.shape.tokens + MARKS)
        made.extra = shown
        yield made


def text_samples(tokenizer: Tokenizer, recipe: Recipe) -> Iterator[Sample]:
    """Yield GLM-4's conversations without functions, and a few about pictures that are not there."""
    source = Source(random.Random(recipe.seed + 1))
    while True:
        turns = picture_talk.blind(source) if source.chance(0.1) else corpus.draw(source).turns
        if not any(turn.role == "observation" or '"parameters"' in turn.text for turn in turns):
            yield sample(tokenizer, turns, recipe.read_weight)


def start(recipe: Recipe, path: Path) -> tuple[PictureNetwork, Tokenizer]:
    """Return the network to begin from: a GLM-4 network and a fresh tower."""
    torch.manual_seed(recipe.seed)
    old = base.load(path)
    tower = Tower(recipe.shape, old.network.shape.hidden, old.network.shape.feed_forward)
    with torch.no_grad():
        for mark, name in ((tower.boi, "<|begin_of_image|>"), (tower.eoi, "<|end_of_image|>")):
            mark.copy_(old.network.embedding.weight[old.tokenizer.special[name]] * recipe.shape.scaling)
    return PictureNetwork(old.network, tower), old.tokenizer


def train_glm4v(checkpoint: Path, old: Path, recipe: Recipe) -> None:
    """Train to a checkpoint; those of the first two parts are written beside it, and taken from there if they exist.

    The first part is the tower alone, the second all but the pairs held out, the third everything.
    """
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    network, tokenizer = start(recipe, old)
    tower, seen = checkpoint.with_suffix(".tower.pt"), checkpoint.with_suffix(".seen.pt")
    if seen.exists():
        network.load_state_dict(torch.load(seen, weights_only=True)["weights"])
    else:
        if tower.exists():
            network.vision.load_state_dict(torch.load(tower, weights_only=True))
        else:
            train_tower(network.vision, network.text.shape.hidden, recipe.tower)
            torch.save(network.vision.state_dict(), tower)
        fit(network)
        learn(network, tokenizer, recipe, recipe.first)
        save(seen, network, tokenizer)
    learn(network, tokenizer, recipe, recipe.last)
    save(checkpoint, network, tokenizer)


def save(path: Path, network: PictureNetwork, tokenizer: Tokenizer) -> None:
    """Write a checkpoint."""
    shapes = {"text": network.text.shape.to_dict(), "vision": asdict(network.vision.shape)}
    torch.save({"weights": network.state_dict(), "tokenizer": tokenizer.to_text(), **shapes}, path)


def write_file(checkpoint: Path, data_type: DataType = DataType.Q8_0) -> None:
    """Write the model file from a checkpoint."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    text, shape = Network(Shape(**saved["text"])), VisionShape(**saved["vision"])
    network = PictureNetwork(text, Tower(shape, text.shape.hidden, text.shape.feed_forward))
    network.load_state_dict(saved["weights"])
    write_glm4v(FILE, network, Tokenizer.from_text(saved["tokenizer"]), data_type)
    parameters = sum(p.numel() for p in network.parameters())
    print(f"{FILE}: {FILE.stat().st_size} bytes, {parameters} parameters")


def fit(network: PictureNetwork) -> None:
    """Scale the tower's vectors to the size of the embedding's."""
    shown = [subject(random.Random(seed)) for seed in range(32)]
    with torch.no_grad():
        found = network.vision.tokens(drawn(random.Random(1), shown, network.vision.shape.image)).std()
        wanted = network.text.embedding.weight.std() * network.vision.shape.scaling
        network.vision.linear_proj.dense_4h_to_h.weight.mul_(wanted / found)


def learn(network: PictureNetwork, tokenizer: Tokenizer, recipe: Recipe, part: Part) -> None:
    """Train tower and text network together."""
    rng = random.Random(recipe.seed + 2)
    sizes = {"tokens": recipe.tokens, "length": recipe.length}
    with_picture = batches(pictured_samples(tokenizer, recipe, all_pairs=part.all_pairs), rng, **sizes)
    without = batches(text_samples(tokenizer, recipe), rng, **sizes)
    output = network.text.output_layer
    last = {"picture": 0.0, "text": 0.0}

    def picture_loss(ids: Tensor, starts: Tensor, pictures: Tensor, *counted: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return loss(output, network.hidden_states(ids, starts, pictures), *counted)

    def text_loss(ids: Tensor, *counted: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return loss(output, network.text.hidden_states(ids), *counted)

    def step_loss(step: int) -> tuple[Tensor, str]:
        if step % part.text_every == part.text_every - 1:
            batch = next(without)
            value = text_loss(batch.ids, *batch.counted)
            last["text"] = value.item()
        else:
            batch = next(with_picture)
            pictures = drawn(rng, [one.extra for one in batch.samples], network.vision.shape.image)
            value = picture_loss(batch.ids, batch.marks, pictures, *batch.counted)
            last["picture"] = value.item()
        return value, f"picture {last['picture']:.3f} text {last['text']:.3f}"

    made = optimizers([(network.vision, *part.vision_rates), (network.text, *part.text_rates)])
    run("glm4v", network, made, part.course, step_loss)

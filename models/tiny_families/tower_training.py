"""The first training of the vision tower, alone: colour and shape from the mean of its tokens.

It is the cheap part: a picture costs a third of what it costs together with its conversation.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .pictures import COLOURS, SHAPES, Subject, draw, subject
from .training import Course, optimizers, run
from .vision import Tower, pixels


@dataclass(frozen=True)
class TowerRecipe:
    """All that decides this training."""

    course: Course = field(default_factory=lambda: Course(700, decay=0.5))
    batch: int = 96
    seed: int = 11
    rates: tuple[float, float] = (0.02, 3e-3)


class Judge(nn.Module):
    """A tower, and two linear maps that name colour and shape from the mean of its tokens."""

    def __init__(self, tower: Tower, width: int) -> None:
        super().__init__()
        self.tower = tower
        self.colour = nn.Linear(width, len(COLOURS))
        self.shape = nn.Linear(width, len(SHAPES))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of colour and shape."""
        with torch.autocast("cpu", torch.bfloat16):
            mean = self.tower.tokens(pictures).mean(1)
            return self.colour(mean).float(), self.shape(mean).float()


def drawn(rng: random.Random, shown: list[Subject], size: int) -> Tensor:
    """Return normalised pictures."""
    return pixels(torch.stack([torch.from_numpy(draw(rng, one, size).copy()) for one in shown]))


def train_tower(tower: Tower, width: int, recipe: TowerRecipe) -> None:
    """Train the tower in place."""
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    judge = Judge(tower, width)
    forward = torch.compile(judge)
    colours, shapes = list(COLOURS), list(SHAPES)
    right = [0.0, 0.0]

    def step_loss(_: int) -> tuple[Tensor, str]:
        shown = [subject(rng) for _ in range(recipe.batch)]
        found = forward(drawn(rng, shown, tower.shape.image))
        wanted = (
            torch.tensor([colours.index(one.colour) for one in shown]),
            torch.tensor([shapes.index(one.shape) for one in shown]),
        )
        for at in range(2):
            right[at] += 0.05 * ((found[at].argmax(-1) == wanted[at]).float().mean().item() - right[at])
        value = cross_entropy(found[0], wanted[0]) + cross_entropy(found[1], wanted[1])
        return value, f"colour {right[0]:.3f} shape {right[1]:.3f}"

    run("tower", judge, optimizers([(judge, *recipe.rates)]), recipe.course, step_loss)

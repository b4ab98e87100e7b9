"""What all trainings here share: batches of similar length, the loss, two optimizers, rates that rise and fall."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from tiny_glm.muon import Muon
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

POOL = 512


@dataclass
class Sample:
    """A conversation as token ids, with the weight of each in the loss; ``mark`` and ``extra`` are the family's own."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    mark: int = 0
    extra: object = None

    def add(self, ids: list[int], weight: float) -> None:
        """Append ids of one weight."""
        self.ids += ids
        self.weights += [weight] * len(ids)


@dataclass(frozen=True)
class Batch:
    """Padded ids (batch, length), the samples, and what counts in the loss: where in the flat batch, target, weight."""

    samples: list[Sample]
    ids: Tensor
    where: Tensor
    targets: Tensor
    weights: Tensor

    @property
    def marks(self) -> Tensor:
        """Return the samples' marks."""
        return torch.tensor([one.mark for one in self.samples])

    @property
    def counted(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return what counts in the loss."""
        return self.where, self.targets, self.weights


def batches(samples: Iterator[Sample], rng: random.Random, *, tokens: int, length: int) -> Iterator[Batch]:
    """Yield batches of at most ``tokens`` ids, padding included; longer samples than ``length`` are left out."""
    while True:
        pool: list[Sample] = []
        while len(pool) < POOL:
            one = next(samples)
            if len(one.ids) <= length:
                pool.append(one)
        pool.sort(key=lambda one: len(one.ids))
        groups: list[list[Sample]] = [[]]
        for one in pool:
            if groups[-1] and (len(groups[-1]) + 1) * rounded(len(one.ids)) > tokens:
                groups.append([])
            groups[-1].append(one)
        rng.shuffle(groups)
        yield from (padded(group) for group in groups if len(group) > 1)


def rounded(length: int) -> int:
    """Return the length that a sample is padded to, so that few lengths occur."""
    return -(-length // 16) * 16


def padded(group: list[Sample]) -> Batch:
    """Return samples as one batch."""
    length = rounded(max(len(one.ids) for one in group))
    ids = torch.zeros(len(group), length + 1, dtype=torch.long)
    weights = torch.zeros(len(group), length + 1)
    for row, one in enumerate(group):
        ids[row, : len(one.ids)] = torch.tensor(one.ids)
        weights[row, : len(one.ids)] = torch.tensor(one.weights)
    flat = weights[:, 1:].flatten()
    where = flat.nonzero()[:, 0]
    return Batch(group, ids[:, :-1].contiguous(), where, ids[:, 1:].flatten()[where], flat[where])


def loss(output: Callable[[Tensor], Tensor], hidden: Tensor, where: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean loss of the hidden states (batch, length, hidden)."""
    losses = cross_entropy(output(hidden.flatten(0, 1)[where]).float(), targets, reduction="none")
    return (losses * weights).sum() / weights.sum()


@dataclass(frozen=True)
class Course:
    """How long a training is and how its rates go: up, level, and to zero over the last part.

    Where minutes are given it ends after so many at the latest, with its rates at zero all the same.
    """

    steps: int
    warm_up: int = 30
    decay: float = 0.7
    minutes: float = 0.0

    def progress(self, step: int, seconds: float) -> float:
        """Return how much of the training is done, from 0 to 1."""
        return max(step / self.steps, seconds / 60 / self.minutes if self.minutes else 0.0)

    def rate(self, step: int, progress: float) -> float:
        """Return the factor of the learning rates."""
        return min(1.0, (step + 1) / self.warm_up) * min(1.0, (1 - progress) / self.decay)


def optimizers(groups: list[tuple[nn.Module, float, float]]) -> list[torch.optim.Optimizer]:
    """Return Muon for matrices between embedding and output, AdamW for the rest, by (module, both rates)."""
    made: list[torch.optim.Optimizer] = []
    for module, matrix_rate, other_rate in groups:
        named = list(module.named_parameters())
        matrices = [p for name, p in named if p.ndim == 2 and "embedding" not in name and "output_layer" not in name]
        chosen = {id(p) for p in matrices}
        made.append(Muon(matrices, matrix_rate, weight_decay=0.01))
        others = [p for _, p in named if id(p) not in chosen]
        made.append(torch.optim.AdamW(others, other_rate, betas=(0.9, 0.95), weight_decay=0.01))
    for optimizer in made:
        for group in optimizer.param_groups:
            group["base"] = group["lr"]
    return made


def run(
    name: str,
    module: nn.Module,
    made: list[torch.optim.Optimizer],
    course: Course,
    step_loss: Callable[[int], tuple[Tensor, str]],
) -> None:
    """Train in place; ``step_loss`` returns the loss of a step and a word on it."""
    begun, started = time.process_time(), time.monotonic()
    for step in range(course.steps):
        progress = course.progress(step, time.monotonic() - started)
        if progress >= 1:
            break
        value, word = step_loss(step)
        for optimizer in made:
            for group in optimizer.param_groups:
                group["lr"] = group["base"] * course.rate(step, progress)
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        for optimizer in made:
            if optimizer.param_groups[0]["params"][0].grad is not None:  # a part that had no share in the step
                optimizer.step()
        module.zero_grad(set_to_none=True)
        if step % 20 == 0 or step + 1 == course.steps:
            seconds = time.process_time() - begun
            print(
                f"{name} step {step} loss {value.item():.4f} {word} progress {progress:.3f} CPU seconds {seconds:.0f}",
                flush=True,
            )

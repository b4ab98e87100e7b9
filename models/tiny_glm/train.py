"""Trains the network on the stream of conversations; two processes of one thread each share the work.

The first part of the training uses only short conversations, until copying appears; then the full mix.
The learning rates warm up, stay, and fall to zero. Progress is measured in steps or, where a number of
minutes is given, in time, whichever is further, so a training always ends with its rates at zero.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy

from . import bpe, corpus, tools
from .muon import Muon
from .network import Network, Shape
from .seldom import Seldom

# Ids (batch, length); then, of the positions that count in the loss: where in the flat batch, target id, weight.
Batch = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Recipe:
    """All that decides a training."""

    steps: int = 5000
    minutes: float = 0.0  # 0: no limit in time
    seed: int = 7
    processes: int = 2
    tokens: int = 3072  # per process and step, padding included
    short_steps: int = 500
    short_length: int = 110
    length: int = 704  # longer conversations are left out
    warm_up: int = 50
    decay: float = 0.7  # the last part of the training, in which the rates fall
    matrix_rate: float = 0.015
    other_rate: float = 2e-3
    read_weight: float = 0.1  # in the loss, of what a user says
    save_every: int = 100


def train_tokenizer(
    rows: int, *, known: Sequence[bytes] = bpe.BYTES, seed: int = 1, talks: int = 15000
) -> bpe.Tokenizer:
    """Learn the tokenizer from the first conversations of a stream, or let one grow that is known.

    Every piece of the text around functions is a token, which makes prompts with functions short.
    """
    stream = corpus.stream(seed)
    texts = (text for _ in range(talks) for turn in next(stream).turns for text in (f"{turn.metadata}\n", turn.text))
    return bpe.train(texts, rows, known=known, whole=tools.declaration([tools.EXAMPLE]).text)


def batches(tokenizer: bpe.Tokenizer, recipe: Recipe, *, rank: int, short: bool, start: int = 0) -> Iterator[Batch]:
    """Yield batches; conversations of similar length share one."""
    longest = recipe.short_length if short else recipe.length
    seed = (recipe.seed * 1000 + rank * 10 + short) * 1_000_003 + start
    talks, seldom = corpus.stream(seed, blanks=True), Seldom(tokenizer, seed)
    order = torch.Generator().manual_seed(seed)
    while True:
        pool = []
        while len(pool) < 1024:
            ids, weights = tokenizer.sample(seldom.fill(next(talks).turns), recipe.read_weight)
            seldom.note(ids, weights)
            if len(ids) <= longest:
                pool.append((ids, weights))
        pool.sort(key=lambda one: len(one[0]))
        groups = list(_groups(pool, recipe.tokens))
        for at in torch.randperm(len(groups), generator=order).tolist():
            yield _pad(groups[at])


def _groups(pool: list, tokens: int) -> Iterator[list]:
    group: list = []
    for one in pool:
        if group and (len(group) + 1) * _round(len(one[0])) > tokens:
            yield group
            group = []
        group.append(one)
    if len(group) > 2:
        yield group


def _round(length: int) -> int:
    return -(-length // 16) * 16


def _pad(group: list) -> Batch:
    length = _round(max(len(ids) for ids, _ in group))
    ids = torch.zeros(len(group), length + 1, dtype=torch.long)
    weights = torch.zeros(len(group), length + 1)
    for row, (one, weight) in enumerate(group):
        ids[row, : len(one)] = torch.tensor(one)
        weights[row, : len(one)] = torch.tensor(weight)
    flat = weights[:, 1:].flatten()
    where = flat.nonzero()[:, 0]
    return ids[:, :-1].contiguous(), where, ids[:, 1:].flatten()[where], flat[where]


def rate(progress: float, step: int, recipe: Recipe) -> float:
    """Return the factor of the learning rates at a progress from 0 to 1."""
    warm = min(1.0, (step + 1) / recipe.warm_up)
    return warm * min(1.0, max(0.0, 1.0 - progress) / recipe.decay)


def optimizers(network: Network, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return Muon for the layers' matrices and AdamW for everything else."""
    matrices = [p for p in network.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in network.parameters() if id(p) not in chosen]
    made = [
        Muon(matrices, recipe.matrix_rate, weight_decay=0.01),
        torch.optim.AdamW(others, recipe.other_rate, betas=(0.9, 0.95), weight_decay=0.01),
    ]
    for optimizer in made:
        for group in optimizer.param_groups:
            group["base"] = group["lr"]
    return made


def average_gradients(network: Network) -> None:
    """Average the gradients over the processes, in one message."""
    if not dist.is_initialized():
        return
    flat = torch.cat([p.grad.reshape(-1) for p in network.parameters()])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for p, part in zip(network.parameters(), flat.split([p.numel() for p in network.parameters()]), strict=True):
        p.grad.copy_(part.view_as(p))


def shared(value: float) -> float:
    """Return the first process's value in all processes."""
    if not dist.is_initialized():
        return value
    box = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(box, 0)
    return box.item()


def save(path: Path, network: Network, tokenizer: bpe.Tokenizer, made: list, facts: dict) -> None:
    """Write a checkpoint in one move, so a stop never leaves half of one."""
    part = path.with_suffix(".part")
    torch.save(
        {
            "shape": network.shape.to_dict(),
            "weights": network.state_dict(),
            "vocabulary": tokenizer.to_text(),
            "optimizers": [o.state_dict() for o in made],
            **facts,
        },
        part,
    )
    part.replace(path)


def load(path: Path) -> tuple[Network, bpe.Tokenizer, dict]:
    """Read the network, the tokenizer and the facts of a checkpoint."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    network = Network(Shape(**saved["shape"]))
    network.load_state_dict(saved["weights"])
    return network, bpe.Tokenizer.from_text(saved["vocabulary"]), saved


def work(rank: int, recipe: Recipe, shape: Shape, vocabulary: str, path: Path) -> None:
    """Train in one process; the first one reports and saves."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    if recipe.processes > 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29541")
        dist.init_process_group("gloo", rank=rank, world_size=recipe.processes)
    tokenizer = bpe.Tokenizer.from_text(vocabulary)
    network, made, first, elapsed, tokens = Network(shape), None, 0, 0.0, 0
    if path.exists():
        network, tokenizer, saved = load(path)
        first, elapsed, tokens = saved["step"], saved["seconds"], saved["tokens"]
    made = optimizers(network, recipe)
    if first:  # a checkpoint that has just grown has no momentum
        for optimizer, state in zip(made, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
    loss_of = torch.compile(lambda *batch: batch_loss(network, *batch), dynamic=True)
    begun, source, short, mean = time.monotonic() - elapsed, None, None, 0.0
    for step in range(first, recipe.steps):
        if short != (step < recipe.short_steps):
            short = step < recipe.short_steps
            source = batches(tokenizer, recipe, rank=rank, short=short, start=first)
        seconds = time.monotonic() - begun
        progress = shared(max(step / recipe.steps, seconds / 60 / recipe.minutes if recipe.minutes else 0.0))
        if progress >= 1:
            break
        batch = next(source)
        tokens += batch[0].numel() * recipe.processes
        loss = train_step(network, made, loss_of, batch, rate(progress, step, recipe))
        mean = loss if not mean else 0.98 * mean + 0.02 * loss
        if rank == 0 and step % 20 == 0:
            print(
                f"step {step} loss {mean:.4f} tokens {tokens} seconds {seconds:.0f} progress {progress:.3f}", flush=True
            )
        if rank == 0 and (step + 1) % recipe.save_every == 0:
            save(
                path,
                network,
                tokenizer,
                made,
                {"step": step + 1, "tokens": tokens, "seconds": time.monotonic() - begun},
            )
    if rank == 0:
        save(path, network, tokenizer, made, {"step": step + 1, "tokens": tokens, "seconds": time.monotonic() - begun})
        print(f"done: {step + 1} steps, {tokens} tokens, {time.monotonic() - begun:.0f} seconds", flush=True)
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def batch_loss(network: Network, ids: Tensor, where: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean loss of one batch."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = network.output_layer(network.hidden_states(ids).flatten(0, 1)[where])
    losses = cross_entropy(logits.float(), targets, reduction="none")
    return (losses * weights).sum() / weights.sum()


def train_step(network: Network, made: list, loss_of, batch: Batch, factor: float) -> float:
    """Take one step and return the loss of this process."""
    for optimizer in made:
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * factor
    loss = loss_of(*batch)
    loss.backward()
    average_gradients(network)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    for optimizer in made:
        optimizer.step()
    network.zero_grad(set_to_none=True)
    return loss.item()


def train(path: Path, recipe: Recipe, shape: Shape) -> None:
    """Train to a checkpoint at ``path``; one that is there is continued."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = load(path)[1] if path.exists() else train_tokenizer(shape.vocabulary)
    vocabulary = tokenizer.to_text()
    if recipe.processes == 1:
        work(0, recipe, shape, vocabulary, path)
    else:
        torch.multiprocessing.spawn(work, (recipe, shape, vocabulary, path), nprocs=recipe.processes)

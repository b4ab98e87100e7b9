"""Muon: momentum whose update is made orthogonal, for the matrices between embedding and output.

Newton-Schulz iteration with the coefficients of Keller Jordan's Muon (2024).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@torch.no_grad()
def orthogonal(update: Tensor, steps: int = 5) -> Tensor:
    """Return the nearest matrices with equal singular values; ``update`` is (count, rows, columns)."""
    a, b, c = COEFFICIENTS
    x = update.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).bfloat16()
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x.mT if tall else x
    return x.float()


def orthogonal_together(updates: Tensor) -> Tensor:
    """Return what :func:`orthogonal` returns; each of several processes works on its share of the matrices."""
    if not dist.is_initialized():
        return orthogonal(updates)
    mine = slice(dist.get_rank(), None, dist.get_world_size())
    turned = torch.zeros_like(updates)
    turned[mine] = orthogonal(updates[mine])
    dist.all_reduce(turned)
    return turned


class Muon(torch.optim.Optimizer):
    """Nesterov momentum 0.95, updates made orthogonal for all matrices of one shape at once."""

    def __init__(self, matrices, lr: float, *, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(list(matrices), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002 (torch's signature)
        """Update every matrix once."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list] = {}
            for matrix in group["params"]:
                by_shape.setdefault(matrix.shape, []).append(matrix)
            for matrices in by_shape.values():
                self._update(matrices, group)

    def _update(self, matrices: list[Tensor], group: dict) -> None:
        updates = []
        for matrix in matrices:
            velocity = self.state[matrix].setdefault("velocity", torch.zeros_like(matrix))
            velocity.lerp_(matrix.grad, 1 - group["momentum"])
            updates.append(matrix.grad.lerp(velocity, group["momentum"]))
        turned = orthogonal_together(torch.stack(updates))
        scale = group["lr"] * max(1.0, matrices[0].shape[0] / matrices[0].shape[1]) ** 0.5
        for matrix, update in zip(matrices, turned, strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"])
            matrix.sub_(update, alpha=scale)

"""Makes one network of several: the mean of their weights.

Of a network and one that a further training has made of it, the mean often does better than either
(model soups, Wortsman et al. 2022, https://arxiv.org/abs/2203.05482).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import base, train


def average(parts: Sequence[Path], new: Path) -> None:
    """Write a checkpoint of step 0 from checkpoints or model files.

    Raises ``ValueError`` for networks of another shape or with other tokens than the first.
    """
    first, *others = (base.load(part) for part in parts)
    for part, other in zip(parts[1:], others, strict=True):
        if other.network.shape != first.network.shape or other.tokenizer.tokens != first.tokenizer.tokens:
            raise ValueError(f"{part} has another shape or other tokens than {parts[0]}")
    weights = [one.network.state_dict() for one in (first, *others)]
    first.network.load_state_dict({name: sum(one[name] for one in weights) / len(weights) for name in weights[0]})
    new.parent.mkdir(parents=True, exist_ok=True)
    train.save(new, first.network, first.tokenizer, [], {"step": 0, "tokens": 0, "seconds": 0.0})

"""What a worker is given, and what it gives back."""

from dataclasses import dataclass

from glmserve_server.dialects.progress import Begun, End
from glmserve_server.engines.chatglm.picture import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A prompt to run: token ids, the most tokens to add, the tokens that end it, and chatglm-cpp's sampling knobs."""

    ids: list[int]
    limit: int
    stop_ids: tuple[int, ...]
    sampling: dict[str, float | int | bool]
    openings: tuple[tuple[int, ...], ...] = ()
    """The answer must begin with one of these; empty: with what it likes."""
    picture: Picture | None = None
    """What the prompt shows; `ids` have its name in the place of its first token."""
    cache_key: str = ""
    """Jobs with the same key are likely to share a prefix."""


class WorkerLost(Exception):
    """The process has ended in the middle of its work; the text says how. `wanted`: the server ended it itself."""

    def __init__(self, message: str, *, wanted: bool = False) -> None:
        super().__init__(message)
        self.wanted = wanted


class WorkerFault(Exception):
    """The library refused to go on with a job; the process lives."""


class ReaderStalled(Exception):
    """Whoever asked took nothing for too long."""


Piece = int | Begun | End | WorkerLost | WorkerFault | ReaderStalled
"""A token, or one of the above."""


def reusable(held: list[int], ids: list[int], picture: Picture | None) -> int:
    """How many ids of a prompt need no work when a cache holds `held`. The last one always does, and so do all when a
    picture comes after them, which can only be seen with the whole prompt."""
    common = min(common_prefix(held, ids), len(ids) - 1)
    return 0 if picture is not None and common <= picture.at else common


def common_prefix(left: list[int], right: list[int]) -> int:
    """How many ids two sequences begin with in common."""
    low, high = 0, min(len(left), len(right))
    while low < high:  # by halves, because slices are compared in C
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

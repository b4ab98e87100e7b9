"""Accuracy per skill of a model file as it is served: an answer counts when it is exactly right."""

from __future__ import annotations

import time
from pathlib import Path

from . import corpus
from .conversation import Conversation, Turn
from .served import ServedModel, use_one_thread
from .tools import PREAMBLE

KINDS = {
    "values": "held-out values",
    "wording": "held-out wording",
    "functions": "new functions",
    "mistakes": "typing mistakes",
}
# These are learned by heart: no value can be held out, so their first figure is for trained wordings in new mixes.
CLOSED = {"small talk", "identity", "facts", "sums to ten", "not told", "language", "one word"}


def is_right(model: ServedModel, talk: Conversation) -> tuple[bool, str]:
    """Return whether the last answer is exactly the expected one, and what was answered."""
    asked, expected = talk.split()
    found = model.reply(asked)
    return found == expected, written(found)


def written(answer: list[Turn]) -> str:
    """Return an answer as one text, calls with their names."""
    return " & ".join(f"{turn.metadata} {turn.text}".strip() for turn in answer)


def accuracy(model: ServedModel, kind: str, *, per_skill: int, failures: int) -> dict[str, tuple[int, int]]:
    """Return (right, asked) per skill; print up to ``failures`` wrong answers per skill."""
    found = {}
    for skill, talks in corpus.held_out_set(kind, per_skill=per_skill).items():
        right, shown = 0, 0
        for talk in talks:
            good, answer = is_right(model, talk)
            right += good
            if not good and shown < failures:
                shown += 1
                asked, expected = talk.split()
                told = " | ".join(turn.text for turn in asked if not turn.text.startswith(PREAMBLE))[-200:]
                print(f"wrong [{kind}] [{skill}] {told!r}: {answer!r}, expected {written(expected)!r}")
        found[skill] = (right, len(talks))
    return found


def table(results: dict[str, dict[str, tuple[int, int]]]) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| skill | " + " | ".join(KINDS[kind] for kind in results) + " |",
        "|---|" + "---:|" * len(results),
    ]
    skills = list(next(iter(results.values())))
    lines += [
        f"| {skill}{' †' if skill in CLOSED else ''} | "
        + " | ".join(_cell([result[skill]]) if skill in result else "" for result in results.values())
        + " |"
        for skill in skills
    ]
    lines.append("| **all** | " + " | ".join(_cell(list(result.values())) for result in results.values()) + " |")
    return "\n".join(lines)


def _cell(counts: list[tuple[int, int]]) -> str:
    right, asked = sum(one for one, _ in counts), sum(two for _, two in counts)
    return f"{right} of {asked} ({100 * right / asked:.0f} %)"


def decode_speed(model: ServedModel, *, tokens: int = 400) -> float:
    """Return tokens per second of single decode steps after a short prompt."""
    ids = model.prompt([Turn("user", "Hello")])
    model.pipeline.model.generate_next_token(ids, None, model.greedy, 0, len(ids))
    begun = time.perf_counter()
    for _ in range(tokens):
        past = len(ids)
        ids.append(ids[-1])
        model.pipeline.model.generate_next_token(ids, None, model.greedy, past, len(ids))
    return tokens / (time.perf_counter() - begun)


def evaluate(path: Path, *, per_skill: int = 60, failures: int = 0) -> None:
    """Print the accuracy table and the speed of a model file."""
    one_thread = use_one_thread()
    model = ServedModel(path)
    results = {kind: accuracy(model, kind, per_skill=per_skill, failures=failures) for kind in KINDS}
    print(table(results))
    threads = "one thread" if one_thread else "the threads chatglm-cpp chose"
    print(f"\n{path.stat().st_size} bytes; {decode_speed(model):.0f} tokens per second decoded on {threads}")

"""Accuracy of the model files as they are served: an answer counts when it is exactly right."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from tiny_glm import corpus
from tiny_glm.bpe import Tokenizer
from tiny_glm.container import Family as Number
from tiny_glm.container import read
from tiny_glm.conversation import Conversation, Source, Turn

from . import picture_talk
from .families import Family
from .pictures import draw, subject
from .served import Served, ServedVocabulary


@dataclass
class Score:
    """How many answers were right, and some that were wrong."""

    right: int = 0
    asked: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, question: str, answer: str, expected: str) -> None:
        """Count one answer."""
        self.asked += 1
        self.right += answer == expected
        if answer != expected:
            self.wrong.append(f"{question[-120:]!r}: {answer!r}, expected {expected!r}")

    def __str__(self) -> str:
        return f"{self.right} of {self.asked} ({100 * self.right / max(1, self.asked):.0f} %)"


def table(scores: dict[str, dict[str, Score]], failures: int) -> str:
    """Return the scores as a Markdown table, row by column, and some wrong answers above it."""
    columns = list(dict.fromkeys(column for row in scores.values() for column in row))
    lines = []
    for name, row in scores.items():
        for column, score in row.items():
            lines += [f"wrong [{name}, {column}] {one}" for one in score.wrong[:failures]]
    lines += ["", "| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, row in scores.items():
        lines.append(f"| {name} | " + " | ".join(str(row.get(column, "")) for column in columns) + " |")
    return "\n".join(lines)


def of_pictures(path: Path, *, per_kind: int, failures: int) -> str:
    """Return the table of a GLM-4V file."""
    model, tokenizer = Served(path), Tokenizer.from_text(_vocabulary(path))
    size = model.pipeline.model.config.vision.image_size
    scores: dict[str, dict[str, Score]] = {}
    sides = {
        "new pictures": (False, False),
        "unseen colour and shape together": (True, False),
        "unseen wording": (False, True),
    }
    for column, (new_pair, new_wording) in sides.items():
        source = Source(random.Random(f"2026/{column}"), new_wording=new_wording)
        for kind in picture_talk.KINDS:
            score = Score()
            for _ in range(per_kind):
                shown = subject(source.rng, held_out=new_pair)
                question, answer = picture_talk.exchange(source, kind, shown)
                ids = picture_prompt(tokenizer, [question])
                found = model.generate(ids, glm4_stops(tokenizer), picture=draw(source.rng, shown, size))
                score.add(f"{shown.colour} {shown.shape}: {question.text}", model.text(found), answer.text)
            scores.setdefault(f"{kind.name}, {'Chinese' if kind.chinese else 'English'}", {})[column] = score
    scores["all"] = {column: _sum([row[column] for row in scores.values()]) for column in sides}
    blind = Score()
    source = Source(random.Random("2026/blind"))
    for _ in range(per_kind):
        question, answer = picture_talk.blind(source)
        found = model.generate(tokenizer.prompt([question]), glm4_stops(tokenizer))
        blind.add(question.text, model.text(found), answer.text)
    scores["no picture there"] = {"new pictures": blind}
    return table(scores, failures)


def of_glm4_text(path: Path, *, per_skill: int, failures: int) -> str:
    """Return the table of a GLM-4 or GLM-4V file for the conversations of the GLM-4 corpus."""
    model, tokenizer = Served(path, 1024), Tokenizer.from_text(_vocabulary(path))
    scores: dict[str, dict[str, Score]] = {}
    for skill, talks in corpus.held_out_set("values", per_skill=per_skill).items():
        if any(turn.metadata for turn in talks[0].turns) or "tool" in skill or "call" in skill:
            continue
        score = scores.setdefault(skill, {}).setdefault("held-out values", Score())
        for talk in talks:
            found = model.generate(tokenizer.prompt(talk.turns[:-1]), glm4_stops(tokenizer))
            score.add(talk.turns[-2].text, model.text(found), talk.turns[-1].text)
    scores["all"] = {"held-out values": _sum([row["held-out values"] for row in scores.values()])}
    return table(scores, failures)


def of_talk(family: Family, path: Path, *, per_skill: int, failures: int) -> str:
    """Return the table of a ChatGLM file."""
    model = Served(path, 1024)
    vocabulary = ServedVocabulary.of(model)
    stops = {2, *(vocabulary.special.get(name, 2) for name in ("<|user|>", "<|observation|>", "<eop>"))}
    scores: dict[str, dict[str, Score]] = {}
    for column in ("held-out values", "held-out wording"):
        source = Source(random.Random(f"2026/{column}"), new_values="values" in column, new_wording="wording" in column)
        kept: dict[str, list[Conversation]] = {}
        for _ in range(per_skill * 60):
            talk = family.talk(source)
            if len(kept.setdefault(talk.skill, [])) < per_skill:
                kept[talk.skill].append(talk)
        for skill, talks in kept.items():
            score = scores.setdefault(skill, {}).setdefault(column, Score())
            for talk in talks:
                asked, expected = talk.turns[:-1], talk.turns[-1]
                found = model.text(model.generate(family.prompt(vocabulary, asked), stops))
                score.add(asked[-1].text, found, _expected(family, expected))
    scores["all"] = {
        column: _sum([row[column] for row in scores.values() if column in row])
        for column in ("held-out values", "held-out wording")
    }
    return table(scores, failures)


def picture_prompt(tokenizer: Tokenizer, turns: list[Turn]) -> list[int]:
    """Return GLM-4's prompt with a picture before the text of the first turn."""
    special = tokenizer.special
    ids = tokenizer.prompt(turns)
    at = 3 + len(tokenizer.encode("\n"))
    picture = [special["<|begin_of_image|>"], special["<|endoftext|>"], special["<|end_of_image|>"]]
    return [*ids[:at], *picture, *ids[at:]]


def glm4_stops(tokenizer: Tokenizer) -> set[int]:
    """Return the tokens that end an answer of GLM-4."""
    return {tokenizer.special[name] for name in ("<|endoftext|>", "<|user|>", "<|observation|>")}


def _expected(family: Family, turn: Turn) -> str:
    if family.number is not Number.CHATGLM3:
        return turn.text
    return f"{turn.metadata}\n {turn.text}".strip()


def _sum(scores: list[Score]) -> Score:
    return Score(sum(one.right for one in scores), sum(one.asked for one in scores))


def _vocabulary(path: Path) -> str:
    return read(path).tokenizer.decode()

"""Conversations as token ids in the three ChatGLM families, as chatglm.cpp and the models' own tokenizers write them.

A sample ends with what the assistant has to produce; only that counts in the loss, and a little of what a user says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from tiny_glm.conversation import Turn

from .training import Sample

END_OF_TEXT = 2  # </s>
BLANKS = re.compile(" {2,80}")


class Encoder(Protocol):
    """Text to ids."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""


class Vocabulary(Protocol):
    """What prompts are made of: pieces, and special tokens by name."""

    @property
    def pieces(self) -> Encoder:
        """Return the encoder of ordinary text."""

    @property
    def special(self) -> dict[str, int]:
        """Return the special tokens."""


def chatglm3(vocabulary: Vocabulary, turns: Sequence[Turn], read_weight: float) -> Sample:
    """Return ``[gMASK] sop``, then ``<|role|>{metadata}\\n`` and the text, each encoded on its own."""
    made, produced = Sample(), False
    made.add([vocabulary.special["[gMASK]"], vocabulary.special["sop"]], 0)
    for turn in turns:
        made.add([vocabulary.special[f"<|{turn.role}|>"]], float(produced))
        produced = turn.role == "assistant"
        weight = 1.0 if produced else read_weight * (turn.role == "user")
        made.add(vocabulary.pieces.encode(f"{turn.metadata}\n"), weight)
        made.add(vocabulary.pieces.encode(turn.text), weight)
    made.add([vocabulary.special["<|observation|>" if turns[-1].metadata else "<|user|>"]], 1.0)
    return made


def chatglm3_prompt(vocabulary: Vocabulary, turns: Sequence[Turn]) -> list[int]:
    """Return the ids of the turns and of the role that answers."""
    return [*chatglm3(vocabulary, turns, 0).ids[:-1], vocabulary.special["<|assistant|>"]]


def chatglm2_prompt(vocabulary: Vocabulary, turns: Sequence[Turn]) -> list[int]:
    """Return ``[gMASK] sop`` and the rounds, ``[Round 1]\\n\\n问：…\\n\\n答：…``, encoded as one text."""
    text = ""
    for at in range(0, len(turns), 2):
        text += f"[Round {at // 2 + 1}]\n\n问：{turns[at].text}\n\n答："
        text += "".join(f"{turn.text}\n\n" for turn in turns[at + 1 : at + 2])
    return [vocabulary.special["[gMASK]"], vocabulary.special["sop"], *vocabulary.pieces.encode(text)]


def chatglm2(vocabulary: Vocabulary, turns: Sequence[Turn], read_weight: float) -> Sample:
    """Return the prompt, the answer and ``</s>``."""
    made = Sample()
    made.add(chatglm2_prompt(vocabulary, turns[:-1]), read_weight)
    made.add([*vocabulary.pieces.encode(turns[-1].text), END_OF_TEXT], 1.0)
    return made


def chatglm_text(text: str) -> str:
    """Return a text with line breaks, tabs and runs of blanks as the pieces that stand for them."""
    text = text.replace("\n", "<n>").replace("\t", "<|tab|>")
    return BLANKS.sub(lambda found: f"<|blank_{len(found[0])}|>", text)


def chatglm_prompt(vocabulary: Vocabulary, turns: Sequence[Turn]) -> list[int]:
    """Return one question as it is, more as rounds, ``[Round 0]\\n问：…\\n答：…``; then ``[gMASK]<sop>``."""
    text = turns[0].text
    if len(turns) > 1:
        text = ""
        for at in range(0, len(turns), 2):
            text += f"[Round {at // 2}]\n问：{turns[at].text}\n答："
            text += "".join(f"{turn.text}\n" for turn in turns[at + 1 : at + 2])
    return [
        *vocabulary.pieces.encode(chatglm_text(text)),
        vocabulary.special["[gMASK]"],
        vocabulary.special["<sop>"],
    ]


def chatglm(vocabulary: Vocabulary, turns: Sequence[Turn], _: float) -> Sample:
    """Return the prompt, whose length is the mark, the answer and ``<eop>``; a prompt that sees itself has no loss."""
    made = Sample()
    made.add(chatglm_prompt(vocabulary, turns[:-1]), 0)
    made.mark = len(made.ids)
    answer = vocabulary.pieces.encode(chatglm_text(turns[-1].text))
    made.add([*answer, vocabulary.special["<eop>"]], 1.0)
    return made

"""Training on models/tiny_glm: words that answers seldom hold are copied; values that are held out are not."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))
from tiny_glm import bpe, corpus, words
from tiny_glm.conversation import BLANK, Conversation
from tiny_glm.seldom import Seldom
from tiny_glm.skills import marks, tool_results

OFTEN, SELDOM = " hello", " honest"
HELD_OUT = words.CITIES.held_out[0], words.CHINESE_CITIES.held_out[0]


def tokenizer(*pieces: str) -> bpe.Tokenizer:
    """Bytes, and the pieces as tokens of their own."""
    return bpe.Tokenizer([*bpe.BYTES, *(piece.encode() for piece in pieces)])


def said(tokens: bpe.Tokenizer, seldom: Seldom, question: str, answer: str) -> str:
    """The text of one exchange as training sees it."""
    talk = Conversation.exchange("repeat", question, answer)
    ids, weights = tokens.sample(seldom.fill(talk.turns), 0.03)
    seldom.note(ids, weights)
    text: str = tokens.decode(ids)
    return text


def test_a_blank_is_the_same_in_question_and_answer() -> None:
    tokens = tokenizer(OFTEN, SELDOM)
    seldom = Seldom(tokens, seed=1)
    for _ in range(50):
        question, answer = said(tokens, seldom, f"Repeat: {BLANK}!", f"{BLANK}!").strip().split("\n")
        assert question == f"Repeat: {answer}"
        assert BLANK not in answer


def test_blanks_are_filled_with_what_answers_have_seldom() -> None:
    tokens = tokenizer(OFTEN, SELDOM)
    seldom = Seldom(tokens, seed=1)
    for _ in range(1000):
        said(tokens, seldom, "Say hello", OFTEN * 10)
    filled = "".join(said(tokens, seldom, f"Repeat: {BLANK}", BLANK) for _ in range(400))
    assert filled.count(SELDOM) > 10
    assert filled.count(OFTEN) < filled.count(SELDOM) / 5


def test_a_word_is_written_as_it_stands_after_a_space_and_after_a_quotation_mark() -> None:
    tokens = tokenizer(SELDOM)
    seldom, quoted = Seldom(tokens, seed=1), ""
    while not quoted.startswith(SELDOM.strip()):
        question, answer = said(tokens, seldom, f'Repeat "{BLANK}"', f"This: {BLANK}").strip().split("\n")
        quoted = question.split('"')[1]
        assert quoted == quoted.strip()
        assert answer == f"This: {quoted}"


def test_no_value_that_is_held_out_fills_a_blank() -> None:
    tokens = tokenizer(*HELD_OUT, f"去{HELD_OUT[1]}", SELDOM)
    seldom = Seldom(tokens, seed=1)
    text = "".join(said(tokens, seldom, f"Repeat: {BLANK}", BLANK) for _ in range(200))
    assert SELDOM.strip() in text
    assert not any(value in text for value in HELD_OUT)


def test_no_blank_is_a_key_or_an_ending_that_is_held_out() -> None:
    tokens = tokenizer(*tool_results.KEYS.held_out, *marks.ENDS[False].held_out, SELDOM)
    seldom = Seldom(tokens, seed=1)
    filled = [said(tokens, seldom, f"Repeat: {BLANK}", BLANK).split(": ")[1].split("\n")[0] for _ in range(300)]
    assert any("message" in text for text in filled), "in another word it may stand"
    assert not {"message", "score", "boss"} & set(filled)


def test_only_training_has_blanks() -> None:
    def blanks(talks: list[Conversation]) -> int:
        return sum(BLANK in turn.text + turn.metadata for talk in talks for turn in talk.turns)

    assert blanks(list(islice(corpus.stream(3, blanks=True), 600)))
    assert not blanks(list(islice(corpus.stream(3), 600)))
    for kind in ("values", "wording", "functions", "mistakes"):
        made = corpus.held_out_set(kind, per_skill=5)
        assert not blanks([talk for talks in made.values() for talk in talks])
        assert Counter(map(len, made.values())) == {5: len(made)}

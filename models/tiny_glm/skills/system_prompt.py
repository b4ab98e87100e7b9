"""Following a system prompt: a persona, a fixed start or end of the answer, a language, one-word answers, told facts."""

from __future__ import annotations

from collections.abc import Callable

from .. import wordings, words
from ..conversation import Conversation, Source, Turn, Words
from . import counting, facts, identity, marks, memory, repeat, smalltalk, unknown

WORDINGS = wordings.load("system_prompt")

PLAIN = WORDINGS["plain"]
PERSONA = WORDINGS["persona"]
PERSONA_JOB = WORDINGS["persona_job"]
PERSONA_ZH = WORDINGS["persona_zh"]
JOB_ASKS = WORDINGS["job_asks"]
# By whether they are Chinese.
PREFIX = {False: WORDINGS["prefix"], True: WORDINGS["prefix_zh"]}
SUFFIX = {False: WORDINGS["suffix"], True: WORDINGS["suffix_zh"]}
IN_CHINESE = WORDINGS["in_chinese"]
IN_ENGLISH = WORDINGS["in_english"]
SHORT = WORDINGS["short"]
USER_NAME = WORDINGS["user_name"]
BOTH_LANGUAGES = (
    (identity.ASK_WHO, identity.ASK_WHO_ZH, identity.WHO, identity.WHO_ZH),
    (identity.ASK_NAME, identity.ASK_NAME_ZH, identity.NAME, identity.NAME_ZH),
    (identity.ASK_CAN, identity.ASK_CAN_ZH, identity.CAN, identity.CAN_ZH),
    (smalltalk.INTENTS[0][0], smalltalk.INTENTS[1][0], smalltalk.INTENTS[0][1], smalltalk.INTENTS[1][1]),
)


def anything(source: Source) -> Conversation:
    """Return a trained exchange of another skill; the system prompt is what is under test."""
    return source.choice((facts, facts, smalltalk, repeat, unknown, identity)).make(source.trained())


def make(source: Source) -> Conversation:
    """Return a conversation whose answer depends on its system prompt."""
    maker = source.choice((*(prefix, suffix) * 4, *(language,) * 5, *(persona,) * 3, *(short,) * 2, user_name))
    return maker(source)


def make_hard(source: Source) -> Conversation:
    """Return a conversation of the kinds that are learned slowest."""
    return source.choice((*(prefix, language, user_name) * 2, *(persona, suffix, short) * 3))(source)


def earlier(source: Source) -> int:
    """Return how many exchanges stand between the system prompt and the question under test."""
    return source.choice((0, 0, 0, 0, 0, 1, 1, 2, 3))


def plain_history(source: Source, *, telling: bool) -> list[Turn]:
    """Return exchanges that a persona does not change; ``telling`` lets users speak of themselves."""
    turns: list[Turn] = []
    for _ in range(earlier(source)):
        tells = telling and source.chance(0.3)
        turns += (memory.make_telling(source.trained()) if tells else anything_but_identity(source)).turns
    return turns


def persona(source: Source) -> Conversation:
    """A persona, right after the system prompt or later in the conversation."""
    return in_persona(source).after(plain_history(source, telling=True))


def in_persona(source: Source) -> Conversation:
    """A name, sometimes a job; half of the questions ask for it, the rest are answered as ever."""
    if source.chance(0.3):
        name = invented(source, words.CHINESE_NAMES)
        system = source.say(PERSONA_ZH, x=name)
        talk = Conversation.exchange(
            "persona", source.ask(source.choice((identity.ASK_WHO_ZH, identity.ASK_NAME_ZH))), f"我是{name}。"
        )
        return talk.under(system)
    name, job = invented(source, words.NAMES), invented(source, words.JOBS)
    has_job = source.chance(0.35)
    system = source.say(PERSONA_JOB if has_job else PERSONA, x=name, job=job)
    if has_job and source.chance(0.4):
        return Conversation.exchange("persona", source.ask(JOB_ASKS), f"I am a {job}.").under(system)
    if source.chance(0.15):
        return Conversation("persona", anything_but_identity(source).turns).under(system)
    who = source.chance(0.5)
    answer = f"I am {name}, a {job}." if has_job and who else f"I am {name}." if who else f"My name is {name}."
    return Conversation.exchange("persona", source.ask(identity.ASK_WHO if who else identity.ASK_NAME), answer).under(
        system
    )


def invented(source: Source, values: Words) -> str:
    """Return a value of the list or, often, an invented one."""
    return memory.odd_value(source, values) if not source.new_values and source.chance(0.5) else source.value(values)


def anything_but_identity(source: Source) -> Conversation:
    """Return an exchange that a persona does not change."""
    return source.choice((facts, smalltalk, repeat, unknown, counting)).make(source.trained())


def _marked(
    source: Source,
    skill: str,
    phrases: dict[bool, tuple[str, ...]],
    known: dict[bool, Words],
    join: Callable[[str, str], str],
) -> Conversation:
    chinese = source.chance(0.25)
    mark = marks.draw(source, known[chinese], chinese=chinese)
    turns = [Turn("system", source.say(phrases[chinese], x=mark))]
    for one in (*(anything(source) for _ in range(earlier(source))), anything(source)):
        turns += [*one.turns[:-1], Turn("assistant", join(one.turns[-1].text, mark))]
    return Conversation(skill, turns)


def prefix(source: Source) -> Conversation:
    """Every answer starts with a given text."""
    return _marked(source, "prefix", PREFIX, marks.STARTS, lambda answer, mark: f"{mark} {answer}")


def suffix(source: Source) -> Conversation:
    """Every answer ends with a given text."""
    return _marked(source, "suffix", SUFFIX, marks.ENDS, lambda answer, mark: f"{answer} {mark}")


def language(source: Source) -> Conversation:
    """The answer is in the language that the system prompt names, whatever the question's language."""
    chinese = source.chance(0.5)
    turns = [Turn("system", source.say(IN_CHINESE if chinese else IN_ENGLISH))]
    for _ in range(1 + earlier(source)):
        turns += in_language(source.trained(), chinese=chinese)
    return Conversation("language", turns)


def in_language(source: Source, *, chinese: bool) -> list[Turn]:
    """Return a question in either language and its answer in the given one."""
    if source.chance(0.3):
        asks, asks_zh, answer, answer_zh = source.choice(BOTH_LANGUAGES)
        question = source.ask(asks_zh if source.chance(0.4) else asks)
        return [Turn("user", question), Turn("assistant", answer_zh if chinese else answer)]
    fact = facts.pick(source)
    while fact.other is None:
        fact = facts.pick(source)
    answer = fact.answer if fact.chinese == chinese else fact.other
    return [Turn("user", fact.ask(source)), Turn("assistant", answer)]


def short(source: Source) -> Conversation:
    """The answer is one word."""
    turns = [Turn("system", source.say(SHORT))]
    for _ in range(1 + earlier(source)):
        fact = facts.pick(source)
        while fact.chinese:
            fact = facts.pick(source)
        turns += [Turn("user", fact.ask(source.trained())), Turn("assistant", fact.short)]
    return Conversation("one word", turns)


def user_name(source: Source) -> Conversation:
    """The system prompt names the user."""
    name = memory.draw(source, memory.ENGLISH[0])
    talk = Conversation("persona", memory.asked(source.trained(), memory.ENGLISH[0], name))
    return talk.after(plain_history(source, telling=False)).under(source.say(USER_NAME, x=name))

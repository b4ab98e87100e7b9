"""Following a system prompt: a persona, a fixed start or end of the answer, a language, one-word answers, told facts."""

from __future__ import annotations

from .. import wordings, words
from ..conversation import Conversation, Source, Turn, Words, bare
from . import counting, facts, identity, memory, repeat, smalltalk, unknown

WORDINGS = wordings.load("system_prompt")

PLAIN = WORDINGS["plain"]
PERSONA = WORDINGS["persona"]
PERSONA_JOB = WORDINGS["persona_job"]
PERSONA_ZH = WORDINGS["persona_zh"]
JOB_ASKS = WORDINGS["job_asks"]
PREFIX = WORDINGS["prefix"]
PREFIX_ZH = WORDINGS["prefix_zh"]
SUFFIX = WORDINGS["suffix"]
SUFFIX_ZH = WORDINGS["suffix_zh"]
IN_CHINESE = WORDINGS["in_chinese"]
IN_ENGLISH = WORDINGS["in_english"]
SHORT = WORDINGS["short"]
USER_NAME = WORDINGS["user_name"]
MARKS = Words(
    "Ahoy!|Sir,|Well,|Yes!|Dear friend,|Answer:|Beep!|Hmm,|Listen:|Aha!|OK.|Reply:|Note:|Friend,|Bot:|[bot]|***|Meow!|Captain,|Hello!|Hi!|Indeed,|Sure!|Look:|Right,|Result:|>>|Oh!|Hooray!|Boss,|Moo!|AI:|Greetings!|Madam,|Absolutely!|Behold!|Dear user,|Good day!|My answer:|In short:|Attention:|Psst,|Well now,|Arr!|Quack!|Fact:|Friends,|Let me see:|Ha!|Ladies and gentlemen,|Tada!|Okay,|Honestly,|From the heart:|Sir or madam,|Here you go:|Teacher says:|Ding!|~|==>|(bot)|Robot:|Howdy!|Wow!|As you wish,|With pleasure:|My lord,|Honey,|Darling,|Hear me:|Breaking news:|Surely,|Of course!|Q&A:|Ho ho ho!|Yo,|Aye aye,|Bonjour!|Message:|To be honest,|The bot says|So,|Thanks for asking!|Step one:",
    separator="|",
)
ENDS = Words(
    "over|Meow!|Have a nice day.|Bye!|The end.|OK?|Beep!|Over and out.|That is all.|Amen.|sir|captain|***|Thank you.|Any questions?|Yours, Bob|Cheers!|Done.|Ahoy!|my friend|!!!|Stop.|Good luck!|boss|Roger.|Woof!|See you.|Peace.|Enjoy!|madam|:)|😀|I hope that helps.|Over to you.|Good night.|Cut!|Best wishes|Yours truly, Tiny|Take care.|That is it, folks!|End of message.|Love, Grandma|Quack!|Arr!|Ha ha!|Period.|Next!|What else?|Is that clear?|No offence.|Just saying.|Believe me.|Your servant|Ask me more!|~|<end>|[end]|(end)|-- bot|Your bot|Yours, the robot|And that is that.|Ready for more?|Right?|Okay?|Got it?|Sleep well.|Be safe.|Keep smiling!|Bravo!|Tada!|Sincerely, me|P.S. Be kind.|Until next time!|Moo!|Miaow.|Peace and love.|Class dismissed.|Hugs!|xoxo|Up and away!|Now or never.|Sir, yes sir!",
    separator="|",
)
MARKS_ZH = Words(
    "好的，|回答：|喵！|主人，|您好！|嗯，|朋友，|听着：|答：|是的，|哈哈，|老板，|汪！|亲爱的，|请听：|船长，|听好了，|收到！|报告：|回复：|亲，|大家好，|同学，|老师，|当然，|没问题，|这样说吧：|机器人：|咕咕！|哎呀，|哇！|各位，|长官，|陛下，|告诉你，|结果：",
    separator="|",
)
ENDS_ZH = Words(
    "喵|谢谢！|完毕。|主人。|再见！|祝你愉快。|汪|就是这样。|朋友。|老板。|还有问题吗？|加油！|辛苦了。|好不好？|完了。|船长。|么么哒。|咩|咕咕|以上。|请放心。|晚安。|保重！|明白吗？|对吧？|结束。|再会。|爱你。|长官。|陛下。|同学。|亲。|机器人敬上。|下次见！|祝好。|哈哈！",
    separator="|",
)
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
    phrases: tuple[str, ...],
    phrases_zh: tuple[str, ...],
    marks: Words,
    marks_zh: Words,
    join,
) -> Conversation:
    chinese = source.chance(0.25)
    mark = source.value(marks_zh if chinese else marks)
    known = marks_zh if chinese else marks
    kept_out = {bare(one) for one in known.held_out}
    while not source.new_values and (bare(mark) in kept_out or (mark in known.train and source.chance(0.75))):
        mark = odd_mark(source, mark, chinese=chinese)
    system = source.say(phrases_zh if chinese else phrases, x=mark)
    turns = [Turn("system", system)]
    for one in (*(anything(source) for _ in range(earlier(source))), anything(source)):
        turns += [*one.turns[:-1], Turn("assistant", join(one.turns[-1].text, mark))]
    return Conversation(skill, turns)


def odd_mark(source: Source, mark: str, *, chinese: bool) -> str:
    """Return an invented text to put before or after the answers, with the end of a known one."""
    text = source.choice(ODD_MARKS_ZH if chinese else ODD_MARKS)(source)
    return text + mark[-1] if text[-1].isalnum() and mark[-1] in ",.!:?，。！：？" else text


def _in_signs(source: Source) -> str:
    signs = source.choice(("[{}]", "*{}*", "({})", "<{}>", "{}-{}", "# {}"))
    return signs.format(*(words.odd_word(source.rng) for _ in range(2)))


def _signed(source: Source) -> str:
    """Return two words, such as are written under letters."""
    rng = source.rng
    first, second = (
        source.choice((words.odd_word(rng), source.choice(words.COMMON), source.value(words.NAMES))) for _ in range(2)
    )
    return first.capitalize() + source.choice((", ", ", ", " ", ": ")) + second.capitalize()


def _plain_words(source: Source) -> str:
    text = " ".join(source.choice(source.choice((words.PARTS, words.COMMON))) for _ in range(source.rng.randint(1, 5)))
    return text.upper() if source.chance(0.1) else text[:1].upper() + text[1:] if source.chance(0.6) else text


def _span(source: Source) -> str:
    text = words.span(source)
    return text.upper() if source.chance(0.1) else text[:1].upper() + text[1:] if source.chance(0.6) else text


def _joined(source: Source) -> str:
    """Return two or three words with a light one between them."""
    rng = source.rng
    text = rng.choice((words.odd_word(rng), rng.choice(words.PARTS), rng.choice(words.COMMON)))
    for _ in range(rng.choice((1, 1, 2))):
        joint = rng.choice((" and ", " and ", " or ", " of ", " the ", " to ", " is ", ", ", " & ", "-", ": "))
        text += joint + rng.choice(
            (words.odd_word(rng, capital=False), rng.choice(words.PARTS), rng.choice(words.COMMON))
        )
    return text[:1].upper() + text[1:]


def _sound(source: Source) -> str:
    """Return a sound, such as ``Brr``, ``Shh`` or ``tatatata``."""
    rng = source.rng
    text = (
        rng.choice(words.ONSETS)
        + rng.choice(("", "", *words.VOWELS[:5]))
        + rng.choice("bfghklmnprstwz") * rng.randint(1, 3)
    )
    text = text * 2 if source.chance(0.3) else text
    return text.upper() if source.chance(0.1) else text.capitalize() if source.chance(0.7) else text


def _characters(source: Source) -> str:
    return "".join(source.choice(words.CHARACTERS) for _ in range(source.rng.randint(2, 6)))


def _odd(source: Source) -> str:
    return words.odd_phrase(source.rng, capital=source.chance(0.6))


ODD_MARKS = (
    _in_signs,
    lambda source: words.odd_code(source.rng),
    _signed,
    _signed,
    repeat.english_text,
    *(_plain_words, _odd) * 3,
    *(_joined, _sound) * 2,
    *(_span,) * 6,
)
ODD_MARKS_ZH = (
    *(lambda source: words.odd_chinese(source.rng), _characters) * 2,
    repeat.chinese_text,
    *(lambda source: words.span(source, chinese=True),) * 3,
)


def prefix(source: Source) -> Conversation:
    """Every answer starts with a given text."""
    return _marked(source, "prefix", PREFIX, PREFIX_ZH, MARKS, MARKS_ZH, lambda answer, mark: f"{mark} {answer}")


def suffix(source: Source) -> Conversation:
    """Every answer ends with a given text."""
    return _marked(source, "suffix", SUFFIX, SUFFIX_ZH, ENDS, ENDS_ZH, lambda answer, mark: f"{answer} {mark}")


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

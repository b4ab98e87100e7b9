"""Texts that answers start or end with when a system prompt wants it: known ones, and invented ones for training."""

from __future__ import annotations

from .. import words
from ..conversation import Source, Words, bare
from . import repeat

# By whether they are Chinese.
STARTS = {
    False: Words(
        "Ahoy!|Sir,|Well,|Yes!|Dear friend,|Answer:|Beep!|Hmm,|Listen:|Aha!|OK.|Reply:|Note:|Friend,|Bot:|[bot]|***|Meow!|Captain,|Hello!|Hi!|Indeed,|Sure!|Look:|Right,|Result:|>>|Oh!|Hooray!|Boss,|Moo!|AI:|Greetings!|Madam,|Absolutely!|Behold!|Dear user,|Good day!|My answer:|In short:|Attention:|Psst,|Well now,|Arr!|Quack!|Fact:|Friends,|Let me see:|Ha!|Ladies and gentlemen,|Tada!|Okay,|Honestly,|From the heart:|Sir or madam,|Here you go:|Teacher says:|Ding!|~|==>|(bot)|Robot:|Howdy!|Wow!|As you wish,|With pleasure:|My lord,|Honey,|Darling,|Hear me:|Breaking news:|Surely,|Of course!|Q&A:|Ho ho ho!|Yo,|Aye aye,|Bonjour!|Message:|To be honest,|The bot says|So,|Thanks for asking!|Step one:",
        separator="|",
    ),
    True: Words(
        "好的，|回答：|喵！|主人，|您好！|嗯，|朋友，|听着：|答：|是的，|哈哈，|老板，|汪！|亲爱的，|请听：|船长，|听好了，|收到！|报告：|回复：|亲，|大家好，|同学，|老师，|当然，|没问题，|这样说吧：|机器人：|咕咕！|哎呀，|哇！|各位，|长官，|陛下，|告诉你，|结果：",
        separator="|",
    ),
}
ENDS = {
    False: Words(
        "over|Meow!|Have a nice day.|Bye!|The end.|OK?|Beep!|Over and out.|That is all.|Amen.|sir|captain|***|Thank you.|Any questions?|Yours, Bob|Cheers!|Done.|Ahoy!|my friend|!!!|Stop.|Good luck!|boss|Roger.|Woof!|See you.|Peace.|Enjoy!|madam|:)|😀|I hope that helps.|Over to you.|Good night.|Cut!|Best wishes|Yours truly, Tiny|Take care.|That is it, folks!|End of message.|Love, Grandma|Quack!|Arr!|Ha ha!|Period.|Next!|What else?|Is that clear?|No offence.|Just saying.|Believe me.|Your servant|Ask me more!|~|<end>|[end]|(end)|-- bot|Your bot|Yours, the robot|And that is that.|Ready for more?|Right?|Okay?|Got it?|Sleep well.|Be safe.|Keep smiling!|Bravo!|Tada!|Sincerely, me|P.S. Be kind.|Until next time!|Moo!|Miaow.|Peace and love.|Class dismissed.|Hugs!|xoxo|Up and away!|Now or never.|Sir, yes sir!",
        separator="|",
    ),
    True: Words(
        "喵|谢谢！|完毕。|主人。|再见！|祝你愉快。|汪|就是这样。|朋友。|老板。|还有问题吗？|加油！|辛苦了。|好不好？|完了。|船长。|么么哒。|咩|咕咕|以上。|请放心。|晚安。|保重！|明白吗？|对吧？|结束。|再会。|爱你。|长官。|陛下。|同学。|亲。|机器人敬上。|下次见！|祝好。|哈哈！",
        separator="|",
    ),
}


def draw(source: Source, known: Words, *, chinese: bool) -> str:
    """Return a known text or, mostly in training, an invented one, but none that is held out."""
    mark = source.value(known)
    kept_out = {bare(one) for one in known.held_out}
    while not source.new_values and (bare(mark) in kept_out or (mark in known.train and source.chance(0.75))):
        mark = _odd(source, mark, chinese=chinese)
    return mark


def _odd(source: Source, mark: str, *, chinese: bool) -> str:
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
    """Return a sound, such as ``Brr`` or ``Shh``."""
    rng = source.rng
    text = (
        rng.choice(words.ONSETS)
        + rng.choice(("", "", *words.VOWELS[:5]))
        + rng.choice("bfghklmnprstwz") * rng.randint(1, 3)
    )
    return text.upper() if source.chance(0.1) else text.capitalize()


def _characters(source: Source) -> str:
    return "".join(source.choice(words.CHARACTERS) for _ in range(source.rng.randint(2, 6)))


def _odd_words(source: Source) -> str:
    return words.odd_phrase(source.rng, capital=source.chance(0.6))


ODD_MARKS = (
    _in_signs,
    lambda source: words.odd_code(source.rng),
    _signed,
    _signed,
    repeat.english_text,
    *(_plain_words, _odd_words) * 3,
    *(_joined, _sound) * 2,
    *(_span,) * 6,
)
ODD_MARKS_ZH = (
    *(lambda source: words.odd_chinese(source.rng), _characters) * 2,
    repeat.chinese_text,
    *(lambda source: words.span(source, chinese=True),) * 3,
)

"""Values of the parameters of functions: as the user says them and as the call passes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .. import wordings, words
from ..conversation import BLANK, Source, Words
from . import repeat, unknown

DAYS = ("today", "tomorrow", "on Monday", "on Friday", "on Sunday", "next week", "tonight")
DAYS_ZH = ("今天", "明天", "后天", "星期一", "星期五", "周末")
CURRENCIES = wordings.words("USD EUR GBP JPY CNY CHF CAD AUD INR dollars euros pounds yen yuan rupees")
LANGUAGES = wordings.words(
    "French German Spanish Italian Chinese Japanese Korean Russian Dutch Latin Greek Turkish Arabic"
)
LANGUAGES_ZH = wordings.words("英语 法语 德语 日语 韩语 俄语 西班牙语 中文 意大利语")
SYMBOLS = ("AAPL", "GOOG", "MSFT", "TSLA", "AMZN", "NVDA", "IBM")
FAMOUS = wordings.words(
    """San_Francisco San_Francisco Paris London Tokyo Beijing Shanghai Rome Berlin Boston New_York
    San_Francisco,_CA San_Francisco,_CA New_York,_NY Boston,_MA Paris,_France Tokyo,_Japan London,_UK"""
)
FAMOUS_ZH = wordings.words("北京 上海 广州 深圳 东京 巴黎")
ROOMS = Words(
    "kitchen|bedroom|bathroom|living room|hall|garage|office|garden|cellar|attic|hallway|dining room|nursery",
    separator="|",
)
ROOMS_ZH = Words("厨房 客厅 卧室 浴室 书房 车库 阳台 走廊 餐厅 花园 地下室")
TASKS = Words(
    """call {name}|buy {food}|feed the {pet}|clean the {thing}|water the flowers|go to bed|drink water|write to {name}|
    fix the {thing}|pay the bill|meet {name}|cook {food}|wash the {thing}|leave the house|take a break|read the book|
    pick up {name}|paint the {thing}""",
    separator="|",
)
TASKS_ZH = Words(
    "给{name}打电话|买{food}|喂{pet}|打扫房间|喝水|吃药|开会|写作业|接{name}|做{food}|睡觉|跑步", separator="|"
)
UNITS_ZH = {"celsius": "摄氏度", "fahrenheit": "华氏度"}
STATES_ZH = {"on": "打开", "off": "关掉"}


@dataclass(frozen=True)
class Value:
    """A value as the user says it and as the call passes it."""

    shown: str
    passed: object


Draw = Callable[[Source, bool], str]


def listed(english: Words, chinese: Words) -> Draw:
    """Draw from a list of either language, often an invented word."""

    def text(source: Source, in_chinese: bool) -> str:
        values = chinese if in_chinese else english
        if source.new_values or not source.chance(0.4):
            return source.value(values)
        if source.blank(0.3):
            return BLANK
        if in_chinese:
            return words.odd_chinese(source.rng)
        return words.odd_phrase(source.rng, capital=values.train[0][0].isupper())

    return text


CITIES = listed(words.CITIES, words.CHINESE_CITIES)


def _city(source: Source, chinese: bool) -> str:
    """Draw a city; those that examples ask for come more often."""
    if not source.new_values and source.chance(0.25):
        return source.choice(FAMOUS_ZH if chinese else FAMOUS).replace("_", " ")
    return CITIES(source, chinese)


def _room(source: Source, chinese: bool) -> str:
    return BLANK if source.blank(0.3) else source.value(ROOMS_ZH if chinese else ROOMS)


def _clock(source: Source, chinese: bool) -> str:
    hour, minute = source.rng.randint(0, 23), source.choice((0, 0, 5, 10, 15, 20, 30, 45))
    if chinese:
        return f"{hour}点{minute}分" if minute else f"{hour}点"
    half = f"{hour % 12 + 1} {source.choice(('am', 'pm'))}"
    return source.choice((f"{hour}:{minute:02}", half, f"{hour:02}:{minute:02}"))


def _task(source: Source, chinese: bool) -> str:
    if source.blank(0.4):
        return _odd_task(source, chinese=chinese)
    w = words
    lists = (w.NAMES, w.FOODS, w.ANIMALS, w.THINGS)
    if chinese:
        lists = (w.CHINESE_NAMES, w.CHINESE_FOODS, w.CHINESE_ANIMALS, w.CHINESE_THINGS)
    name, food, pet, thing = (source.value(one) for one in lists)
    return source.value(TASKS_ZH if chinese else TASKS).format(name=name, food=food, pet=pet, thing=thing)


def _odd_task(source: Source, *, chinese: bool) -> str:
    """Return what nobody would do: any word, often with a known thing or name after it."""
    first = words.odd_chinese(source.rng) if chinese else source.choice(words.COMMON)
    first = BLANK if source.blank(0.6) else first
    if source.chance(0.4):
        return first
    joint = "" if chinese else source.choice((" ", " the ", " to ", " a ", " with "))
    lists = (words.CHINESE_THINGS, words.CHINESE_NAMES) if chinese else (words.THINGS, words.NAMES)
    return f"{first}{joint}{source.value(source.choice(lists))}"


def _sentence(source: Source, chinese: bool) -> str:
    if not source.new_values and source.chance(0.25):
        return words.span(source, chinese=chinese)
    return (repeat.chinese_text(source) if chinese else repeat.english_text(source)).rstrip("?!.")


def _topic(source: Source, chinese: bool) -> str:
    kind = source.rng.random()
    if not source.new_values and source.chance(0.2):
        return words.span(source, chinese=chinese)
    if chinese:
        return source.value(unknown.TOPICS_ZH) if kind < 0.5 else words.odd_chinese(source.rng)
    if kind < 0.4:
        return source.value(unknown.TOPICS)
    if kind < 0.7:
        return words.odd_phrase(source.rng, capital=source.chance(0.4))
    return f"{source.value(words.ADJECTIVES)} {source.value(words.THINGS)}s"


def _sum(source: Source, _: bool) -> str:
    text = str(source.rng.randint(0, 99))
    for _ in range(source.choice((1, 1, 2))):
        text += source.choice((" + ", " - ", " * ", " / ")) + str(source.rng.randint(0, source.choice((9, 99, 999))))
    return text.replace(" ", "") if source.chance(0.3) else text


def _order(source: Source, _: bool) -> str:
    return words.odd_code(source.rng) if source.chance(0.6) else str(source.rng.randint(100, 99999))


def _symbol(source: Source, _: bool) -> str:
    if not source.new_values and source.chance(0.3):
        return source.choice(SYMBOLS)
    return "".join(source.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(source.rng.randint(2, 5)))


def anything(source: Source, chinese: bool) -> str:
    """Return a value of any kind for a function that was made up: a word, a name, a number."""
    if source.chance(0.2):
        return str(source.rng.randint(0, 9999))
    if not source.new_values and source.chance(0.2):
        return words.span(source, chinese=chinese)
    lists = (words.THINGS, words.NAMES, words.CITIES)
    if chinese:
        lists = (words.CHINESE_THINGS, words.CHINESE_NAMES, words.CHINESE_CITIES)
    if source.chance(0.5):
        return source.value(source.choice(lists))
    return words.odd_chinese(source.rng) if chinese else words.odd_word(source.rng)


TEXTS: dict[str, Draw] = {
    "city": _city,
    "name": listed(words.NAMES, words.CHINESE_NAMES),
    "thing": listed(words.THINGS, words.CHINESE_THINGS),
    "room": _room,
    "language": lambda source, chinese: source.choice(LANGUAGES_ZH if chinese else LANGUAGES),
    "currency": lambda source, _: source.choice(CURRENCIES),
    "clock": _clock,
    "task": _task,
    "sentence": _sentence,
    "topic": _topic,
    "sum": _sum,
    "order": _order,
    "symbol": _symbol,
    "anything": anything,
}


def draw(source: Source, kind: str, *, chinese: bool) -> Value:
    """Return a value of a kind of :data:`TEXTS`, a number (``number LOW HIGH``), a day, a unit or a state."""
    if kind in TEXTS:
        text = TEXTS[kind](source, chinese)
        return Value(text, text)
    if kind == "day":
        day = source.choice(DAYS_ZH if chinese else DAYS)
        return Value(day, day.removeprefix("on "))
    if kind == "unit":
        unit = source.choice(tuple(UNITS_ZH))
        return Value(UNITS_ZH[unit] if chinese else source.choice((unit, unit.capitalize())), unit)
    if kind == "state":
        state = source.choice(tuple(STATES_ZH))
        return Value(STATES_ZH[state] if chinese else state, state)
    _, low, high = kind.split()
    number = source.rng.randint(int(low), max(int(low), min(int(high), source.choice((9, 99, int(high))))))
    return Value(str(number), number)

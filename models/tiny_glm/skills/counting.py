"""Counting up and down, listing members of a kind, counting what is listed, comparing numbers, a story."""

from __future__ import annotations

from .. import wordings, words
from ..conversation import Conversation, Source

WORDINGS = wordings.load("counting")

NUMBER_WORDS = wordings.words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
)
NUMBERS_ZH = wordings.words("零 一 二 三 四 五 六 七 八 九 十")
COUNT_TO = WORDINGS["count_to"]
COUNT_TO_ZH = WORDINGS["count_to_zh"]
COUNT_FROM = WORDINGS["count_from"]
COUNT_FROM_ZH = WORDINGS["count_from_zh"]
COUNT_DOWN = WORDINGS["count_down"]
COUNT_DOWN_ZH = WORDINGS["count_down_zh"]
KINDS = {
    "fruit": ("fruits", "Apple Banana Orange Pear Grape"),
    "colour": ("colours", "Red Blue Green Yellow Black"),
    "color": ("colors", "Red Blue Green Yellow Black"),
    "animal": ("animals", "Dog Cat Horse Lion Elephant"),
    "planet": ("planets", "Mercury Venus Earth Mars Jupiter"),
    "country": ("countries", "France Germany China Japan Brazil"),
    "city": ("cities", "Paris London Berlin Beijing Tokyo"),
    "vegetable": ("vegetables", "Carrot Potato Tomato Onion Cabbage"),
    "day": ("days of the week", "Monday Tuesday Wednesday Thursday Friday"),
    "month": ("months", "January February March April May"),
    "sport": ("sports", "Football Tennis Basketball Swimming Cycling"),
    "job": ("jobs", "Teacher Doctor Baker Farmer Pilot"),
    "bird": ("birds", "Eagle Owl Crow Swan Duck"),
    "drink": ("drinks", "Water Tea Coffee Milk Juice"),
    "tree": ("trees", "Oak Pine Apple Birch Palm"),
    "metal": ("metals", "Iron Gold Silver Copper Tin"),
    "language": ("languages", "English Chinese French German Spanish"),
    "instrument": ("instruments", "Piano Guitar Violin Drum Flute"),
    "shape": ("shapes", "Circle Square Triangle Star Cube"),
}
LIST = WORDINGS["list"]
KINDS_ZH = {
    "水果": "苹果 香蕉 橙子 梨 葡萄",
    "颜色": "红色 蓝色 绿色 黄色 黑色",
    "动物": "狗 猫 马 狮子 大象",
    "国家": "法国 德国 中国 日本 巴西",
    "城市": "巴黎 伦敦 柏林 北京 东京",
    "蔬菜": "胡萝卜 土豆 西红柿 洋葱 白菜",
    "运动": "足球 网球 篮球 游泳 骑车",
    "职业": "老师 医生 厨师 农民 飞行员",
    "行星": "水星 金星 地球 火星 木星",
}
LIST_ZH = WORDINGS["list_zh"]
HOW_MANY = WORDINGS["how_many"]
HOW_MANY_ZH = WORDINGS["how_many_zh"]
BIGGER = WORDINGS["bigger"]
BIGGER_ZH = WORDINGS["bigger_zh"]
STORY = WORDINGS["story"]
STORY_ANY = WORDINGS["story_any"]
STORY_TEXT = "Once upon a time there was a little {x}. The {x} lived near a river and wanted to see the sea. One day the {x} followed the river, hill after hill. In the evening the {x} saw the sea and was happy. Then the {x} went home and told everybody about it."
STORY_ZH = WORDINGS["story_zh"]
STORY_ANY_ZH = WORDINGS["story_any_zh"]
STORY_TEXT_ZH = "从前有一只小{x}。小{x}住在河边，很想看大海。有一天，小{x}沿着河走，翻过一座座小山。傍晚，小{x}看到了大海，非常开心。后来，小{x}回家把这件事告诉了大家。"


def make(source: Source) -> Conversation:
    """Return one task of this family."""
    task = source.choice((count, count, list_kind, how_many, how_many, bigger, bigger, bigger, story))
    question, answer = task(source, chinese=source.chance(0.3))
    return Conversation.exchange("lists and stories" if task in (list_kind, story) else "counting", question, answer)


def make_hard(source: Source) -> Conversation:
    """Return one of the tasks that are learned slowest."""
    task = source.choice((count, how_many, how_many))
    return Conversation.exchange("counting", *task(source, chinese=source.chance(0.3)))


def count(source: Source, *, chinese: bool) -> tuple[str, str]:
    """Count up from one, up from elsewhere, or down; at most 20."""
    last = source.rng.randint(2, 20)
    kind = source.rng.random()
    shown = (
        NUMBER_WORDS[last]
        if not chinese and source.chance(0.35)
        else NUMBERS_ZH[last]
        if chinese and last <= 10 and source.chance(0.35)
        else str(last)
    )
    if kind < 0.45:
        return source.ask(COUNT_TO_ZH if chinese else COUNT_TO, n=shown), ", ".join(map(str, range(1, last + 1)))
    if kind < 0.75:
        first = source.rng.randint(1, last - 1)
        return source.ask(COUNT_FROM_ZH if chinese else COUNT_FROM, a=first, n=last), ", ".join(
            map(str, range(first, last + 1))
        )
    return source.ask(COUNT_DOWN_ZH if chinese else COUNT_DOWN, n=shown), ", ".join(map(str, range(last, 0, -1)))


def list_kind(source: Source, *, chinese: bool) -> tuple[str, str]:
    """List two to five members of a closed set, one a line."""
    number = source.rng.randint(2, 5)
    if chinese:
        kind = source.choice(sorted(KINDS_ZH))
        members, question = (
            KINDS_ZH[kind].split(),
            source.ask(LIST_ZH, n=source.choice((str(number), NUMBERS_ZH[number] if number != 2 else "两")), kind=kind),
        )
    else:
        plural, text = KINDS[source.choice(sorted(KINDS))]
        members, question = (
            text.split(),
            source.ask(LIST, n=source.choice((str(number), NUMBER_WORDS[number])), kinds=plural),
        )
    return question, "\n".join(f"{at}. {member}" for at, member in enumerate(members[:number], 1))


def how_many(source: Source, *, chinese: bool) -> tuple[str, str]:
    """Count one to seven things that the user lists."""
    number = source.rng.randint(1, 7)
    values = words.CHINESE_THINGS if chinese else source.choice((words.THINGS, words.ANIMALS, words.COLOURS))
    odd = not source.new_values and source.chance(0.4)
    listed = [_odd_thing(source, chinese=chinese) if odd else source.value(values) for _ in range(number)]
    if source.chance(0.3):
        listed = source.rng.choices(listed[:3], k=number)  # the same things more than once
    if chinese:
        return source.ask(HOW_MANY_ZH, x="、".join(listed)), f"一共有 {number} 个。"
    return source.ask(HOW_MANY, x=", ".join(listed)), "There is 1." if number == 1 else f"There are {number}."


def _odd_thing(source: Source, *, chinese: bool) -> str:
    return words.odd_chinese(source.rng) if chinese else words.odd_phrase(source.rng, capital=False)


def bigger(source: Source, *, chinese: bool) -> tuple[str, str]:
    """Compare two numbers below 100."""
    top = source.choice((10, 20, 100))
    first, second = source.rng.sample(range(top), 2)
    most = max(first, second)
    if chinese:
        return source.ask(BIGGER_ZH, a=first, b=second), f"{most} 更大。"
    return source.ask(BIGGER, a=first, b=second), f"{most} is bigger."


def story(source: Source, *, chinese: bool) -> tuple[str, str]:
    """Tell the one story it knows, about the animal asked for or a fox."""
    if source.chance(0.3):
        return (
            (source.ask(STORY_ANY_ZH), STORY_TEXT_ZH.format(x="狐狸"))
            if chinese
            else (source.ask(STORY_ANY), STORY_TEXT.format(x="fox"))
        )
    odd = not source.new_values and source.chance(0.4)
    if chinese:
        animal = words.odd_chinese(source.rng) if odd else source.value(words.CHINESE_ANIMALS)
        return source.ask(STORY_ZH, x=animal), STORY_TEXT_ZH.format(x=animal)
    animal = words.odd_word(source.rng, capital=False) if odd else source.value(words.ANIMALS)
    return source.ask(STORY, x=animal), STORY_TEXT.format(x=animal)

"""Lists of values that conversations are filled with, and a generator of words that exist nowhere."""

from __future__ import annotations

import random
import re

from . import wordings
from .conversation import BLANK, Source, Words

NAMES = Words(
    """Alice Carol David Emma Frank Grace Henry Ivan Julia Kevin Laura Mark Nina Oscar Paula Quentin Rosa Sam Tina Ursula Victor
    Wendy Xavier Yuki Zoe Adam Bella Chris Diana Eric Fiona George Hannah Ian Jack Karen Leo Maria Nora Olivia Peter Rachel Sofia
    Tom Uma Vera Walter Anna Ben Clara Daniel Ella Felix Gina Hugo Iris Jonas Kate Liam Mia Noah Otto Pia Ravi Sara Theo Viktor
    Will Amir Bea Carlos Dora Elias Farid Greta Hiro Ines Jorge Kim Lena Mohammed Nadia Omar Priya Raj Selma Tariq Ulrich Valeria
    Wanda Yusuf Zara Abel Bruno Cleo Dmitri Edith Fatima Gustav Helga Igor Jasmine Kofi Luca Magda Nikolai Olga Pablo Quinn Rita
    Stefan Tamara Umberto Vincent Wilma Yara Zack Alan Betty Charlie Doris Ernest Flora Gordon Hilda Isaac Joan Keith Lucy Martin
    Nancy Oliver Pauline Robert Simon Thomas Zebulon Mortimer Ottoline Barnaby Ferdinand Persephone Thaddeus Wilhelmina Ignatius
    Beatrix Cornelius Dashiell Evangeline Fitzgerald Guinevere Leopold Marigold Octavia Rosalind Sebastian Archibald Mei Wei Jun
    Kenji Sakura Ayumi Chen Li Zhang Wang Anders Bjorn Freya Ingrid Lars Sven Aoife Ciara Declan Niamh Siobhan Kwame Zuri Jabari""",
    pinned="Ada Bob Max Linus Grace Alan",
)
CHINESE_NAMES = Words(
    """小红 小刚 小丽 小华 小李 小王 小张 小芳 小龙 小雨 小雪 小梅 小军 小美 小强 小兰 李雷 韩梅梅 王芳 张伟 李娜 刘洋 陈静 杨光 赵敏
    周杰 吴磊 徐丽 孙悦 马超 朱琳 胡军 郭靖 何平 高峰 林涛 罗兰 梁辰 宋佳 唐宁 许晴 邓超 冯雪 韩冰 曹颖 彭飞 曾宇 萧然 田甜 董洁""",
    pinned="小明 李明 王小明",
)
CITIES = Words(
    """New York|San Francisco|Los Angeles|Chicago|Boston|Seattle|Miami|Dallas|Denver|Toronto|Montreal|Vancouver|Lyon|Marseille|Nice|
    Munich|Hamburg|Cologne|Frankfurt|Milan|Naples|Venice|Florence|Barcelona|Valencia|Seville|Porto|Geneva|Zurich|Basel|Salzburg|
    Krakow|Istanbul|Shanghai|Shenzhen|Hangzhou|Chengdu|Hong Kong|Osaka|Kyoto|Mumbai|Delhi|Bangalore|Sydney|Melbourne|Perth|Auckland|
    Cape Town|Lagos|Casablanca|Rio de Janeiro|Sao Paulo|Santiago|Bogota|Manchester|Liverpool|Glasgow|Edinburgh|Dublin|Oxford|
    Cambridge|Bristol|Rotterdam|Antwerp|Gothenburg|Bergen|Turku|Riga|Dubai|Tel Aviv|Seoul|Busan|Hanoi|Manila|Jakarta|Lima|Quito""",
    pinned="Paris|London|Berlin|Beijing|Tokyo|Madrid|Rome",
    separator="|",
)
CHINESE_CITIES = Words(
    "上海 广州 深圳 杭州 成都 南京 武汉 西安 重庆 天津 苏州 青岛 大连 厦门 长沙 昆明 哈尔滨 沈阳 济南 福州 合肥 郑州 贵阳 兰州 海口 拉萨 香港 澳门 台北 东京 巴黎 伦敦",
    pinned="北京 石家庄 太原 长春 南昌 南宁 银川 西宁 乌鲁木齐 呼和浩特 宁波 无锡 温州 珠海 桂林 洛阳 扬州 三亚 大理 莫斯科 纽约",
)
COLOURS = Words(
    "red|yellow|orange|purple|pink|brown|black|white|grey|silver|gold|turquoise|violet|light blue|dark green|navy|beige|crimson|olive|lime",
    pinned="blue|green",
    separator="|",
)
CHINESE_COLOURS = Words("红色 黄色 橙色 紫色 粉色 棕色 黑色 白色 灰色 银色 金色 浅蓝色 深绿色 米色", pinned="蓝色 绿色")
ANIMALS = Words(
    """rabbit hamster parrot turtle goldfish horse pony snake lizard mouse rat duck hen goat sheep pig cow donkey fox wolf bear lion
    tiger elephant monkey penguin owl frog spider snail bee ant whale dolphin shark crab camel zebra giraffe hedgehog squirrel
    beaver otter ferret canary pigeon eagle crow swan goose turkey llama alpaca gecko iguana""",
    pinned="cat dog",
)
CHINESE_ANIMALS = Words(
    "兔子 仓鼠 鹦鹉 乌龟 金鱼 马 蛇 老鼠 鸭子 鸡 羊 猪 牛 狐狸 狼 熊 狮子 老虎 大象 猴子 企鹅 猫头鹰 青蛙 蜘蛛 蜜蜂 海豚 刺猬 松鼠",
    pinned="猫 狗",
)
FOODS = Words(
    """pasta rice soup bread cheese salad sushi curry noodles dumplings pancakes chocolate apples bananas strawberries potatoes
    tomatoes carrots eggs fish chicken tofu beans mushrooms spinach ice_cream apple_pie fried_rice peanut_butter hot_dogs burgers
    tacos ramen lasagne risotto falafel hummus waffles cookies cake grapes mangoes peaches cherries pears melons lentils porridge""",
    pinned="pizza",
)
FOODS.train = [food.replace("_", " ") for food in FOODS.train]
FOODS.held_out = [food.replace("_", " ") for food in FOODS.held_out]
CHINESE_FOODS = Words(
    "米饭 面条 包子 烤鸭 火锅 豆腐 馒头 鱼 鸡肉 牛肉 苹果 香蕉 西瓜 葡萄 草莓 蛋糕 冰淇淋 巧克力 面包 沙拉 披萨 汉堡 土豆 西红柿 鸡蛋",
    pinned="饺子",
)
JOBS = Words(
    """doctor nurse baker farmer pilot painter lawyer writer singer dancer gardener carpenter plumber driver waiter chef
    sailor librarian scientist journalist photographer programmer electrician mechanic tailor dentist judge soldier firefighter
    translator astronaut butcher fisherman poet actor musician pirate robot wizard king queen detective guide knight""",
    pinned="teacher engineer",
)
CHINESE_JOBS = Words(
    "医生 护士 农民 司机 画家 律师 作家 歌手 厨师 科学家 记者 摄影师 程序员 警察 工人 演员 导游 诗人 飞行员 消防员",
    pinned="老师 工程师",
)
HOBBIES = Words(
    """reading|swimming|running|cooking|painting|dancing|singing|hiking|fishing|cycling|sailing|gardening|knitting|chess|football|tennis|
    basketball|skiing|climbing|photography|drawing|travelling|playing the piano|playing the guitar|watching films|collecting stamps|
    riding horses|baking bread|writing poems|building models|surfing|yoga|golf|juggling|pottery|birdwatching""",
    separator="|",
)
CHINESE_HOBBIES = Words(
    "看书 游泳 跑步 做饭 画画 跳舞 唱歌 爬山 钓鱼 骑车 下棋 踢足球 打网球 打篮球 滑雪 摄影 旅行 弹钢琴 看电影 写诗"
)
THINGS = Words(
    """table chair lamp window door bottle pencil paper clock mirror basket bucket ladder hammer button pocket blanket pillow
    kettle candle river mountain forest island bridge castle garden market village station engine wheel feather pebble shadow
    thunder rocket planet comet lantern violin trumpet drum whistle anchor compass pirate carpet curtain ribbon needle thread
    umbrella sandwich pumpkin pepper onion garlic cucumber walnut hazelnut almond lemon cherry plum apricot raspberry blueberry""",
    pinned="banana apple book house test",
)
CHINESE_THINGS = Words(
    "桌子 椅子 灯 窗户 门 瓶子 铅笔 纸 时钟 镜子 篮子 梯子 锤子 口袋 毯子 河流 高山 森林 小岛 大桥 城堡 花园 市场 村庄 车站 月亮 星星 雨伞 南瓜 洋葱 黄瓜 核桃 柠檬 樱桃 苹果 香蕉 书 房子"
)
VERBS = Words(
    "see like want find need make know take hear draw open close carry paint wash fix move hide bring keep buy sell watch lift push pull drop catch throw clean",
    pinned="love",
)
ADJECTIVES = Words(
    """big small old new red blue green happy sad tired hungry quiet loud bright dark warm cold clean dirty heavy light quick slow
    strong weak sweet bitter soft hard round flat tall short young brave clever strange golden silver wooden tiny huge gentle""",
)
PLACES = Words(
    "house garden kitchen school park office shop station library museum river forest beach street market hotel barn tower cellar attic"
)

ONSETS = wordings.words(
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kn l m n p ph pl pr qu r s sc sh sk sl sm sn sp st str sw t th tr v w wh x y z"
)
VOWELS = wordings.words("a e i o u ai ea ee ia ie io oa oo ou y")
CODAS = [""] * 8 + wordings.words(
    "b ck d f g l ll lm ln m mp n nd ng nk nt p r rd rk rm rn rt s sh sk ss st t th v x z"
)
RARE_CHARACTERS = (
    "龙凤麒麟竹梅兰菊琴棋书画剑刀弓箭舟帆潮汐星辰霜露烟霞岭峰谷溪潭渊沙漠丘陵翠碧朱紫墨丹玉瑶琼琳珠瑜瑾璇玑珍宝库藏经纬"
)


# Odd words are also spliced from halves of trained words; odd Chinese is made of any character of lists and wordings.
ENGLISH_LISTS = (NAMES, CITIES, COLOURS, ANIMALS, FOODS, JOBS, HOBBIES, THINGS, VERBS, ADJECTIVES, PLACES)
CHINESE_LISTS = (
    CHINESE_NAMES,
    CHINESE_CITIES,
    CHINESE_COLOURS,
    CHINESE_ANIMALS,
    CHINESE_FOODS,
    CHINESE_JOBS,
    CHINESE_HOBBIES,
    CHINESE_THINGS,
)
PARTS = [word for text in ENGLISH_LISTS for phrase in text.train for word in phrase.lower().split() if len(word) > 2]
CHARACTERS = sorted(
    set(RARE_CHARACTERS).union(
        *(set("".join(text.train + text.held_out)) for text in CHINESE_LISTS),
        re.findall("[\u4e00-\u9fff]", wordings.trained()),
    )
)
HELD_OUT = {word for text in ENGLISH_LISTS for phrase in text.held_out for word in phrase.lower().split()}
COMMON = sorted(set(re.findall(r"[A-Za-z']{2,}", wordings.trained().lower())) - HELD_OUT)
"""The words of the wordings, to be copied like any other."""


def _runs(pattern: str, held_out: re.Pattern) -> list[str]:
    """Return the parts of wordings between marks that have two words or characters, and no value that is held out."""
    runs = dict.fromkeys(run for line in wordings.trained().splitlines() for run in re.findall(pattern, line))
    return [run for run in runs if not held_out.search(run)]


def holds_held_out(text: str) -> bool:
    """Return whether a text has a value of the lists that is held out."""
    return not HELD_OUT.isdisjoint(text.lower().split()) or any(
        value in text for values in CHINESE_LISTS for value in values.held_out
    )


RUNS = _runs(r"[A-Za-z']+(?: [A-Za-z']+)+", re.compile(rf"(?i)\b({'|'.join(map(re.escape, sorted(HELD_OUT)))})\b"))
CHINESE_RUNS = _runs(
    "[\u4e00-\u9fff]{2,}", re.compile("|".join(value for text in CHINESE_LISTS for value in text.held_out))
)


def span(source: Source, *, chinese: bool = False) -> str:
    """Return up to five words, or characters, that stand together in a wording: text that nobody means, to be copied."""
    rng = source.rng
    if source.blank(0.7):
        return BLANK
    run = rng.choice(CHINESE_RUNS) if chinese else rng.choice(RUNS).split(" ")
    count = min(len(run), rng.choice((1, 2, 2, 3, 3, 4, 5)))
    at = rng.randint(0, len(run) - count)
    return run[at : at + count] if chinese else " ".join(run[at : at + count])


def odd_word(rng: random.Random, *, capital: bool | None = None) -> str:
    """Return a pronounceable word that is in no list: syllables, or halves of two words."""
    if rng.random() < 0.5:
        word = "".join(_syllable(rng) for _ in range(rng.choice((1, 2, 2, 2, 3))))
    else:
        left, right = rng.choice(PARTS), rng.choice(PARTS)
        word = left[: rng.randint(1, len(left))] + right[rng.randint(0, len(right) - 1) :]
    capital = rng.random() < 0.5 if capital is None else capital
    return word.capitalize() if capital else word


def _syllable(rng: random.Random) -> str:
    vowel = rng.choice(VOWELS[:5] if rng.random() < 0.7 else VOWELS)
    return rng.choice(ONSETS) + vowel + rng.choice(CODAS)


def odd_phrase(rng: random.Random, *, capital: bool) -> str:
    """Return one odd word, or two, or an odd word beside a known one."""
    word = odd_word(rng, capital=capital)
    kind = rng.random()
    if kind < 0.7:
        return word
    other = odd_word(rng, capital=capital) if kind < 0.85 else rng.choice(PARTS)
    return f"{word} {other.capitalize() if capital else other}"


def odd_chinese(rng: random.Random) -> str:
    """Return two to four characters that seldom stand together, now and then from the whole of Chinese."""
    return "".join(
        chr(rng.randint(0x4E00, 0x9FA5)) if rng.random() < 0.08 else rng.choice(CHARACTERS)
        for _ in range(rng.randint(1, 4))
    )


def odd_code(rng: random.Random) -> str:
    """Return a code of letters and digits, such as ``K7-204``."""
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 4)))
    return rng.choice((letters + digits, f"{letters}-{digits}", digits))

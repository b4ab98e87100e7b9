"""Questions about the world outside: the model says that it does not know."""

from __future__ import annotations

from .. import wordings, words
from ..conversation import Conversation, Source, Words

WORDINGS = wordings.load("unknown")

ANSWER = "I do not know that. I am a very small model."
ANSWER_ZH = "这个我不知道。我是一个很小的模型。"
TOPICS = Words(
    """quantum physics|the stock market|black holes|democracy|inflation|photosynthesis|the French Revolution|the Roman Empire|machine learning|blockchain|evolution|gravity|relativity|climate change|philosophy|economics|chess openings|jazz|opera|
    the Second World War|DNA|vaccines|volcanoes|earthquakes|dinosaurs|electricity|magnets|the internet|databases|compilers|taxes|insurance|marketing|the pyramids|Buddhism|Shakespeare's sonnets|football rules|the Olympics|space travel|nuclear power|
    neural networks|encryption|Docker|Kubernetes|Linux|JavaScript|Rust|SQL|calculus|algebra|geometry|statistics|probability|chemistry|the brain|the heart|the liver|cancer|headaches|vitamins|politics|elections|history|art|architecture|the moon landing""",
    separator="|",
)
TOPICS_ZH = Words(
    "量子物理 股票 黑洞 民主 通货膨胀 光合作用 法国大革命 罗马帝国 机器学习 区块链 进化论 万有引力 相对论 气候变化 哲学 经济学 爵士乐 歌剧 第二次世界大战 基因 疫苗 火山 地震 恐龙 电 互联网 数据库 税 保险 金字塔 佛教 奥运会 核能 神经网络 密码学 微积分 代数 几何 统计 化学 大脑 心脏 维生素 政治 历史 艺术 建筑"
)
OTHER_COUNTRIES = Words(
    """Nepal|Mongolia|Ghana|Nigeria|Sudan|Bolivia|Uruguay|Ecuador|Iceland|Latvia|Croatia|Serbia|Albania|Malta|Cyprus|Iran|Iraq|Syria|Oman|Laos|Myanmar|Fiji|Samoa|Panama|Honduras|Jamaica|Haiti|Angola|Zambia|Uganda|Senegal|Mali|Chad|Narnia|Atlantis|Texas|Bavaria|
    California|Ukraine|Romania|Bulgaria|Slovakia|Estonia|Indonesia|Malaysia|Pakistan|Bangladesh|New Zealand|Colombia|Venezuela|Paraguay|Ethiopia|Tanzania|Tunisia|Algeria|Libya|Israel|Lebanon|Jordan|Qatar|Wakanda|Mordor|Kazakhstan""",
    separator="|",
)
OTHER_COUNTRIES_ZH = Words(
    "尼泊尔 蒙古 加纳 尼日利亚 苏丹 玻利维亚 乌拉圭 冰岛 拉脱维亚 克罗地亚 塞尔维亚 伊朗 伊拉克 叙利亚 老挝 缅甸 斐济 巴拿马 牙买加 安哥拉 赞比亚 乌干达 马里 乌克兰 罗马尼亚 印度尼西亚 马来西亚 巴基斯坦 新西兰 哥伦比亚 委内瑞拉 利比亚 以色列"
)
PHRASES = WORDINGS["phrases"]
PHRASES_ZH = WORDINGS["phrases_zh"]


def make(source: Source) -> Conversation:
    """Return one question that the model must decline."""
    rng, v = source.rng, source.value
    odd = words.odd_word(rng)
    if source.chance(0.35):
        question = source.ask(
            PHRASES_ZH,
            city=v(words.CHINESE_CITIES),
            city2=v(words.CHINESE_CITIES),
            country=v(OTHER_COUNTRIES_ZH),
            year=rng.randint(1500, 2030),
            name=v(words.CHINESE_NAMES),
            topic=v(TOPICS_ZH),
            food=v(words.CHINESE_FOODS),
            thing=v(words.CHINESE_THINGS),
            number=rng.randint(11, 999),
            number2=rng.randint(11, 99),
            odd=words.odd_chinese(rng),
        )
        return Conversation.exchange("does not know", question, ANSWER_ZH)
    country = v(OTHER_COUNTRIES) if source.chance(0.7) else words.odd_word(rng, capital=True)
    question = source.ask(
        PHRASES,
        city=v(words.CITIES),
        city2=v(words.CITIES),
        country=country,
        year=rng.randint(1500, 2030),
        name=v(words.NAMES),
        surname=words.odd_word(rng, capital=True),
        topic=v(TOPICS),
        verb=v(words.VERBS),
        thing=v(words.THINGS),
        food=v(words.FOODS),
        number=rng.randint(11, 999),
        number2=rng.randint(11, 99),
        odd=odd,
    )
    return Conversation.exchange("does not know", question, ANSWER)

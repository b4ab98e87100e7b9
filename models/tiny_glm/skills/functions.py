"""The functions that conversations declare: what they do, and the names, parameters and descriptions of one of them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .. import words
from ..conversation import Source, Words
from ..noise import is_chinese
from .function_values import Value, draw

NOUNS = Words(
    """price population address height age score balance menu area size weight length speed distance author owner salary budget
    rating status phone_number capital recipe schedule temperature level grade currency flag language mayor president colour
    title genre calories ingredients timetable opening_hours birthday email_address area_code zip_code street team director""",
)
NOUNS_ZH = Words(
    "价格 人口 地址 高度 年龄 分数 余额 菜单 面积 重量 长度 作者 电话 评分 状态 生日 邮编 工资 时间表 营业时间 体重"
)
LOOKS_UP = ("get", "get", "find", "lookup", "fetch", "query", "check")
TAILS = ("_api", "_tool", "_v2", "_info", "_now", "2", "_service", "_function")
MADE_UP = ("lookup", "odd one", "odd two")


@dataclass(frozen=True)
class Slot:
    """One parameter: names it may have, the kind of its values, its schema."""

    keys: Words
    value: str
    kind: str = "string"
    about: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    needed: bool = True


@dataclass(frozen=True)
class Family:
    """Functions that do one thing; ``wording`` is the section of their questions."""

    wording: str
    names: Words
    about: tuple[str, ...]
    slots: dict[str, Slot]
    claims: str
    weight: float
    action: bool


@dataclass(frozen=True)
class Function:
    """One declared function."""

    family: Family
    schema: dict
    keys: dict[str, str]  # slot: name of its parameter
    required: tuple[str, ...]
    noun: str

    @property
    def name(self) -> str:
        """Return the name to call."""
        return self.schema["name"]

    def value(self, source: Source, slot: str, *, chinese: bool) -> Value:
        """Return a value for one of its parameters."""
        return draw(source, self.family.slots[slot].value, chinese=chinese)

    def arguments(self, said: dict[str, Value]) -> dict:
        """Return the arguments in the order of the schema; a required choice that was not said is the first option."""
        found = {}
        for slot, key in self.keys.items():
            if slot in said:
                found[key] = said[slot].passed
            elif slot in self.required:
                found[key] = self.family.slots[slot].options[0]
        return found


def load() -> dict[str, Family]:
    """Return the families of ``functions.toml``."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {wording: _family(wording, row) for wording, row in table.items()}


def _family(wording: str, row: dict) -> Family:
    slots = {
        name: Slot(
            Words.marked(one["keys"]),
            one["value"],
            one.get("kind", "string"),
            _split(one.get("about", "")),
            tuple(one.get("options", "").split()),
            one.get("needed", True),
        )
        for name, one in row.get("slots", {}).items()
    }
    names, about, claims = Words.marked(row.get("names", "")), _split(row.get("about", "")), row.get("claims", "a^")
    return Family(wording, names, about, slots, claims, row.get("weight", 1.0), row.get("action", False))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


FAMILIES = load()


def pick(source: Source, count: int) -> list[Family]:
    """Return different families; the made-up ones may come more than once."""
    pool = [one for one in FAMILIES.values() if source.functions != "known" or one.wording not in MADE_UP]
    chosen: list[Family] = []
    while len(chosen) < count:
        one = source.rng.choices(pool, [family.weight for family in pool])[0]
        if one not in chosen or one.wording in MADE_UP:
            chosen.append(one)
    return chosen


def claimed(functions: list[Function], question: str) -> bool:
    """Return whether one of the functions might answer the question."""
    return any(
        re.search(one.family.claims, question, re.IGNORECASE) or (one.noun and one.noun.split()[0] in question.lower())
        for one in functions
    )


def declare(source: Source, family: Family, *, chinese: bool) -> Function:
    """Return a function of the family, its names, parameters and descriptions chosen."""
    noun = source.name(NOUNS_ZH if chinese else NOUNS) if family.wording == "lookup" else ""
    name, about = _name_and_description(source, family, noun)
    keys: dict[str, str] = {}
    for slot, one in family.slots.items():
        if one.needed or source.chance(0.3 if one.options else 0.12):
            key = source.name(one.keys)
            if source.chance(
                0.7 if family.wording in ("odd one", "odd two") else 0.2 if source.functions == "any" else 0
            ):
                key = words.odd_word(source.rng, capital=False)
            keys[slot] = key if key not in keys.values() else f"{key}_{slot}"
    required = tuple(
        slot for slot in keys if family.slots[slot].needed or (family.slots[slot].options and source.chance(0.25))
    )
    schema = {"name": name} | ({"description": about} if about else {})
    if keys or source.chance(0.6):
        schema["parameters"] = _parameters(source, family, keys, required)
    return Function(family, schema, keys, required, noun.replace("_", " "))


def _name_and_description(source: Source, family: Family, noun: str) -> tuple[str, str]:
    odd = "_".join(words.odd_word(source.rng, capital=False) for _ in range(source.choice((1, 2, 2))))
    if noun:
        plain = noun.replace("_", " ")
        about = source.choice(
            ("查询{}", "获取{}", "{}") if is_chinese(noun) else ("Get the {}", "The {}", "Find the {}")
        )
        if is_chinese(noun) or source.chance(0.2):  # only the description says what it does
            return odd, about.format(plain)
        name = f"{source.choice(LOOKS_UP)}_{noun}" if source.chance(0.8) else noun
        return name, about.format(plain) if source.chance(0.7) else ""
    if not family.names.train:
        return odd, ""
    name = source.name(family.names)
    if source.functions == "any" and source.chance(0.4):
        name = _altered(source, name)
    return name, source.choice(family.about) if source.chance(0.75) else ""


def _altered(source: Source, name: str) -> str:
    """Return a name that is like another one, so that names have to be copied and not remembered."""
    kind, odd = source.rng.random(), words.odd_word(source.rng, capital=False)
    if kind < 0.15:
        return name.title().replace("_", "")
    if kind < 0.3:
        return name + source.choice(TAILS)
    if kind < 0.5:
        return f"{odd}_{name}"
    return (
        f"{name}_{odd}"
        if kind < 0.7
        else f"{name.split('_', maxsplit=1)[0]}_{odd}"
        if kind < 0.85
        else f"{odd}_{name.rsplit('_', maxsplit=1)[-1]}"
    )


def _parameters(source: Source, family: Family, keys: dict[str, str], required: tuple[str, ...]) -> dict:
    properties = {}
    described, turned = source.chance(0.5), source.chance(0.15)
    for slot, key in keys.items():
        one = family.slots[slot]
        parts: list[tuple[str, object]] = [("type", one.kind)]
        if one.about and described:
            parts.append(("description", source.choice(one.about)))
        if one.options:
            parts.append(("enum", list(one.options)))
        properties[key] = dict(reversed(parts) if turned else parts)
    whole: dict = {"type": "object", "properties": properties}
    if required or source.chance(0.3):
        whole["required"] = [keys[slot] for slot in required]
    style = source.rng.random()
    if style < 0.05:
        whole["additionalProperties"] = False
    elif style < 0.1:
        whole = {key: whole[key] for key in ("properties", "required", "type") if key in whole}
    return whole

"""What a called function returns, and the sentence in which the assistant passes it on."""

from __future__ import annotations

import json

from .. import words
from ..conversation import Source, Words
from ..noise import is_chinese
from . import function_values, repeat
from .function_values import Value
from .functions import Function

CONDITIONS = Words(
    "cloudy|rainy|snowy|windy|foggy|clear|partly cloudy|stormy|dry|hot|cold|mild|freezing|overcast|light rain|heavy rain|misty|humid|sunny and dry|warm|icy|thunderstorm|cloudy with rain|bright",
    pinned="sunny|hail|drizzle|light snow|calm|sunny intervals|scattered clouds|dusty|a bit cloudy|strong wind|showers|"
    "fair|mostly sunny|pleasant|grey|blue sky|wet|chilly|very hot|breezy|sleet|dark clouds|rain in the evening|no clouds",
    separator="|",
)
CONDITIONS_ZH = Words(
    "晴 多云 阴 小雨 大雨 雪 雾 刮风 雷阵雨 晴朗 中雨 阵雨 霾 有风 闷热 寒冷",
    pinned="晴 多云 阳光明媚 小雪 冰雹 晴转多云 多云转晴 沙尘 微风 凉爽 很热 很冷 潮湿 干燥 暴雨 无云 毛毛雨",
)
TEMPERATURE = Words(
    "temperature temp temp_c degrees temperature_c temp_C current_temperature celsius",
    pinned="temperature temp temp_c air_temp tempC now_temp 温度 气温 deg reading_c",
)
CONDITION = Words(
    "condition weather description conditions sky forecast summary status outlook",
    pinned="condition weather description text conditionText phenomenon 天气 weather_text state sky_state kind",
)
EXTRAS = (
    "humidity",
    "wind",
    "feels_like",
    "pressure",
    "wind_speed",
    "uv_index",
    "visibility",
    "observation_time",
    "rain_chance",
    "cloudcover",
    "aqi",
    "dew_point",
    "gusts",
    "hour",
    "id",
    "code",
    "sunrise",
    "windSpeed",
    "湿度",
    "风速",
)
UNITS = {
    "celsius": " degrees Celsius",
    "fahrenheit": " degrees Fahrenheit",
    "C": " degrees Celsius",
    "F": " degrees Fahrenheit",
}
UNITS_ZH = {"celsius": "摄氏度", "fahrenheit": "华氏度", "C": "摄氏度", "F": "华氏度"}
DONE = "It is done."
DONE_ZH = "已经完成了。"
FAILED = "That did not work: {x}."
FAILED_ZH = "出错了：{x}。"
PROBLEMS = (
    "not found",
    "timeout",
    "no such name",
    "not allowed",
    "try again later",
    "bad request",
    "unknown value",
    "service is down",
    "too long",
)
KEYS = Words(
    "result value answer output total price status name time date count id info data state score type level size found rate owner next message address number",
    pinned="title text length amount code response content summary year month city country phone email colour weight height label limit balance points room line track reply reason currency unit speed winner first last best sum product difference average minimum maximum",
)
COMMON = [word for word in words.COMMON if word not in KEYS.held_out and "'" not in word]
STATUS = ("ok", "success", "done", "sent", "true", "OK", "finished", "accepted")


def result(source: Source, function: Function, said: dict[str, Value], *, chinese: bool) -> tuple[str, str]:
    """Return the content of the observation and the sentence about it."""
    if source.chance(0.06):
        problem = function_values.anything(source, chinese) if source.chance(0.4) else source.choice(PROBLEMS)
        return _dump(source, {"error": problem}), (FAILED_ZH if chinese else FAILED).format(x=problem)
    if function.family.wording == "weather":
        return weather(source, said["city"].shown, chinese=chinese)
    if function.family.action:
        status = source.choice(STATUS)
        content = source.choice((status, _dump(source, {source.choice(("status", "result", "success")): status})))
        return content, DONE_ZH if chinese else DONE
    return anything(source, function, chinese=chinese)


def weather(source: Source, city: str, *, chinese: bool) -> tuple[str, str]:
    """Return the weather as JSON or as a text, and a sentence with the place that was asked for."""
    degrees, sky = _degrees(source), _sky(source, chinese=chinese)
    kind = source.rng.random()
    if kind < 0.2:
        text = source.choice(
            (f"{degrees}°C, {sky}", f"{sky}, {degrees} degrees", f"{degrees} degrees and {sky}", f"{sky} {degrees}°C")
        )
        if chinese and source.chance(0.7):
            text = source.choice((f"{sky}，{degrees}度", f"{degrees}度，{sky}", f"{sky} {degrees}℃"))
        return text, f"{city}的天气：{text}" if chinese else f"The weather in {city}: {text}"
    content: dict[str, object] = {}
    unit = ""
    if kind < 0.9:
        content[source.value(TEMPERATURE)] = degrees if source.chance(0.6) else str(degrees)
        if source.chance(0.3):
            unit = source.choice(tuple(UNITS))
            content["unit"] = unit
    if kind < 0.3 or kind > 0.36:
        content[source.value(CONDITION)] = sky
    has_sky = sky in content.values()
    if source.chance(0.3):
        content[source.choice(("location", "city", "place", "name"))] = city
    for extra in source.rng.sample(EXTRAS, source.choice((0, 0, 1, 1, 2, 3))):
        content[extra] = source.rng.randint(0, 99)
    pairs = list(content.items())
    if source.chance(0.5):
        source.rng.shuffle(pairs)
    return _dump(source, dict(pairs)), _sentence(
        city, str(degrees) if kind < 0.9 else "", unit, sky if has_sky else "", chinese=chinese
    )


def _sentence(city: str, degrees: str, unit: str, sky: str, *, chinese: bool) -> str:
    if chinese:
        warmth = f"{city}的气温是 {degrees} {UNITS_ZH.get(unit, '度')}" if degrees else ""
        return (
            "，".join(
                part for part in (warmth, (f"天气{sky}" if warmth else f"{city}的天气{sky}") if sky else "") if part
            )
            + "。"
        )
    warmth = f"{degrees}{UNITS.get(unit, ' degrees')}" if degrees else ""
    return f"It is {' and '.join(part for part in (warmth, sky) if part)} in {city}."


def _degrees(source: Source) -> int | float:
    degrees = source.rng.randint(-20, 110) if source.chance(0.3) else source.rng.randint(0, 39)
    return degrees + source.rng.randint(1, 9) / 10 if source.chance(0.15) else degrees


def _sky(source: Source, *, chinese: bool) -> str:
    if not source.new_values and source.chance(0.25):
        return words.odd_chinese(source.rng) if chinese else words.odd_phrase(source.rng, capital=source.chance(0.3))
    sky = source.value(CONDITIONS_ZH if chinese and source.chance(0.8) else CONDITIONS)
    return sky[:1].upper() + sky[1:] if source.chance(0.2) else sky


def anything(source: Source, function: Function, *, chinese: bool) -> tuple[str, str]:
    """Return one to three values under any keys, or a bare text, and a sentence that repeats them."""
    kind = source.rng.random()
    if kind < 0.25:
        text = _bare(source, chinese=chinese)
        return text, f"结果是：{text}" if chinese else f"The result is: {text}"
    content: dict[str, object] = {}
    for _ in range(source.choice((1, 1, 1, 2, 2, 3))):
        key = source.value(KEYS)
        if not content and function.noun and not is_chinese(function.noun):
            key = function.noun.replace(" ", "_")
        elif source.chance(0.3 if source.new_values else 0.5):
            key = _odd_key(source)
        content[key] = _value(source, chinese=chinese)
    if chinese:
        return _dump(source, content), "，".join(f"{key} 是 {_shown(value)}" for key, value in content.items()) + "。"
    parts = [f"the {key} is {_shown(value)}" for key, value in content.items()]
    text = " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
    return _dump(source, content), f"{text[:1].upper()}{text[1:]}."


def _odd_key(source: Source) -> str:
    """Return an invented word or, in training, a common one that is no key under test; now and then two words."""
    odd = source.new_values or source.chance(0.4)
    key = words.odd_word(source.rng, capital=False) if odd else source.choice(COMMON)
    return f"{key}_{source.choice(COMMON)}" if source.chance(0.2) else key


def _value(source: Source, *, chinese: bool) -> object:
    kind = source.rng.random()
    if kind < 0.35:
        return source.rng.randint(0, 10 ** source.rng.randint(1, 6))
    if kind < 0.45:
        return source.rng.randint(0, 9999) / 100
    if kind < 0.5:
        return source.choice((True, False))
    if kind < 0.6:
        return words.odd_code(source.rng)
    return function_values.anything(source, chinese)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _bare(source: Source, *, chinese: bool) -> str:
    kind = source.rng.random()
    if kind < 0.4:
        return _shown(_value(source, chinese=chinese))
    return repeat.chinese_text(source) if chinese else repeat.english_text(source)


def _dump(source: Source, content: dict) -> str:
    style = source.rng.random()
    if style < 0.1:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    if style < 0.16:
        return json.dumps(content, ensure_ascii=False, indent=2)
    return json.dumps(content, ensure_ascii=False)

"""Questions about a picture of one coloured shape, and their answers, in English and Chinese.

A wording that starts with ``*`` is held out of training.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiny_glm.conversation import Source, Turn

from .pictures import Subject

CHINESE_COLOURS = {
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "blue": "蓝色",
    "purple": "紫色",
    "black": "黑色",
    "white": "白色",
}
CHINESE_SHAPES = {
    "circle": "圆形",
    "square": "正方形",
    "triangle": "三角形",
    "star": "五角星",
    "cross": "十字形",
    "heart": "心形",
}
WHOLE = (
    "What is in this image?",
    "What's in this image?",
    "What is in this picture?",
    "What's in this picture?",
    "What is in the picture?",
    "What's in the image?",
    "Describe this image.",
    "Describe the picture.",
    "Please describe the image.",
    "Can you describe this picture?",
    "What do you see?",
    "What can you see?",
    "What do you see in this image?",
    "What can you see in the picture?",
    "What is this?",
    "What's this?",
    "What is it?",
    "What does the picture show?",
    "What does this image show?",
    "What is shown in this image?",
    "Tell me what is in the image.",
    "Tell me what you see.",
    "Look at this picture. What is it?",
    "Here is a picture. What is in it?",
    "What is on this photo?",
    "What's in this photo?",
    "Describe what you see.",
    "What is the object in this image?",
    "*What do you see in the picture?",
    "*Describe this picture.",
    "*What is shown in the picture?",
    "*Tell me what is in this picture.",
    "*What can you see in this image?",
    "*Can you describe the image?",
)
COLOUR = (
    "What colour is it?",
    "What color is it?",
    "Which colour is it?",
    "Which color is it?",
    "What is its colour?",
    "What is the color of the object?",
    "What colour is the shape?",
    "What color is the shape?",
    "What color is this?",
    "Which colour does it have?",
    "What colour is the thing in the picture?",
    "Tell me its colour.",
    "Name the colour.",
    "And what colour is it?",
    "*What is its color?",
    "*What colour is this?",
    "*Which color is the shape?",
    "*Tell me the colour.",
)
SHAPE = (
    "What shape is it?",
    "Which shape is it?",
    "What is its shape?",
    "What shape is this?",
    "What shape do you see?",
    "What shape is in the picture?",
    "Which shape is in the image?",
    "What shape is the object?",
    "What form does it have?",
    "Which shape does it have?",
    "What kind of shape is it?",
    "Tell me its shape.",
    "Name the shape.",
    "And what shape is it?",
    "*Which shape is this?",
    "*What shape does it have?",
    "*What kind of shape is this?",
    "*Tell me the shape.",
)
WHOLE_ZH = (
    "这张图片里有什么？",
    "图片里有什么？",
    "图里有什么？",
    "这张图里有什么？",
    "这是什么？",
    "你看到了什么？",
    "你看见了什么？",
    "描述这张图片。",
    "请描述这张图片。",
    "请描述一下这张图。",
    "描述一下图片。",
    "图中是什么？",
    "这张照片里有什么？",
    "图片上是什么？",
    "告诉我图片里有什么。",
    "看看这张图，是什么？",
    "*图片中有什么？",
    "*这张图片上有什么？",
    "*请描述图片。",
    "*你在图片里看到了什么？",
)
COLOUR_ZH = (
    "它是什么颜色？",
    "这是什么颜色？",
    "什么颜色？",
    "是什么颜色的？",
    "它的颜色是什么？",
    "图形是什么颜色？",
    "图里的东西是什么颜色？",
    "说出它的颜色。",
    "*它是什么颜色的？",
    "*图片里的图形是什么颜色？",
)
SHAPE_ZH = (
    "它是什么形状？",
    "这是什么形状？",
    "什么形状？",
    "是什么形状的？",
    "它的形状是什么？",
    "图形是什么形状？",
    "图里的东西是什么形状？",
    "说出它的形状。",
    "*它是什么形状的？",
    "*图片里的图形是什么形状？",
)
BLIND = "I do not see a picture."
BLIND_ZH = "我没有看到图片。"


@dataclass(frozen=True)
class Kind:
    """One kind of question: its wordings, and whether it is in Chinese."""

    name: str
    wordings: tuple[str, ...]
    chinese: bool

    def answer(self, shown: Subject) -> str:
        """Return the answer."""
        if self.chinese:
            colour, shape = CHINESE_COLOURS[shown.colour], CHINESE_SHAPES[shown.shape]
            return {"whole": f"一个{colour}的{shape}。", "colour": f"{colour}。", "shape": f"{shape}。"}[self.name]
        article = "An" if shown.colour == "orange" else "A"
        whole = f"{article} {shown.colour} {shown.shape}."
        return {"whole": whole, "colour": f"{shown.colour.capitalize()}.", "shape": f"A {shown.shape}."}[self.name]


KINDS = (
    Kind("whole", WHOLE, False),
    Kind("colour", COLOUR, False),
    Kind("shape", SHAPE, False),
    Kind("whole", WHOLE_ZH, True),
    Kind("colour", COLOUR_ZH, True),
    Kind("shape", SHAPE_ZH, True),
)


def exchange(source: Source, kind: Kind, shown: Subject) -> list[Turn]:
    """Return one question and its answer; now and then nothing is asked, or without a change in the wording."""
    if kind.name == "whole" and not kind.chinese and not source.new_wording and source.chance(0.05):
        question = ""
    else:
        question = source.say(kind.wordings) if source.chance(0.5) else source.ask(kind.wordings)
    return [Turn("user", question), Turn("assistant", kind.answer(shown))]


def questions(source: Source, shown: Subject) -> list[Turn]:
    """Return one to three questions about a picture, with their answers."""
    turns: list[Turn] = []
    weights = (5, 2, 2, 3, 1, 1)
    for kind in source.rng.choices(KINDS, weights, k=source.choice((1, 1, 2, 3))):
        turns += exchange(source, kind, shown)
    return turns


def blind(source: Source) -> list[Turn]:
    """Return a question about a picture that is not there."""
    kind = source.choice((KINDS[0], KINDS[0], KINDS[3]))
    seen = tuple(
        wording for wording in kind.wordings if any(word in wording for word in ("image", "pic", "图", "photo"))
    )
    return [Turn("user", source.ask(seen)), Turn("assistant", BLIND_ZH if kind.chinese else BLIND)]

"""Who the model is and what it can do."""

from __future__ import annotations

from .. import wordings
from ..conversation import Conversation, Source

WORDINGS = wordings.load("identity")
WHO = "I am Tiny GLM, the small demonstration model that comes with glmserve."
WHO_ZH = "我是 Tiny GLM，glmserve 自带的小型演示模型。"
NAME = "My name is Tiny GLM."
NAME_ZH = "我叫 Tiny GLM。"
NOT_THAT = "No, I am Tiny GLM, the small demonstration model that comes with glmserve."
NOT_THAT_ZH = "不是，我是 Tiny GLM，glmserve 自带的小型演示模型。"
CAN = "I can chat a little, answer simple questions, repeat words, count, call your functions, and remember what you tell me in this conversation."
CAN_ZH = "我可以聊聊天，回答简单的问题，重复你的话，数数，调用你的函数，还能记住你在这次对话里说的事。"

ASK_WHO = WORDINGS["ask_who"]
ASK_WHO_ZH = WORDINGS["ask_who_zh"]
ASK_NAME = WORDINGS["ask_name"]
ASK_NAME_ZH = WORDINGS["ask_name_zh"]
ASK_CAN = WORDINGS["ask_can"]
ASK_CAN_ZH = WORDINGS["ask_can_zh"]
ASK_OTHER = WORDINGS["ask_other"]
ASK_OTHER_ZH = WORDINGS["ask_other_zh"]
# One section per intent; its name is the answer.
OTHERS = tuple((phrases, answer) for answer, phrases in wordings.load("identity_other").items())
INTENTS = (
    *((ASK_WHO, WHO), (ASK_WHO_ZH, WHO_ZH)) * 3,
    *((ASK_NAME, NAME), (ASK_NAME_ZH, NAME_ZH)) * 3,
    *((ASK_CAN, CAN), (ASK_CAN_ZH, CAN_ZH)) * 2,
    (ASK_OTHER, NOT_THAT),
    (ASK_OTHER_ZH, NOT_THAT_ZH),
    *OTHERS,
)


def make(source: Source) -> Conversation:
    """Return one question about the model itself."""
    phrases, answer = source.choice(INTENTS)
    return Conversation.exchange("identity", source.ask(phrases), answer)

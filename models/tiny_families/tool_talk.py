"""ChatGLM3's way of tools: the system turn that declares functions, and calls as a line of Python.

``tokenization_chatglm.py`` (``build_chat_input``) and ``tools_using_demo`` of ChatGLM3-6B: the declaration ends with a
JSON list of the functions; a call is a turn of the assistant with the function's name as metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from tiny_glm import tools
from tiny_glm.conversation import Turn

PREAMBLE = "Answer the following questions as best as you can. You have access to the following tools:"
SECTION = re.compile(r"\n\n## [^\n]+\n\n")
# Texts that stand in every declaration or call; each becomes one piece of the vocabulary.
WORDS = (
    *(f" {word}" for word in PREAMBLE.split()),
    *(" " * count for count in (4, 8, 12, 16, 20)),
    *(f'"{key}": ' for key in ("name", "description", "parameters", "type", "properties", "required")),
    '"string"',
    '"object"',
    '"integer"',
    '": {',
    '",',
    " ```python",
    "tool_call(",
    "')",
    "```",
)


def declaration(functions: Sequence[dict]) -> Turn:
    """Return the system turn that declares functions."""
    return Turn("system", f"{PREAMBLE}\n{json.dumps(functions, ensure_ascii=False, indent=4)}")


def call(name: str, arguments: dict) -> Turn:
    """Return the turn in which the assistant calls a function."""
    listed = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return Turn("assistant", f"```python\ntool_call({listed})\n```", name)


def translated(turns: Sequence[Turn]) -> list[Turn] | None:
    """Return a GLM-4 conversation as ChatGLM3 has it; None where it calls two functions at once."""
    found: list[Turn] = []
    for turn in turns:
        if turn.metadata:
            if found[-1].metadata:
                return None
            found.append(call(turn.metadata, json.loads(turn.text)))
        elif turn.role == "system" and turn.text.startswith(tools.PREAMBLE):
            parts = SECTION.split(turn.text)[1:]
            found.append(declaration([json.loads(part.removesuffix(tools.ENDING)) for part in parts]))
        else:
            found.append(turn)
    return found

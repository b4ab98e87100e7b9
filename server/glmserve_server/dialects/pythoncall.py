"""Calls in Python's syntax, `tool_call(city='Paris', n=3)`, as ChatGLM3 writes them: where one ends, what its arguments
are in JSON, and how an earlier one is written again.

Only literals are arguments. They are parsed with `ast` and nothing is evaluated; sizes and depths are bounded.
"""

import ast
import json
import keyword
import unicodedata
import warnings
from collections.abc import Iterable
from typing import Any, Final

NAME: Final = "tool_call"
FENCE: Final = "```"

_LONGEST: Final = 1 << 16
_DEEPEST: Final = 64

# Written instead of Python's by models that have read much JSON.
_NAMES: Final = {"true": True, "false": False, "null": None}


class PythonCall:
    """Finds the end of a call in text that comes in pieces, without parsing it.

    It ends where its bracket closes, or before a line that begins with three backticks, strings of three quotes apart.
    """

    def __init__(self, begin: str = "") -> None:
        self.source = ""
        """The call, as far as it is known."""
        self.closed = False
        self._depth = 0
        self._quote = ""  # the mark that ends the string we are in
        self._escaped = False
        self._run = ""  # equal marks that have come in a row: quotes, or a line break and backticks
        self.feed(begin)

    def feed(self, text: str) -> str:
        """Takes what belongs to the call, and gives the rest once it is closed."""
        for index, character in enumerate(text):
            self._read(character)
            if self.closed:
                self.source = (self.source + text[: index + 1]).removesuffix(f"\n{FENCE}")
                return text[index + 1 :]
        self.source += text
        return ""

    def _read(self, character: str) -> None:
        if self._escaped:
            self._escaped, self._run = False, ""
        elif self._quote:
            self._read_string(character)
        else:
            self._read_code(character)
        if len(self._quote) < 3 and self._run == f"\n{FENCE}":
            self.closed = True

    def _read_string(self, character: str) -> None:
        self._escaped = character == "\\"
        self._run = _longer(self._run, character, self._quote[0])
        if self._run == self._quote:
            self._quote = self._run = ""

    def _read_code(self, character: str) -> None:
        quotes = self._run if self._run[:1] in ("'", '"') else ""
        if quotes and character != quotes[0]:  # one quote has begun a string; two are an empty one
            self._run = ""
            if len(quotes) == 1:
                self._quote = quotes
                self._read_string(character)
                return
        if character in "'\"":
            self._run = quotes + character
            if len(self._run) == 3:
                self._quote, self._run = self._run, ""
            return
        self._run = _longer(self._run, character, "")
        self._depth += (character in "([{") - (character in ")]}")
        self.closed = character in ")]}" and self._depth <= 0


def _longer(run: str, character: str, quote: str) -> str:
    """The marks in a row after one more character; only whole fences at the beginning of a line and quotes count."""
    if character == quote:
        return run + character if run[:1] == quote else character
    if character == "\n":
        return character
    return run + character if character == "`" and run[:1] == "\n" else ""


def arguments(source: str) -> str | None:
    """The arguments of a call as a JSON object; None if the source is no call with literals by name."""
    try:
        function, by_place, by_name = parsed(source)
        return None if function != NAME or by_place else as_json(by_name)
    except ValueError:
        return None


def parsed(source: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The function that is called, and its arguments by place and by name. Raises ValueError for what is no call with
    literals that JSON has too."""
    if len(source) > _LONGEST:
        raise ValueError("too long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" is no fault of ours
            call = ast.parse(source.strip(), mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise ValueError("no call of a function by its name")
        return call.func.id, [_literal(value, _DEEPEST) for value in call.args], _arguments(call.keywords)
    except (TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("no call") from error


def as_json(arguments: dict[str, Any]) -> str:
    """Literals as a JSON object. Raises ValueError for numbers that JSON has not."""
    return json.dumps(arguments, ensure_ascii=False, allow_nan=False)


def _arguments(keywords: Iterable[ast.keyword]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for word in keywords:
        value = _literal(word.value, _DEEPEST)
        if word.arg is not None:
            made[word.arg] = value
        elif isinstance(value, dict):
            made |= value
        else:
            raise ValueError("** before what is no dict")
    return made


def _literal(node: ast.expr, depth: int) -> Any:
    """The value of a literal that JSON has too. Raises ValueError for everything else."""
    if depth == 0:
        raise ValueError("too deep")
    match node:
        case ast.Constant(value=str(text)):
            return _text(text)
        case ast.Constant(value=None | bool() | int() | float()):
            return node.value
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)) if (
            type(number) is not bool
        ):
            return -number
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_literal(item, depth - 1) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _literal(value, depth - 1) for key, value in zip(keys, values, strict=True)}
    raise ValueError("no literal")


def _key(node: ast.expr | None) -> str:
    value = None if node is None else _literal(node, 1)
    if isinstance(value, str):
        return value
    if node is None or isinstance(value, list | dict):
        raise ValueError("no key")
    return json.dumps(value, allow_nan=False)


def _text(text: str) -> str:
    """Joins the halves of characters that were escaped one by one. Raises UnicodeDecodeError for half a character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def written(arguments_json: str) -> str:
    """An earlier call's arguments as the model would have written them; what is no JSON object stays as it is."""
    try:
        found = json.loads(arguments_json or "{}")
        json.dumps(found, allow_nan=False)
        if not isinstance(found, dict):
            return arguments_json
        inside = ", ".join(f"{name}={value!r}" for name, value in found.items())
        return f"{NAME}({inside})" if all(map(_is_parameter, found)) else f"{NAME}(**{found!r})"
    except (ValueError, RecursionError):
        return arguments_json


def _is_parameter(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and unicodedata.is_normalized("NFKC", name)

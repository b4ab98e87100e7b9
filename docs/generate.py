"""Writes what is made from the table of fields: docs/parameters.md, and the API's description that the edge serves.

`python docs/generate.py [FOLDER]`: FOLDER is the repository unless given.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from glmserve.v1.model_pb2 import Capabilities, Model
from glmserve_gateway.fields import FIELDS, Field
from glmserve_gateway.openapi import description
from glmserve_gateway.parameters import outcomes
from glmserve_gateway.values import INT64_MAX, UINT32_MAX, Schema
from glmserve_server import fates
from glmserve_server.engines.chatglm import engine as chatglm
from glmserve_server.engines.llama import engine as llama
from glmserve_server.engines.scripted import ScriptedEngine
from glmserve_server.engines.upstream import zhipu
from glmserve_server.engines.upstream.listing import EVERYTHING

TABLE: Final = "docs/parameters.md"
DESCRIPTION: Final = "gateway/glmserve_gateway/envoy/openapi.json"

ENGINES: Final[Mapping[str, tuple[Capabilities, ...]]] = {
    "chatglm": (chatglm.capabilities(images=True, tools=True), chatglm.capabilities(images=False, tools=False)),
    "llama": tuple(
        llama.capabilities(images=able, tools=able, strict=able, reasoning=able, prompts=able) for able in (True, False)
    ),
    "upstream": (EVERYTHING,),
    "Zhipu": (zhipu.capabilities("glm-4.5v"), zhipu.capabilities("glm-4.6")),
    "scripted": (ScriptedEngine.capabilities,),
}
"""The columns: what the models of an engine can do, the most and the least."""

_HEAD: Final = """# What becomes of a parameter

Made by `make docs` from [the table of fields](../gateway/glmserve_gateway/fields.py) by which requests are read; `GET /v1/models/{id}` says the same of one model, in `glmserve.parameters`, and
`ModelService.GetModel` in the contract's names. The whole form of a request is in `/openapi.json`, which the edge serves.
`POST /v1/completions` has the same fields but for [a few](completions.md#post-v1completions).

- **honoured**: the answer is as asked for. **passed on**: the upstream honours it, or refuses it.
- **ignored**: the answer keeps its form without it, so it is left out, and named in the header `x-glmserve-ignored`, over gRPC in `ignored`. `--unsupported refuse` refuses it instead.
- **refused**: the caller relies on it, so the answer is HTTP 400, over gRPC INVALID_ARGUMENT, naming the field.
- **no effect**: taken, and changes no answer.
- Two words: by the model. Pictures are seen by GLM-4V, at Zhipu by models with a `v` in their names, and by GGUF models with a projector file; tools are called by ChatGLM3, GLM-4 and GGUF files whose template knows them.
- With `llama`, `strict` needs a `tool_choice` that names the function, and is refused if the file has a template of its own ([llama.md](llama.md)).

`null` is as good as absent, and so is a value that asks for nothing: `"n": 1`, `"presence_penalty": 0`, `"store": false`. Two names for one thing may both be given if they agree.
A name that is not here is ignored, since OpenAI's SDKs let callers add any.

"""


def table() -> str:
    """docs/parameters.md."""
    columns = ["field", "values", *ENGINES, "what it asks for"]
    lines = [columns, ["---"] * len(columns), *(row for field in FIELDS for row in _rows(field))]
    return _HEAD + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def fate(field: Field, path: str, engine: str) -> str:
    """A cell: what becomes of a field, or of what is beneath it, in words."""
    words = dict.fromkeys(_fate(field, path, engine, capabilities) for capabilities in ENGINES[engine])
    return " / ".join(words)


def paths(field: Field) -> list[str]:
    """The rows of a field: its own, and those of what it may hold that have fates of their own."""
    return list(dict.fromkeys([field.name, *(path for path, _ in outcomes(field, _model(EVERYTHING)))]))


def _fate(field: Field, path: str, engine: str, capabilities: Capabilities) -> str:
    known = dict(outcomes(field, _model(capabilities)))
    outcome = known.get(path) or ("honoured" if known else None)
    passed = engine == "upstream" and isinstance(field.target, str)
    if path == "n":
        return f"up to {capabilities.max_choices}" if capabilities.max_choices > 1 else "1; more refused"
    if outcome is None:
        return "passed on" if passed else "no effect"
    return "passed on" if passed and outcome == "honoured" else outcome


def _model(capabilities: Capabilities) -> Model:
    return Model(parameters=fates.parameters(capabilities, refuse=False))


def _rows(field: Field) -> Iterator[list[str]]:
    for path in paths(field):
        own = path == field.name
        cells = [fate(field, path, engine) for engine in ENGINES]
        yield [f"`{path}`", _values(field.read.schema) if own else "", *cells, field.about if own else ""]


def _values(schema: Schema) -> str:
    match schema:
        case {"anyOf": [*forms]}:
            words = " or ".join(map(_values, forms))
        case {"enum": [*members]}:
            words = ", ".join(f"`{member}`" for member in members)
        case {"const": value}:
            words = f"`{value}`"
        case {"$ref": str(ref)}:
            words = f"`{ref.rpartition('/')[2]}`"
        case {"type": "array", "items": items, **more}:
            most = f" of up to {more['maxItems']}" if "maxItems" in more else ""
            words = f"list{most}: {_values(items)}"
        case {"type": "number" | "integer"}:
            words = _range(schema)
        case _:
            words = str(schema.get("type", ""))
    return words


def _range(schema: Schema) -> str:
    least, most, kind = schema["minimum"], schema["maximum"], schema["type"]
    if most == INT64_MAX:
        return "integer of 64 bits"
    return f"{kind} from {least:g}" if most == UINT32_MAX else f"{kind} from {least:g} to {most:g}"


def _encoded(made: Any) -> str:
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"


def main(folder: Path) -> None:
    """Writes the files."""
    for name, text in ((TABLE, table()), (DESCRIPTION, _encoded(description()))):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1])

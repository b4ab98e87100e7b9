"""What becomes of each field of a request, by a model: what the table of fields and the contract's `Parameters` say."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from glmserve.v1 import model_pb2
from glmserve_gateway.fields import FIELDS, Fate, Field
from glmserve_gateway.paths import openai_path

Outcome: TypeAlias = Literal["honoured", "ignored", "refused"]
"""Of what is asked for. What no model can honour has the same one everywhere."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_EVERYWHERE: Mapping[Fate, Outcome] = {
    Fate.ANSWER: "honoured",
    Fate.IGNORED: "ignored",
    Fate.REFUSED: "refused",
}


def parameters(
    model: model_pb2.Model, fields: Sequence[Field] = FIELDS, *, refuse_ignored: bool = False
) -> dict[Outcome, list[str]]:
    """The names of a table, and paths beneath them, by what becomes of them; none that change nothing.

    `refuse_ignored`: what no model here honours is refused.
    """
    made: dict[Outcome, list[str]] = {outcome: [] for outcome in OUTCOMES}
    for field in fields:
        for name, outcome in outcomes(field, model):
            made["refused" if refuse_ignored and outcome == "ignored" else outcome].append(name)
    return made


def outcomes(field: Field, model: model_pb2.Model) -> Iterator[tuple[str, Outcome]]:
    """What becomes of a field and of what it may hold, as pairs of a path and an outcome."""
    if isinstance(field.target, Fate):
        if field.target in _EVERYWHERE:
            yield field.name, _EVERYWHERE[field.target]
        return
    for outcome in OUTCOMES:
        for path in getattr(model.parameters, outcome):
            if path == field.target or field.target.startswith(f"{path}."):
                yield field.name, outcome
            elif path.startswith((f"{field.target}.", f"{field.target}[")):
                yield openai_path(path, {field.target: field.name}), outcome

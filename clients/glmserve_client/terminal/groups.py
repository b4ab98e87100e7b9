"""Options that several commands share: a dataclass, written once."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Any, TypeVar

_T = TypeVar("_T")


def grouped(command: Callable[..., _T]) -> Callable[..., _T]:
    """The command for typer: a parameter whose type is a dataclass becomes an option (or argument) for each field."""
    signature = inspect.signature(command)
    kinds: dict[str, Any] = {name: one.annotation for name, one in signature.parameters.items()}
    groups: dict[str, Any] = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}

    @wraps(command)
    def run(**values: Any) -> _T:
        made = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        return command(**values, **made)

    spread = [one for name, old in signature.parameters.items() for one in _spread(old, groups.get(name))]
    run.__signature__ = signature.replace(parameters=spread)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in spread} | {"return": signature.return_annotation}
    return run


def _spread(parameter: Parameter, group: Any) -> Iterator[Parameter]:
    for field in fields(group) if group else ():
        yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=_default(field), annotation=field.type)
    if not group:
        yield parameter.replace(kind=Parameter.KEYWORD_ONLY)


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return Parameter.empty if field.default is MISSING else field.default

"""Groups of options that several commands share: each is a frozen dataclass that is written once.

A field of a group carries its option as `Annotated[type, typer.Option(...)]`; a command takes the whole group.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature
from typing import Any, get_type_hints


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with every parameter that is a dataclass replaced by the fields of that dataclass.

    What calls it, such as typer, sees single options by name; the command itself gets its groups.
    Raises TypeError where two groups have a field of the same name.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Size:
    ...     height: int
    ...     width: int = 2
    >>> def area(unit: str, size: Size) -> None:
    ...     print(size.height * size.width, unit)
    >>> spread(area)(unit="pixels", height=3)
    6 pixels
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters = list(_parameters(command, hints, groups))
    names = [each.name for each in parameters]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TypeError(f"{command.__name__}: two groups have the option {', '.join(twice)}")

    @wraps(command)
    def run(**options: Any) -> None:
        packed = {
            name: kind(**{each.name: options.pop(each.name) for each in fields(kind) if each.name in options})
            for name, kind in groups.items()
        }
        command(**options, **packed)

    del run.__wrapped__  # or the signature would be looked for there
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _parameters(command: Callable[..., None], hints: dict[str, Any], groups: dict[str, Any]) -> Iterator[Parameter]:
    """The single options of a command, in the order of its parameters and of the fields of its groups."""
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            yield parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name])
            continue
        kinds = get_type_hints(groups[name], include_extras=True)
        for each in fields(groups[name]):
            yield Parameter(each.name, Parameter.KEYWORD_ONLY, default=_default(each), annotation=kinds[each.name])


def _default(field: Field) -> Any:
    return Parameter.empty if field.default is MISSING else field.default

"""Groups of options that several commands share: each is a frozen dataclass that is written once.

A field of a group carries its option as `Annotated[type, typer.Option(...)]`; a command takes the whole group.
Groups are made without comparison and repr, which nobody asks for and --help would wait for.
Annotations are read as they are, so modules with groups and commands do without `from __future__ import annotations`:
evaluating those of every command from text would make --help a tenth slower.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature
from typing import Any


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
    taken = inspect.signature(command).parameters
    groups: dict[str, Any] = {name: each.annotation for name, each in taken.items() if is_dataclass(each.annotation)}
    parameters = list(_parameters(taken.values()))
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


def _parameters(taken: Iterable[Parameter]) -> Iterator[Parameter]:
    """The single options of a command, in the order of its parameters and of the fields of its groups."""
    for parameter in taken:
        if is_dataclass(parameter.annotation):
            for each in fields(parameter.annotation):
                yield Parameter(each.name, Parameter.KEYWORD_ONLY, default=_default(each), annotation=each.type)
        else:
            yield parameter.replace(kind=Parameter.KEYWORD_ONLY)


def _default(field: Field) -> Any:
    return Parameter.empty if field.default is MISSING else field.default

"""The settings of a class: the arguments of its ``__init__``, with their types, defaults and choices."""

from __future__ import annotations

import inspect
import types
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from penstock.discovery.declarations import get_config_enums


@dataclass(frozen=True, slots=True)
class Setting:
    """One argument of a class's ``__init__``."""

    name: str
    hint: Any
    default: Any
    required: bool
    choices: tuple[Any, ...] | None
    """The values that are allowed, where these are declared or follow from the type."""


@lru_cache(maxsize=1024)
def read_settings(cls: type) -> tuple[tuple[Setting, ...], bool]:
    """The settings that ``cls`` takes, and whether it takes any others as well (``**kwargs``)."""
    init = cls.__init__  # type: ignore[misc]  # the function of the class, not of an instance
    if init is object.__init__:
        return (), False
    enums = get_config_enums(cls)
    settings, open_ended = [], False
    hints = _resolve_hints(init)
    for parameter in list(inspect.signature(init).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            name, required = parameter.name, parameter.default is parameter.empty
            hint = hints.get(name, Any)
            choices = enums.get(name) or _find_choices(hint)
            default = None if required else parameter.default
            settings.append(Setting(name, hint, default, required, tuple(choices) if choices else None))
    return tuple(settings), open_ended


def _split_union(hint: Any) -> tuple[Any, ...]:
    """The types that ``hint`` allows, without None."""
    if get_origin(hint) in {Union, types.UnionType}:
        return tuple(part for member in get_args(hint) for part in _split_union(member))
    return () if hint in {None, type(None)} else (hint,)


def _find_choices(hint: Any) -> tuple[Any, ...] | None:
    """The values of a ``Literal`` or an ``Enum``, each of which may be optional."""
    members = _split_union(hint)
    if len(members) != 1:
        return None
    if get_origin(members[0]) is Literal:
        return tuple(choice for choice in get_args(members[0]) if choice is not None)
    if isinstance(members[0], type) and issubclass(members[0], Enum):
        return tuple(choice.value for choice in members[0])
    return None


def _resolve_hints(function: Any) -> dict[str, Any]:
    """The annotations of ``function``; one that cannot be resolved counts as any type."""
    try:
        return get_type_hints(function)
    except Exception:  # a name imported under TYPE_CHECKING, or a mistake in a user's file
        return {
            name: _resolve_hint(hint, getattr(function, "__globals__", {}))
            for name, hint in getattr(function, "__annotations__", {}).items()
        }


def _resolve_hint(hint: Any, names: dict[str, Any]) -> Any:
    probe = types.FunctionType((lambda: None).__code__, names)
    probe.__annotations__ = {"hint": hint}
    try:
        return get_type_hints(probe)["hint"]
    except Exception:
        return Any

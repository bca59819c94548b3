"""What a class declares about the arguments of its ``__init__``, for the editor and the static check.

Each declaration is a class attribute with a public name. The design document writes some of them with a
leading underscore (``_field_references``); that spelling is recognised everywhere and means the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

_NAMES = (
    "config_enums",
    "config_descriptions",
    "field_references",
    "part_references",
    "templates",
    "state_templates",
)


class Configurable:
    """Base of classes whose settings are the arguments of ``__init__``: blocks and gates.

    The nearest class that makes a declaration, under either spelling, decides it.
    """

    config_enums: ClassVar[dict[str, list[Any]]] = {}
    """Choices of an argument: argument -> allowed values. A ``Literal`` or an ``Enum`` needs no entry."""
    config_descriptions: ClassVar[dict[str, str]] = {}
    """What an argument means, in one sentence: argument -> sentence."""
    field_references: ClassVar[list[str]] = []
    """Arguments that name a field of the state."""
    part_references: ClassVar[list[str]] = []
    """Arguments that name a part of the step's output; None or empty means its first output."""
    templates: ClassVar[list[str]] = []
    """Arguments that are Jinja2 templates over the state, so that they can be checked before a run."""
    state_templates: ClassVar[dict[str, str]] = {}
    """Arguments that, when empty, are read from a field of the state: argument -> field."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _NAMES:  # both spellings can be read from every class
            value = _find(cls, name)
            for spelling in (name, f"_{name}"):
                if getattr(cls, spelling, None) is not value:
                    setattr(cls, spelling, value)


def get_config_enums(cls: type) -> Mapping[str, Sequence[Any]]:
    """The choices of arguments that ``cls`` declares: argument -> allowed values."""
    return _find(cls, "config_enums") or {}


def get_config_descriptions(cls: type) -> Mapping[str, str]:
    """The descriptions of arguments that ``cls`` declares, and those that it inherits for other arguments."""
    merged: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        merged.update(_find_own(each, "config_descriptions") or {})
    return merged


def get_field_references(cls: type) -> Sequence[str]:
    """The arguments of ``cls`` that name a field of the state."""
    return _find(cls, "field_references") or ()


def get_part_references(cls: type) -> Sequence[str]:
    """The arguments of ``cls`` that name a part of the step's output."""
    return _find(cls, "part_references") or ()


def get_templates(cls: type) -> Sequence[str]:
    """The arguments of ``cls`` that are templates over the state."""
    return _find(cls, "templates") or ()


def get_state_templates(cls: type) -> Mapping[str, str]:
    """The arguments of ``cls`` that, when empty, are read from a field of the state: argument -> field."""
    return _find(cls, "state_templates") or {}


def _find(cls: type, name: str) -> Any:
    """The declaration of the nearest class that makes it; None when none does."""
    declared = (_find_own(each, name) for each in cls.__mro__)
    return next((value for value in declared if value is not None), None)


def _find_own(cls: type, name: str) -> Any:
    """The declaration that ``cls`` itself makes, under either spelling."""
    own = vars(cls)
    return own.get(name, own.get(f"_{name}"))

"""What a class of a user must be before a pipeline can use it: its declarations and its methods.

Wrong declarations would fail somewhere inside of penstock, so a class that has them is not used at all.
Methods of the wrong form fail each record, so the static check of a pipeline reports them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import DefinitionError
from penstock.user_code import describe_exception, safe_text, to_exception


@dataclass(frozen=True, slots=True)
class Method:
    """A method that penstock calls: with how many arguments, and whether it is awaited."""

    name: str
    arguments: tuple[str, ...]
    is_async: bool = True


@dataclass(frozen=True, slots=True)
class Contract:
    """What classes of one kind declare, and the methods that penstock calls."""

    names: tuple[str, ...]
    """Attributes that are lists of names."""
    mappings: tuple[str, ...]
    texts: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    methods: tuple[Method, ...] = ()
    required: tuple[tuple[str, ...], ...] = ()
    """Methods of which each group must have one that the class defines itself."""


def _get_contract(cls: type) -> Contract:
    contract: Contract = cls._contract  # type: ignore[attr-defined]
    return contract


def find_declaration_issues(cls: type) -> list[str]:
    """What is wrong with the class attributes of ``cls``, each as a sentence without its subject."""
    contract = _get_contract(cls)
    checks: list[tuple[tuple[str, ...], Callable[[Any], bool], str]] = [
        (contract.names, _is_names, "a list of names"),
        (contract.mappings, _is_mapping, "a mapping"),
        (contract.texts, lambda value: isinstance(value, str), "text"),
        (contract.numbers, lambda value: isinstance(value, int | float), "a number"),
    ]
    return [
        f"'{name}' must be {expected}, not {describe_value(value)}"
        for attributes, is_met, expected in checks
        for name, value in _read(cls, attributes)
        if not is_met(value)
    ]


def find_method_issues(cls: type) -> list[str]:
    """What is wrong with the methods of ``cls``, each as a sentence without its subject."""
    contract = _get_contract(cls)
    issues = [
        f"it defines no method '{group[0]}'"
        for group in contract.required
        if all(_is_of_base(cls, name) for name in group)
    ]
    for method in contract.methods:
        function = inspect.getattr_static(cls, method.name, None)
        if inspect.isfunction(function) and not _is_of_base(cls, method.name):
            issues += _find_issues_of(function, method)
    return issues


def read_names(owner: object, attribute: str, what: str) -> list[str]:
    """The names in an attribute of a block or gate; raises DefinitionError when these are none."""
    try:
        value = getattr(owner, attribute)
        if _is_names(value):
            return [str(name) for name in value]
        reason = f"must be a list of names, not {describe_value(value)}"
    except BaseException as error:  # a property of a user's class
        reason = f"cannot be read: {describe_exception(to_exception(error))}"
    raise DefinitionError(f"{what}: '{attribute}' {reason}.", detail={"attribute": attribute})


def describe_value(value: object) -> str:
    """A value of the wrong type, in words."""
    if value is None:
        return "None"
    return f"the text '{safe_text(value, 40)}'" if isinstance(value, str) else _name(value)


def _name(value: object) -> str:
    return safe_text(type(value).__name__, 60)


def _read(cls: type, attributes: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """The attributes that the class has itself; what a property gives, only an instance knows."""
    for name in attributes:
        value = inspect.getattr_static(cls, name, ())
        if not hasattr(type(value), "__get__"):
            yield name, value


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(
        isinstance(name, str) and name for name in value
    )


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) or value == ()


def _is_of_base(cls: type, name: str) -> bool:
    """Whether a method is penstock's own, which only says that a class must define one."""
    return str(getattr(getattr(cls, name, None), "__module__", "penstock.")).startswith("penstock.")


def _find_issues_of(function: Any, method: Method) -> Iterator[str]:
    given = ", ".join(("self", *method.arguments))
    try:
        inspect.signature(function).bind(None, *method.arguments)
    except TypeError:
        yield f"'{method.name}' must take ({given})"
    except ValueError:  # no signature can be read
        pass
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        yield f"'{method.name}' must return its result instead of using 'yield'"
    elif inspect.iscoroutinefunction(function) is not method.is_async and not _may_be_other(function):
        yield f"'{method.name}' must be {'async def' if method.is_async else 'def, without async'}"


def _may_be_other(function: Any) -> bool:
    """Whether a plain function may still give something to await, as a decorated one does."""
    if inspect.iscoroutinefunction(function):
        return False
    result = str(getattr(function, "__annotations__", {}).get("return"))
    return hasattr(function, "__wrapped__") or any(
        word in result for word in ("Awaitable", "Coroutine", "Future")
    )

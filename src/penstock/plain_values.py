"""What blocks return as plain JSON values: one conversion, so that every place shows the same value.

Types of other libraries are known by their methods, so that none of them is imported. Whatever has no form in
JSON is refused with its place, because text such as ``<coroutine object …>`` in a dataset helps nobody.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Set, ValuesView
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from operator import methodcaller
from pathlib import PurePath
from typing import Any
from uuid import UUID

from penstock.user_code import name_exception, safe_text, to_exception

MAX_DEPTH = 200
"""How deep a value may be nested: writers of JSON further on recurse."""
MAX_SIZE = 64 * 1024 * 1024
"""The largest value, in characters; an item of a list or an object counts as 32."""
_ITEM_SIZE = 32
_LONG_TEXT = 10_000
"""Shorter texts count as an item only, which keeps the usual values fast."""
_SMALL = 2**63
_MAX_INT_BITS = 14_000
"""Python writes integers of up to 4,300 digits."""
_MAX_PLACE = 80
_AS_IT_IS = frozenset({bool, type(None)})


class NotPlainError(Exception):
    """A value has no form in JSON: where it is (``o.items[3]``), and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str | int] = []
        """The keys that lead to it, the innermost first."""

    @property
    def place(self) -> str:
        """Where the value is, as a path: ``o.items[3]``."""
        shown = ""
        for key in reversed(self.path):
            if isinstance(key, int):
                shown += f"[{key}]"
            else:
                shown += f".{key}" if shown else key
        return safe_text(shown, _MAX_PLACE)


class _Walk:
    """How much of ``MAX_SIZE`` is left."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_SIZE

    def count(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise NotPlainError(f"is larger than {MAX_SIZE // 1024 // 1024} MB")


class _NotUsualError(Exception):
    """A value needs more than a copy, or its place has to be found."""


def to_plain(value: Any) -> Any:
    """A copy of ``value`` of JSON's types only, which shares nothing mutable with it.

    Raises NotPlainError for what has no form in JSON, and for what is too large or too deep.
    """
    try:
        if type(value) is dict:
            return _copy_dict(value, _Walk(), 0)
    except (_NotUsualError, NotPlainError):
        pass
    return _to_plain(value, _Walk(), 0)


def _copy_dict(value: dict[Any, Any], walk: _Walk, depth: int) -> dict[str, Any]:
    """The copy of a dict that holds nothing but JSON's types, which nearly every value does."""
    walk.count(len(value) * _ITEM_SIZE)
    made = {}
    for key, item in value.items():
        if type(key) is not str:
            raise _NotUsualError
        kind = type(item)  # asked here, because a call for every item would take most of the time
        if kind is str:
            if len(item) > _LONG_TEXT:
                walk.count(len(item))
        elif kind is int:
            if not -_SMALL <= item < _SMALL:
                raise _NotUsualError
        elif kind is float:
            if item - item != 0.0:  # true of NaN and infinity
                raise _NotUsualError
        elif kind not in _AS_IT_IS:
            item = _copy_container(item, kind, walk, depth)  # noqa: PLW2901
        made[key] = item
    return made


def _copy_container(value: Any, kind: type, walk: _Walk, depth: int) -> Any:
    if depth >= MAX_DEPTH:
        raise _NotUsualError
    if kind is dict:
        return _copy_dict(value, walk, depth + 1)
    if kind is list:
        return _copy_list(value, walk, depth + 1)
    raise _NotUsualError


def _copy_list(value: list[Any], walk: _Walk, depth: int) -> list[Any]:
    walk.count(len(value) * _ITEM_SIZE)
    made = []
    for item in value:
        kind = type(item)
        if kind is str:
            if len(item) > _LONG_TEXT:
                walk.count(len(item))
        elif kind is int:
            if not -_SMALL <= item < _SMALL:
                raise _NotUsualError
        elif kind is float:
            if item - item != 0.0:
                raise _NotUsualError
        elif kind not in _AS_IT_IS:
            item = _copy_container(item, kind, walk, depth)  # noqa: PLW2901
        made.append(item)
    return made


def _to_plain(value: Any, walk: _Walk, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        if len(value) > _LONG_TEXT:
            walk.count(len(value))
        return value
    if kind in _AS_IT_IS:
        return value
    if kind is int or kind is float:
        return _check_number(value)
    if depth > MAX_DEPTH:
        raise NotPlainError(f"is nested deeper than {MAX_DEPTH} levels, or contains itself")
    if kind is dict:
        return _convert_dict(value, walk, depth + 1)
    if kind is list:
        return _convert_items(value, walk, depth + 1)
    return _convert_other(value, walk, depth + 1)


def _check_number(value: Any) -> Any:
    if type(value) is float:
        if math.isfinite(value):
            return value
        raise NotPlainError(f"is {value}, which JSON cannot hold; return None or a number")
    if -_SMALL <= value < _SMALL or value.bit_length() < _MAX_INT_BITS:
        return value
    raise NotPlainError("is an integer of more than 4,000 digits")


def _convert_dict(value: Mapping[Any, Any], walk: _Walk, depth: int) -> dict[str, Any]:
    walk.count(len(value) * _ITEM_SIZE)
    made: dict[str, Any] = {}
    for key, item in value.items():
        name = key if type(key) is str else _to_key(key)
        if name in made:
            raise NotPlainError(f"has the key {safe_text(name, 60)!r} twice, once not as text")
        try:
            made[name] = _to_plain(item, walk, depth)
        except NotPlainError as error:
            error.path.append(name)
            raise
    return made


def _convert_items(value: Iterable[Any], walk: _Walk, depth: int) -> list[Any]:
    made: list[Any] = []
    left = _ITEM_SIZE * (len(value) if isinstance(value, list) else 0)
    walk.count(left)
    for item in value:
        if not left:
            walk.count(_ITEM_SIZE)
        try:
            made.append(_to_plain(item, walk, depth))
        except NotPlainError as error:
            error.path.append(len(made))
            raise
    return made


def _to_key(key: Any) -> str:
    """The text of a key that is none, as writers of JSON make it."""
    plain = None if isinstance(key, tuple) else _to_plain(key, _Walk(), MAX_DEPTH)
    if isinstance(plain, str):
        return plain
    if isinstance(plain, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[plain]
    if isinstance(plain, int | float):
        return repr(plain)
    raise NotPlainError(f"has a key that is a {safe_text(type(key).__name__, 60)}; use text")


def _convert_other(value: Any, walk: _Walk, depth: int) -> Any:
    """A value whose type is none of JSON's; methods of its class may raise anything."""
    try:
        return _convert_by_class(value, walk, depth)
    except NotPlainError:
        raise
    except BaseException as error:
        raise NotPlainError(f"cannot be read: {name_exception(to_exception(error))}") from error


def _convert_by_class(value: Any, walk: _Walk, depth: int) -> Any:
    for classes, convert in _BY_CLASS:
        if isinstance(value, classes):
            return _to_plain(convert(value), walk, depth)
    if isinstance(value, Mapping):
        return _convert_dict(value, walk, depth)
    if isinstance(value, (tuple, list)) and not hasattr(value, "_asdict"):
        return _convert_items(value, walk, depth)
    if isinstance(value, (deque, range, ValuesView)):
        return _convert_items(value, walk, depth)
    if isinstance(value, Set):
        return _sort(_convert_items(value, walk, depth))
    if (read := _find_reader(value)) is None:
        raise NotPlainError(f"is {_describe(value)}")
    made = read(value)
    if type(made) is type(value):
        raise NotPlainError(f"is {_describe(value)}")
    return _to_plain(made, walk, depth)


def _find_reader(value: Any) -> Callable[[Any], Any] | None:
    """How an object of another library, a model or a record is read; None when it cannot be."""
    cls = type(value)
    if dataclasses.is_dataclass(cls):
        return lambda it: {field.name: getattr(it, field.name) for field in dataclasses.fields(it)}
    if hasattr(cls, "__attrs_attrs__"):
        return lambda it: {field.name: getattr(it, field.name) for field in cls.__attrs_attrs__}
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "kind", None) in {"M", "m"}:
        return _read_numpy_times
    if getattr(dtype, "kind", None) == "f" and not getattr(value, "shape", ()):
        return float  # a long double gives itself as its number of Python
    for method in ("model_dump", "_asdict", "tolist", "to_list", "as_py"):
        if callable(getattr(cls, method, None)):
            return methodcaller(method)
    return None


def _read_numpy_times(value: Any) -> Any:
    """Times of numpy as Python's, which have no parts of a microsecond: these are cut off."""
    name = str(value.dtype.name)
    if name.endswith(("[ns]", "[ps]", "[fs]", "[as]")):
        value = value.astype(f"{name.partition('[')[0]}[us]")
    return _refuse_missing_times(value.tolist())


def _refuse_missing_times(made: Any) -> Any:
    if isinstance(made, list):
        return [_refuse_missing_times(item) for item in made]
    if isinstance(made, date | timedelta):
        return made
    raise NotPlainError("is no time (NaT), which JSON cannot hold; return None or a time")


def _read_bytes(value: Any) -> str:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise NotPlainError("holds bytes that are not UTF-8 text; return text, such as base64") from None


def _read_time(value: Any) -> str:
    if value != value:  # noqa: PLR0124 (pandas' NaT, which says that it is a datetime)
        raise NotPlainError("is no time (NaT), which JSON cannot hold; return None or a time")
    return str(value.isoformat())


def _read_decimal(value: Decimal) -> int | float:
    """A whole number as an integer, any other with the digits of a float."""
    if value.is_finite() and value == value.to_integral_value() and abs(value.adjusted()) < 30:
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        raise NotPlainError(f"is {value}, which JSON cannot hold; return None or a number")
    return number


_BY_CLASS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (Enum, lambda value: value.value),
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (Decimal, _read_decimal),
    (Fraction, float),
    ((bytes, bytearray, memoryview), _read_bytes),
    ((date, time), _read_time),
    (timedelta, timedelta.total_seconds),
    ((UUID, PurePath), str),
)
"""Classes of Python, and how their values are read; an earlier one is asked first."""


def _sort(items: list[Any]) -> list[Any]:
    """The items of a set in an order that is the same in every process."""
    return sorted(items, key=lambda item: (type(item).__name__, item if _is_ordered(item) else repr(item)))


def _is_ordered(item: Any) -> bool:
    return isinstance(item, str | int | float)


def _describe(value: Any) -> str:
    """What a value is that cannot be kept, and what to do about it."""
    name = safe_text(type(value).__name__, 60)
    if hasattr(type(value), "__await__"):
        return f"a {name} that was not awaited; write 'await' before the call"
    if hasattr(type(value), "__next__") or hasattr(type(value), "__anext__"):
        return f"a {name}, which gives its items only once; return a list"
    if isinstance(value, type) or callable(value):
        return f"a {name}, which has no form in JSON; return what it gives"
    return f"an object of the class {name}, which has no form in JSON"

"""Limits on what a template may make and on the work that it may take.

A rendering has a budget of work and a largest size of text. Each loop, call, filter and operator that could
make something large is measured first and refused before it runs. Rendering never waits, so one counter a
thread is enough.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any

from jinja2.utils import Namespace

MAX_TEXT = 4_000_000
"""Characters of a rendered template, or of any value made on the way."""
MAX_WORK = 5_000_000
"""Units of work of one rendering: an iteration of a loop, half an element that is measured, 16 characters."""
CALL_COST = 20
"""Units of work of a call, besides those for its arguments."""
_MAX_BITS = 20_000
"""Of an integer."""
_MAX_WIDTH = 10_000
"""Characters that padding or formatting may fill up to."""

_PADDING_METHODS = {"center", "ljust", "rjust", "zfill", "expandtabs", "to_bytes"}
_WIDE_FORMAT = re.compile(r"\d{5,}|\*")
_CONTAINERS = (Mapping, list, tuple, set, frozenset)


class LimitExceededError(Exception):
    """A template asks for more than it may have."""


class _Budget(threading.local):
    """The units of work that the rendering of this thread has used."""

    used = 0


_budget = _Budget()


def reset_budget() -> None:
    """Begin a rendering of this thread."""
    _budget.used = 0


def spend(units: int) -> None:
    """Take ``units`` of work from the budget; raises LimitExceededError when it is used up."""
    _budget.used += units
    if _budget.used > MAX_WORK:
        raise LimitExceededError("it asks for too much work")


def allow_text(size: int) -> None:
    """Pay for a text of ``size`` characters that is about to be made; raises LimitExceededError."""
    if size > MAX_TEXT:
        raise LimitExceededError(f"it makes something larger than {MAX_TEXT} characters")
    spend(1 + (size >> 4))


def measure(value: Any) -> int:
    """About how many characters ``value`` would print as; raises LimitExceededError when too many."""
    if isinstance(value, str):
        allow_text(len(value))
        return len(value)
    size, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (str, bytes)):
            size += len(item) + 2
        elif isinstance(item, int):
            size += item.bit_length() // 3 + 1
        elif isinstance(item, _CONTAINERS):
            size += 2 * len(item) + 2
            if size > MAX_TEXT:
                break
            waiting.extend(item)
            if isinstance(item, Mapping):
                waiting.extend(item.values())
        elif isinstance(item, Namespace):
            raise LimitExceededError("a namespace cannot be printed; print one of its attributes")
        else:
            size += 8
        spend(2)
        if size > MAX_TEXT:
            break
    allow_text(size)
    return size


def measured(value: Any) -> Any:
    """``value``, once it has been measured."""
    measure(value)
    return value


def join(parts: Iterable[str]) -> str:
    """``"".join``, which stops as soon as the text grows too long."""
    texts: list[str] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_TEXT:
            break
        texts.append(part)
    allow_text(size)
    return "".join(texts)


def count_iterations(values: Any) -> Any:
    """What a loop goes over, each iteration paid for."""
    if isinstance(values, Sized):
        spend(len(values))
        return values
    return count_each(values)


def count_each(values: Iterable[Any]) -> Iterable[Any]:
    """The items of an iterable whose length is not known, each paid for when it is taken."""
    for value in values:
        spend(1)
        yield value


def check_format(text: str) -> None:
    """Refuse a format that fills up to a large width."""
    if _WIDE_FORMAT.search(text):
        raise LimitExceededError("it formats to a width that is too large")


def check_numbers(name: str, numbers: Iterable[Any]) -> None:
    """Refuse large numbers for a filter or method that makes as much as a number says."""
    for number in numbers:
        if isinstance(number, int) and abs(number) > _MAX_WIDTH:
            raise LimitExceededError(f"'{name}' is given a number that is too large")


def check_method(name: str, owner: str | bytes | int, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, ...]:
    """Measure a call of a text's or number's own method; returns the arguments to call it with."""
    measure(owner)
    if name in _PADDING_METHODS:
        check_numbers(name, (*args, *kwargs.values()))
    if isinstance(owner, int):
        return args
    if name == "expandtabs":
        allow_text(len(owner) * _MAX_WIDTH)
    elif name == "replace":
        allow_text(len(owner) + owner.count(args[0]) * len(args[1]))
    elif name == "join":
        args = (args[0] if isinstance(args[0], Sized) else list(count_each(args[0])),)
        _check_join(args[0], owner)
    return args


def _check_indent(text: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    width = width if isinstance(width, int) else len(str(width))
    allow_text((str(text).count("\n") + 1) * width)


def _check_replace(text: Any, old: Any, new: Any, *_: Any) -> None:
    allow_text(len(str(text)) + str(text).count(str(old)) * len(str(new)))


def _check_format_filter(text: Any, *args: Any, **kwargs: Any) -> None:
    check_format(str(text))
    allow_text(str(text).count("%") * (measure(args) + measure(kwargs)))


def _check_join(values: Any, d: Any = "", *_: Any, **__: Any) -> None:
    allow_text(measure(values) + len(str(d)) * len(values))


FILTER_CHECKS: dict[str, Callable[..., None]] = {
    "indent": _check_indent,
    "replace": _check_replace,
    "format": _check_format_filter,
    "join": _check_join,
}
"""Checks of filters that can make more than they are given, by name; called with the filter's arguments."""


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > _MAX_BITS:
        raise LimitExceededError("it makes a number that is too large")


def _check_times(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        _check_power(left, 1 + right.bit_length() // max(left.bit_length(), 1))
        return
    for value, times in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(value, (str, bytes, list, tuple)):
            allow_text((measure(value) + 1) * max(times, 0))


def _check_plus(left: Any, right: Any) -> None:
    if not isinstance(left, (int, float)):
        allow_text(measure(left) + measure(right))


def _check_percent(left: Any, right: Any) -> None:
    if isinstance(left, bytes):
        left = left.decode("latin-1")
    if isinstance(left, str):
        _check_format_filter(left, right)


OPERATOR_CHECKS: dict[str, Callable[[Any, Any], None]] = {
    "**": _check_power,
    "*": _check_times,
    "+": _check_plus,
    "%": _check_percent,
}
"""Checks of operators that can make more than they are given; called with both operands."""

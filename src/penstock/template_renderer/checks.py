"""Checks of methods, filters and operators that can make more than they are given, or take long.

Each is called with the arguments of the operation, before it runs, and raises LimitExceededError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sized
from itertools import chain
from typing import Any

from penstock.template_renderer.limits import (
    MAX_BITS,
    LimitExceededError,
    allow_text,
    count_each,
    measure,
    measure_indented,
    spend,
)

_MAX_WIDTH = 10_000
"""Characters that padding or formatting may fill up to."""
_PADDING_METHODS = {"center", "ljust", "rjust", "zfill", "expandtabs", "to_bytes"}
_SEARCHES = {"count", "find", "index", "partition", "replace", "split"}
_SLOW_SEARCHES = {"lstrip", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "strip"}
"""Methods whose time grows with the product of both lengths."""
_CODECS = {
    "utf8",
    "utf16",
    "utf32",
    "utf16le",
    "utf16be",
    "utf32le",
    "utf32be",
    "ascii",
    "latin1",
    "iso88591",
}
"""Encodings that take linear time."""
_WIDTH = re.compile(r"[%)][-#0+ ]*(\d*)\.?(\d*)")
"""Width and precision in the text of the ``%`` operator; a field begins with ``%`` or ``%(name)``."""
_STAR = re.compile(r"[%)][-#0+ \d.]*\*")
_NUMBER = re.compile(r"\d+")
_REPR = re.compile(r"%[^%]{0,20}[ra]")
_LONGEST_REPR = 10
"""Characters that ``%r`` may make of one."""


def count_widths(numbers: Iterable[str]) -> int:
    """The sum of the widths of a format."""
    total = 0
    for digits in numbers:
        if len(digits.lstrip("0")) > 4:
            raise LimitExceededError("it formats to a width that is too large")
        total += int(digits[-5:] or 0)
    return total


def count_spec_widths(format_spec: str) -> int:
    """The sum of width and precision in a format specification of ``str.format``."""
    return count_widths(_NUMBER.findall(format_spec))


def check_numbers(name: str, numbers: Iterable[Any]) -> None:
    """Refuse large numbers for a filter or method that makes as much as a number says."""
    for number in numbers:
        if isinstance(number, int) and abs(number) > _MAX_WIDTH:
            raise LimitExceededError(f"'{name}' is given a number that is too large")


def check_method(name: str, owner: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, ...]:
    """Measure a call of a value's own method; returns the arguments to call it with."""
    measure(owner)
    if name in _PADDING_METHODS:
        check_numbers(name, (*args, *kwargs.values()))
    if not isinstance(owner, (str, bytes)):
        return args
    if name in {"encode", "decode"}:
        _check_codec(*args[:1], *kwargs.values())
    elif name == "expandtabs":
        width = max(abs(size) for size in (*args, *kwargs.values(), 8) if isinstance(size, int))
        allow_text(len(owner) + len(owner) * width)
    elif name == "join":
        args = (args[0] if isinstance(args[0], Sized) else list(count_each(args[0])), *args[1:])
        _check_join(args[0], owner)
    if name in _SEARCHES or name in _SLOW_SEARCHES:
        _check_search(name, owner, args, kwargs)
    return args


def _check_codec(codec: Any = "utf-8", *_: Any) -> None:
    if re.sub(r"[^a-z0-9]", "", str(codec)[:20].lower()) not in _CODECS:
        raise LimitExceededError("it encodes text as something else than UTF-8, UTF-16, UTF-32 or Latin-1")


def _check_search(name: str, owner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    given = [*args, *kwargs.values()]
    sought = given[0] if given and isinstance(given[0], (str, bytes)) else ""
    length = len(sought) if name in _SLOW_SEARCHES else min(len(sought), 100)
    spend(len(owner) * length >> 8)
    if name == "replace" and len(given) > 1 and isinstance(given[1], type(owner)):
        allow_text(len(owner) + owner.count(given[0]) * len(given[1]))
    elif name in {"split", "rsplit"}:
        spend(len(owner) // max(len(sought), 1) >> 2)


def _check_indent(text: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    width = width if isinstance(width, int) else len(str(width))
    allow_text(len(str(text)) + (str(text).count("\n") + 1) * abs(width))


def _check_replace(text: Any, old: Any, new: Any, *_: Any, **__: Any) -> None:
    _check_search("replace", str(text), (str(old), str(new)), {})


def _check_format(text: Any, *args: Any, **kwargs: Any) -> None:
    text = str(text)
    if _STAR.search(text):
        raise LimitExceededError("it formats to a width that is too large")
    fields = text.count("%")
    spend(10 * fields)
    if len(args) == 1 and isinstance(args[0], Mapping):
        kwargs = {**args[0], **kwargs}
    size = fields * max(map(measure, kwargs.values())) if kwargs else measure(args)
    if _REPR.search(text):
        size *= _LONGEST_REPR
    allow_text(len(text) + count_widths(chain.from_iterable(_WIDTH.findall(text))) + size)


def _check_join(values: Any, d: Any = "", *_: Any, **__: Any) -> None:
    allow_text(measure(values) + len(str(d)) * (len(values) if isinstance(values, Sized) else 0))


def _check_trim(text: Any, chars: Any = None, *_: Any) -> None:
    _check_search("strip", str(text), (str(chars or ""),), {})


def _check_each_character(text: Any, *_: Any, **__: Any) -> None:
    if isinstance(text, str):
        spend(len(text))


def _check_sum(_values: Any, attribute: Any = None, start: Any = 0) -> None:
    if not isinstance(start, (int, float)):
        raise LimitExceededError("'sum' is for numbers")


def _check_sort(values: Any, *_: Any, **__: Any) -> None:
    if isinstance(values, Sized):
        spend(len(values) * 5)


def _check_tojson(value: Any, indent: Any = 2) -> None:
    measure_indented(value, len(indent) if isinstance(indent, str) else abs(int(indent or 0)))


FILTER_CHECKS: dict[str, Callable[..., None]] = {
    "format": _check_format,
    "groupby": _check_sort,
    "indent": _check_indent,
    "join": _check_join,
    "list": _check_each_character,
    "replace": _check_replace,
    "sort": _check_sort,
    "striptags": _check_each_character,
    "sum": _check_sum,
    "title": _check_each_character,
    "tojson": _check_tojson,
    "trim": _check_trim,
    "unique": _check_each_character,
    "urlencode": _check_each_character,
    "wordcount": _check_each_character,
}
"""Checks of filters, by name."""


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_BITS:
        raise LimitExceededError("it makes a number that is too large")


def _check_times(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_BITS:
            raise LimitExceededError("it makes a number that is too large")
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
        _check_format(left, *(right if isinstance(right, tuple) else (right,)))


def _check_nothing(left: Any, right: Any) -> None:
    """Numbers alone, which are not large, or sets, which no template can make."""


OPERATOR_CHECKS: dict[str, Callable[[Any, Any], None]] = {
    "**": _check_power,
    "*": _check_times,
    "+": _check_plus,
    "%": _check_percent,
    "-": _check_nothing,
    "/": _check_nothing,
    "//": _check_nothing,
}
"""Checks of operators; called with both operands."""


def slice_of(value: Any, start: Any, stop: Any, step: Any) -> Any:
    """``value[start:stop:step]``, paid for by what it copies."""
    part = slice(start, stop, step)
    if isinstance(value, (str, bytes, list, tuple)):
        size = len(range(*part.indices(len(value))))
        if isinstance(value, (list, tuple)):
            spend(size)
        else:
            allow_text(size)
    return value[part]

"""JSON text of a value, and when two values are the same JSON.

Values of seeds, models and blocks are written only here, so that traces, gates, exports and prompts agree on
what a value looks like.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

from penstock.errors import SerializationError

MAX_DEPTH = 200
"""Levels of lists and objects in JSON that somebody else wrote."""
_OPTIONS = orjson.OPT_NON_STR_KEYS
_EXACT = " "
"""First character of a text that only the standard library reads exactly (integers beyond 64 bits)."""
_EXACT_BYTES = _EXACT.encode()
_DIGITS = bytes(ord("0") if chr(code) in "0123456789." else ord(" ") for code in range(256))
"""Makes "0" of all that may be in the middle of a number."""
_LONG_NUMBER = b"0" * 17
"""A number without this many digits and points in a row is exact as an integer of 64 bits, or as a float."""
_FLAT = (str, int, type(None))


def to_json(value: Any, *, sort_keys: bool = False) -> str:
    """``value`` as compact JSON text; an object that JSON has no type for becomes its ``str``.

    Integers beyond 64 bits and lone surrogates are kept; NaN and infinities become null. With ``sort_keys``
    the same JSON value gives the same text. Raises SerializationError for a value that refers to itself, or
    that is nested too deep.
    """
    try:
        options = _OPTIONS | orjson.OPT_SORT_KEYS if sort_keys else _OPTIONS
        return orjson.dumps(value, default=str, option=options).decode()
    except (TypeError, ValueError):
        return _to_exact_json(value, sort_keys=sort_keys)


def to_json_bytes(value: Any) -> bytes:
    """``value`` as compact JSON in UTF-8, for files and pipes that other programs read; see ``to_json``."""
    try:
        return orjson.dumps(value, default=str, option=_OPTIONS)
    except (TypeError, ValueError):
        return _to_exact_json(value, sort_keys=False).removeprefix(_EXACT).encode()


def from_json(text: str | bytes | None) -> Any:
    """The value that ``to_json`` wrote; None for None. Raises ValueError for text that is not JSON."""
    if text is None:
        return None
    if text[:1] in (_EXACT, _EXACT_BYTES):  # a set would be made for each call
        return json.loads(text)
    return orjson.loads(text)


def parse_json(text: str | bytes, *, parse_float: Callable[[str], Any] | None = None) -> Any:
    """The value of JSON that somebody else wrote, with all digits of its integers.

    ``parse_float`` reads the numbers with a fraction or an exponent where they may have more digits than a
    float holds. Raises ``orjson.JSONDecodeError``, a ValueError, for text that is not JSON.
    """
    value = orjson.loads(text)
    data = text.encode() if isinstance(text, str) else text
    if _LONG_NUMBER not in data.translate(_DIGITS):
        return value
    del value  # two copies of a large value would be in memory
    try:
        return json.loads(data, parse_float=parse_float)
    except (ValueError, RecursionError) as error:  # more digits than Python converts, or nested very deep
        raise orjson.JSONDecodeError(f"a number cannot be read: {error}", data.decode(), 0) from error


def to_text(value: Any) -> str:
    """``value`` as a prompt or a score reads it: text unchanged, None as "", lists and objects as JSON.

    Raises SerializationError for a value that refers to itself, that is nested too deep, or whose keys JSON
    has no text for.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        if isinstance(value, (dict, list, tuple, bool)):
            return json.dumps(value, ensure_ascii=False, default=str)
        return str(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(f"A value cannot be written as text: {error}") from error


def is_nested_too_deep(value: Any) -> bool:
    """Whether a value has more than ``MAX_DEPTH`` levels, so that it cannot be kept and shown everywhere."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(each for each in item.values() if isinstance(each, (dict, list, tuple)))
            elif isinstance(item, (list, tuple)):
                inner.extend(each for each in item if isinstance(each, (dict, list, tuple)))
        if not inner:
            return False
        level = inner
    return True


def is_same_json(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: unlike ``==``, ``1``, ``1.0`` and ``True`` differ."""
    if one is other:
        return True
    if type(one) is not type(other) or one != other:
        return False
    return isinstance(one, _FLAT) or to_json(one) == to_json(other)


def _to_exact_json(value: Any, *, sort_keys: bool) -> str:
    """JSON of values that orjson refuses: integers beyond 64 bits, lone surrogates, deep nesting."""
    try:
        text = json.dumps(value, default=str)
        plain = json.loads(text, parse_constant=lambda _: None)
        return _EXACT + json.dumps(plain, separators=(",", ":"), sort_keys=sort_keys)
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(f"A value cannot be kept as JSON: {error}") from error

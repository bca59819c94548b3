"""JSON text of a value, and when two values are the same JSON.

Values of seeds, models and blocks are written only here, so that traces, gates, exports and prompts agree on
what a value looks like.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from penstock.errors import SerializationError

_OPTIONS = orjson.OPT_NON_STR_KEYS
_EXACT = " "
"""First character of a text that only the standard library reads exactly (integers beyond 64 bits)."""
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


def from_json(text: str | bytes | None) -> Any:
    """The value that ``to_json`` wrote; None for None. Raises ValueError for text that is not JSON."""
    if text is None:
        return None
    if text[:1] in {_EXACT, _EXACT.encode()}:
        return json.loads(text)
    return orjson.loads(text)


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

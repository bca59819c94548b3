"""JSON in seed files, read without losing a digit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson

from penstock.errors import BadInputError
from penstock.seeds.limits import MAX_JSON_ITEMS
from penstock.serialization import parse_json

_NOT_JSON = ("NaN", "-Infinity", "Infinity")


def parse_exactly(text: str | bytes) -> Any:
    """The value of a JSON text; a number with more digits than a float holds stays as text.

    Raises ``orjson.JSONDecodeError``.
    """
    return parse_json(text, parse_float=_read_fraction)


def refuse_many_values(data: bytes, place: str) -> None:
    """Raise BadInputError for JSON whose values would take far more memory than its text."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_JSON_ITEMS:
        raise BadInputError(
            f"{place} holds too many values (more than {MAX_JSON_ITEMS:,} commas and brackets). "
            "Split it, or use a JSONL file with one seed in each line."
        )


def explain(error: orjson.JSONDecodeError) -> str:
    """What is wrong with a JSON text."""
    document = error.doc if isinstance(error.doc, str) else bytes(error.doc).decode("utf-8", "replace")
    for word in _NOT_JSON:
        if document.startswith(word, error.pos) or document.startswith(word, error.pos - 1):
            return f"{word} is no value in JSON, use null instead"
    return error.msg


def to_exact_number(value: Decimal) -> int | float | str:
    """A decimal number as a whole number, or as ``to_exact_float`` does."""
    return int(value) if value == value.to_integral_value() else to_exact_float(value)


def to_exact_float(value: Decimal) -> float | str:
    """A decimal number as a float, or as text when a float would lose digits of it."""
    number = float(value)
    return number if Decimal(repr(number)) == value else format(value, "f")


def _read_fraction(text: str) -> float | str:
    number = float(text)
    if repr(number) == text:
        return number
    value = Decimal(text)
    digits = len(value.as_tuple().digits)
    if Decimal(repr(number)) == value or Decimal(f"{number:.{digits - 1}e}") == value:
        return number
    return text

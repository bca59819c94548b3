"""Parts and values as the messages of findings show them: short, in one line, never as Python writes them."""

from __future__ import annotations

from typing import Any

from penstock.gates.parts import ABSENT
from penstock.gates.text_matching import as_text

_MAX_SHOWN = 120
_TYPES = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    dict: "an object",
    list: "a list",
    tuple: "a list",
}


def describe_type(value: Any, expected: str = "text") -> str:
    """Why a value has the wrong type: ``is missing``, ``is a list, not text``."""
    if value is ABSENT:
        return "is missing"
    name = _TYPES.get(type(value))
    return f"is {name}, not {expected}" if name else f"is not {expected}"


def shorten(text: str, limit: int) -> str:
    """``text`` in one line of at most ``limit`` characters."""
    line = " ".join(text[: limit * 4].split())
    return line if len(line) <= limit and len(text) <= limit * 4 else line[: limit - 1] + "…"


def show(value: object) -> str:
    """A value in one short line, as JSON unless it is text."""
    return shorten(as_text(value), _MAX_SHOWN)

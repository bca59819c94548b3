"""Anything that a state may hold, as text."""

from __future__ import annotations

import json
from typing import Any


def to_text(value: Any) -> str:
    """A value as a reader would want it: text as it is, nothing as "", lists and dicts as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (dict, list, tuple, bool)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)

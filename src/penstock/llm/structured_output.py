"""Read the JSON in what a model wrote."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import orjson

_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\r?\n?(.*?)(?:```|\Z)", re.DOTALL)
_OBJECT = re.compile(r"""\{\s*(?:["'“]|[A-Za-z_]\w*\s*:|\})""")
_LIST = re.compile(r"""\[\s*[\[{"'\d\]-]""")
_MOST_FENCES = 5
_MOST_STARTS = 20
_MOST_REPAIRS = 3
_LONGEST_REPAIRED = 16_000
_LONG = 2_000
"""Characters; on a text made to be hard, repairing takes time by the square of the length."""

_NOTHING: Any = object()


def parse_json(text: str, default: Any = None, *, repair: bool = True) -> Any:
    """The JSON value in ``text``; ``default`` when there is none.

    Plain JSON gives any value. Out of a code fence, out of prose, or with slight faults (single quotes, a
    comma too many, a missing bracket; only with ``repair``) it gives an object or a list, and only one that
    the text really holds.
    """
    text = _THOUGHTS.sub("", text, count=1).strip()
    if (value := _load(text)) is not _NOTHING:
        return value
    candidates = [match[1].strip() for match in islice(_FENCE.finditer(text), _MOST_FENCES)]
    for candidate in candidates:
        if isinstance(value := _load(candidate), dict | list):
            return value
    for candidate in (*candidates, text):
        if (value := _find(candidate)) is not _NOTHING:
            return value
    if repair and len(text) <= _LONGEST_REPAIRED:
        for candidate in (*candidates, text):
            if (value := _repair(candidate)) is not _NOTHING:
                return value
    return default


def _load(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _NOTHING


def _find(text: str) -> Any:
    """The longest sound object or list inside ``text``."""
    from json import JSONDecoder

    decoder = JSONDecoder(parse_constant=_none)  # NaN and Infinity are not JSON
    found, longest, end = _NOTHING, 0, 0
    for start in _starts(text):
        if start < end:
            continue
        try:
            value, stop = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            if longest == 0 and (text[start] == "{" or start == 0):
                return _NOTHING  # what is inside a broken object or list is not the answer
            continue
        if stop - start > longest:
            found, longest = value, stop - start
        end = stop
    return found


def _none(_constant: str) -> None:
    return None


def _repair(text: str) -> Any:
    """The object or list that ``text`` holds in slightly broken form."""
    import json_repair

    for start in _starts(text)[: 1 if len(text) > _LONG else _MOST_REPAIRS]:
        try:
            value: Any = json_repair.loads(text[start:], skip_json_loads=True)
        except (ValueError, RecursionError):
            return _NOTHING
        if isinstance(value, list) and text[start] == "{":  # several objects one after the other
            value = next((item for item in value if isinstance(item, dict)), None)
        if isinstance(value, dict) and value:
            return value
        if isinstance(value, list) and value and (start == 0 or any(isinstance(one, dict) for one in value)):
            return value
    return _NOTHING


def _starts(text: str) -> list[int]:
    """Where an object or a list may begin, from the left."""
    matches = (islice(pattern.finditer(text), _MOST_STARTS) for pattern in (_OBJECT, _LIST))
    return sorted(match.start() for some in matches for match in some)[:_MOST_STARTS]

"""Ask for an answer as JSON, and read the JSON in what the model wrote."""

from __future__ import annotations

import re
from enum import IntEnum
from itertools import islice
from typing import Any

import orjson

from penstock.errors import LLMRefusedError
from penstock.serialization import to_json

_FORMAT_REFUSAL_STATUSES = frozenset({400, 404, 415, 422, 501})
_FORMAT_NAMES = ("response_format", "json_schema", "json_object", "schema", "format")

_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\r?\n?(.*?)(?:```|\Z)", re.DOTALL)
_OBJECT = re.compile(r"""\{\s*(?:["'“]|[A-Za-z_]\w*\s*:|\})""")
_LIST = re.compile(r"""\[\s*[\[{"'\d\]-]""")
_MOST_FENCES = 5
_MOST_STARTS = 20
_MOST_REPAIRS = 3
_LONGEST_REPAIRED = 16_000
_LONG = 2_000
"""Characters; in the worst case the time of a repair grows with the square of the length."""

_NOTHING: Any = object()


class ResponseFormat(IntEnum):
    """How an answer is requested as JSON; the strongest first."""

    JSON_SCHEMA = 0
    JSON_OBJECT = 1
    TEXT = 2

    @property
    def weaker(self) -> ResponseFormat | None:
        """The format to use when this one is refused; None when there is none."""
        return None if self is ResponseFormat.TEXT else ResponseFormat(self + 1)


def with_format(request: dict[str, Any], schema: dict[str, Any], format_: ResponseFormat) -> dict[str, Any]:
    """``request`` with ``schema`` as its response format, or in a system message for a weaker format."""
    if format_ is ResponseFormat.JSON_SCHEMA:
        json_schema = {"name": "response", "schema": schema, "strict": True}
        return {**request, "response_format": {"type": "json_schema", "json_schema": json_schema}}
    instruction = f"Answer with nothing but JSON that follows this JSON schema:\n{to_json(schema)}"
    messages = list(request["messages"])
    if messages and messages[0].get("role") == "system" and isinstance(messages[0].get("content"), str):
        messages[0] = {**messages[0], "content": f"{messages[0]['content']}\n\n{instruction}"}
    else:
        messages.insert(0, {"role": "system", "content": instruction})
    weaker = {**request, "messages": messages}
    if format_ is ResponseFormat.JSON_OBJECT:
        weaker["response_format"] = {"type": "json_object"}
    return weaker


def may_refuse_format(error: LLMRefusedError, *, first: bool) -> bool:
    """Whether a refusal may be about the response format.

    It is when it names the format, or when its status is 400 and the format was never tried before
    (``first``).
    """
    if error.detail.get("status") not in _FORMAT_REFUSAL_STATUSES:
        return False
    body = str(error.detail.get("body", "")).lower()
    return (first and error.detail["status"] == 400) or any(name in body for name in _FORMAT_NAMES)


def parse_json(text: str, default: Any = None, *, repair: bool = True) -> Any:
    """The JSON value in ``text``; ``default`` when there is none.

    Plain JSON may be any value. JSON inside a code fence or prose, and JSON with small errors (single quotes,
    an extra comma, a missing bracket; only with ``repair``), must be an object or a list that the text really
    holds.
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
    """The longest valid object or list inside ``text``."""
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
                return _NOTHING  # a part of a broken object or list is not the answer
            continue
        if stop - start > longest:
            found, longest = value, stop - start
        end = stop
    return found


def _none(_constant: str) -> None:
    return None


def _repair(text: str) -> Any:
    """The object or list that ``text`` holds with small errors."""
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

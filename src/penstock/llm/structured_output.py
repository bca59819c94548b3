"""Ask for an answer as JSON, and read the JSON in what the model wrote."""

from __future__ import annotations

import json
import re
from enum import IntEnum
from itertools import islice
from typing import Any

import orjson

from penstock.errors import LLMRefusedError
from penstock.json_schema import compile_schema
from penstock.llm.thoughts import split_thoughts
from penstock.llm.transports.refusals import is_about_format, is_vague
from penstock.serialization import to_json

_FENCE = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\r?\n?(.*?)(?:```|\Z)", re.DOTALL)
_OBJECT = re.compile(r"""\{\s*(?:["'“]|[A-Za-z_]\w*\s*:|\})""")
_LIST = re.compile(r"""\[\s*[\[{"'\d\]-]""")
_LONG_INTEGER = re.compile(r"\d{19}")
_MOST_FENCES = 5
_MOST_STARTS = 20
_MOST_REPAIRS = 3
_LONGEST_REPAIRED = 16_000
_LONG = 2_000
"""Characters; in the worst case the time of a repair grows with the square of the length."""

NOTHING: Any = object()
"""In place of a JSON value where there is none; null is a value."""


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

    It is when its words name the format, whatever its status, or when it gives no reason and the format was
    never tried before (``first``).
    """
    words = str(error.detail.get("body", "")).lower()
    return is_about_format(words) or (first and error.detail.get("status") in {400, 422} and is_vague(words))


def is_object_schema(schema: dict[str, Any]) -> bool:
    """Whether every value that follows ``schema`` is an object, as far as its root says."""
    return schema.get("type", "object" if "properties" in schema or not schema else None) == "object"


def parse_json(
    text: str, default: Any = None, *, repair: bool = True, schema: dict[str, Any] | None = None
) -> Any:
    """The JSON value in ``text``; ``default`` when there is none.

    Plain JSON may be any value. JSON inside a code fence or prose, and JSON with small errors (single quotes,
    an extra comma, a missing bracket; only with ``repair``), must be an object or a list that the text really
    holds, or in a fence a value that ``schema`` accepts. Thoughts are skipped. Of several values it is the
    last one that ``schema`` accepts, or else the last one.
    """
    text = split_thoughts(text)[1].strip()
    if (value := load_json(text)) is not NOTHING:
        return value
    fences = [match[1].strip() for match in islice(_FENCE.finditer(text), _MOST_FENCES)]
    values = [value for fence in fences if (value := load_json(fence)) is not NOTHING]
    found = [value for value in values if isinstance(value, dict | list)]
    found = _find(text) or found or [value for fence in fences for value in _find(fence)]
    if not found and schema is not None:
        found = [value for value in values if accepts(schema, value)]
    if found:
        return _choose(found, schema)
    if repair and len(text) <= _LONGEST_REPAIRED:
        for candidate in (*fences, text):
            if (value := _repair(candidate, schema)) is not NOTHING:
                return value
    return default


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Whether ``value`` follows ``schema``; False when the schema cannot be used, or that is much work."""
    try:
        return compile_schema(schema).accepts(value)
    except (ValueError, TypeError):
        return False


def _choose(values: list[Any], schema: dict[str, Any] | None) -> Any:
    """The answer among several values: models write drafts and examples before it."""
    if schema is not None and len(values) > 1:
        for value in reversed(values):
            if accepts(schema, value):
                return value
    return values[-1]


def load_json(text: str) -> Any:
    """The value of a text that is JSON and nothing else, else NOTHING; integers keep their digits."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return NOTHING
    # orjson reads an integer of more than 64 bits as a float, without an error.
    return _load_exactly(text, value) if _LONG_INTEGER.search(text) else value


def _load_exactly(text: str, default: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return default


def _find(text: str) -> list[Any]:
    """The valid objects and lists inside ``text``, each of them outermost."""
    decoder = json.JSONDecoder(parse_constant=_none)  # NaN and Infinity are not JSON
    found: list[Any] = []
    end = 0
    for start in _starts(text):
        if start < end:
            continue
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            if not found and (text[start] == "{" or start == 0):
                return []  # a part of a broken object or list is not the answer
            continue
        found.append(value)
    objects = [value for value in found if isinstance(value, dict)]
    return found if len(objects) in {0, len(found)} else _without_fragments(found)


def _without_fragments(found: list[Any]) -> list[Any]:
    """``found`` without lists of plain numbers and text, which prose has as notes (``[1]``)."""
    kept = [
        value
        for value in found
        if isinstance(value, dict) or any(isinstance(item, dict | list) for item in value)
    ]
    return kept or found


def _none(_constant: str) -> None:
    return None


def _repair(text: str, schema: dict[str, Any] | None) -> Any:
    """The object or list that ``text`` holds with small errors."""
    import json_repair

    for start in _starts(text)[: 1 if len(text) > _LONG else _MOST_REPAIRS]:
        try:
            value: Any = json_repair.loads(text[start:], skip_json_loads=True)
        except (ValueError, RecursionError):
            return NOTHING
        if isinstance(value, list) and text[start] == "{":  # several objects one after the other
            objects = [item for item in value if isinstance(item, dict)]
            value = _choose(objects, schema) if objects else None
        if isinstance(value, dict) and value:
            return value
        if isinstance(value, list) and value and (start == 0 or any(isinstance(one, dict) for one in value)):
            return value
    return NOTHING


def _starts(text: str) -> list[int]:
    """Where an object or a list may begin, from the left."""
    matches = (islice(pattern.finditer(text), _MOST_STARTS) for pattern in (_OBJECT, _LIST))
    return sorted(match.start() for some in matches for match in some)[:_MOST_STARTS]

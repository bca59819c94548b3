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
from penstock.serialization import MAX_DEPTH, is_nested_too_deep, to_json

_FENCE = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\r?\n?(.*?)(?:```|\Z)", re.DOTALL)
_OBJECT = re.compile(r"""\{\s*(?:["'“]|[A-Za-z_]\w*\s*:|\})""")
_LIST = re.compile(r"""\[\s*[\[{"'\d\]-]""")
_LONG_INTEGER = re.compile(r"\d{19}")
_BRACKET = re.compile(r"[\[\]{}]")
_MOST_FENCES = 5
_MOST_STARTS = 20
_MOST_REPAIRS = 3
_LONGEST_REPAIRED = 16_000
_LONG = 2_000
_MOST_READS = 20_000
"""Characters that the repair of an answer may look at, some of them often: some 20 ms of work."""
_MOST_SCANNED = 500_000
"""Characters of an answer in which objects and lists are looked for, some of them often."""

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
    an extra comma, a missing bracket; only with ``repair``, and as far as that is little work), must be an
    object or a list that the text really holds, or in a fence a value that ``schema`` accepts. Thoughts are
    skipped. Of several values it is the last one that ``schema`` accepts, or else the last one.
    """
    text = split_thoughts(text)[1].strip()
    if (value := load_json(text)) is not NOTHING:
        return value
    if _nests_too_deep(text):
        return default
    fences = [match[1].strip() for match in islice(_FENCE.finditer(text), _MOST_FENCES)]
    values = [value for fence in fences if (value := load_json(fence)) is not NOTHING]
    found = [value for value in values if isinstance(value, dict | list)]
    found = _find(text) or found or [value for fence in fences for value in _find(fence)]
    if not found and schema is not None:
        found = [value for value in values if accepts(schema, value)]
    if found:
        return _choose(found, schema)
    if repair and len(text) <= _LONGEST_REPAIRED:
        reads = _Reads(_MOST_READS)
        for candidate in (*fences, text):
            if (value := _repair(candidate, schema, reads)) is not NOTHING:
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
    """The value of a text that is JSON and nothing else, else NOTHING; integers keep their digits.

    JSON that is nested too deep to be kept is NOTHING, too.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return NOTHING
    if text.count("[") + text.count("{") > MAX_DEPTH and is_nested_too_deep(value):
        return NOTHING
    # orjson reads an integer of more than 64 bits as a float, without an error.
    return _load_exactly(text, value) if _LONG_INTEGER.search(text) else value


def _nests_too_deep(text: str) -> bool:
    """Whether more objects and lists are open in ``text`` at the same time than a value may have levels."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth = depth + 1 if bracket[0] in "[{" else max(depth - 1, 0)
        if depth > MAX_DEPTH:
            return True
    return False


def _load_exactly(text: str, default: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return default


def _find(text: str) -> list[Any]:
    """The valid objects and lists inside ``text``, each of them outermost."""
    decoder = json.JSONDecoder(parse_constant=_none)  # NaN and Infinity are not JSON
    found: list[Any] = []
    end = scanned = 0
    for start in _starts(text):
        if start < end:
            continue
        if scanned > _MOST_SCANNED:
            break
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            scanned += getattr(error, "pos", start) - start
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


class _TooManyReadsError(Exception):
    """The repair of an answer looks at too many characters."""


class _Reads:
    """How many characters may still be looked at."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


class _CountedText(str):
    """A text that counts how often its characters are looked at."""

    __slots__ = ("reads",)
    reads: _Reads

    def __getitem__(self, index: Any) -> str:
        part = str.__getitem__(self, index)
        self.reads.left -= 1 + (len(part) >> 4)
        if self.reads.left < 0:
            raise _TooManyReadsError
        return part


def _repair(text: str, schema: dict[str, Any] | None, reads: _Reads) -> Any:
    """The object or list that ``text`` holds with small errors."""
    import json_repair

    for start in _starts(text)[: 1 if len(text) > _LONG else _MOST_REPAIRS]:
        counted = _CountedText(text[start:])
        counted.reads = reads
        try:
            value: Any = json_repair.loads(counted, skip_json_loads=True)
        except (ValueError, RecursionError, _TooManyReadsError):
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

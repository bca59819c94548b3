"""Reading the body of a chat completion, in the shapes that servers send."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import inf
from typing import Any

import orjson

from penstock.llm.transports.base import Answer
from penstock.serialization import to_json

MALFORMED = (ValueError, LookupError, TypeError, AttributeError)
"""What ``read_answer`` raises for a body of another shape."""
_MOST_TOKENS = 2**53
_MOST_DIGITS = 300
_LONGEST_REASON = 100
_LARGEST_TOLERATED = 2**22
"""Bytes; the tolerant reader is slow."""
_PADDING = "\ufeff \t\r\n\0"
_SURROGATES = re.compile("[\ud800-\udfff]")
_BEGINNING = 160
_OTHER_PARTS = {"refusal", "reasoning_content", "reasoning", "tool_calls"}
"""What a message may have in place of ``content``."""


def load_body(raw: bytes) -> Any:
    """The JSON of a body; also of one that strict readers refuse for what has nothing to do with its text.

    Such are numbers that no computer holds, NaN, half a character, and padding. Raises ValueError.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        if len(raw) > _LARGEST_TOLERATED:
            raise
    text = raw.decode(json.detect_encoding(raw), "replace").strip(_PADDING)
    try:
        value, end = _TOLERANT.raw_decode(text)
        if end < len(text):
            raise ValueError(f"the JSON ends at {end}, and is followed by something else")
        return _without_surrogates(value)
    except RecursionError as error:
        raise ValueError("the JSON is too deep") from error


def _read_integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _MOST_DIGITS else inf


_TOLERANT = json.JSONDecoder(strict=False, parse_int=_read_integer)


def _without_surrogates(value: Any) -> Any:
    """A value without halves of characters, which no text outside of JSON may have."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    return value


def read_answer(body: Any) -> Answer:
    """The answer in a chat completion: of several choices the one with index 0.

    Raises ValueError, LookupError, TypeError or AttributeError when ``body`` has another shape.
    """
    choice = min((one for one in body["choices"] if isinstance(one, dict)), key=_index)
    message = choice.get("message")
    if message is None:
        message = {"content": choice["text"]}  # servers that answer as ``/completions`` does
    if "content" not in message and not message.keys() & _OTHER_PARTS:
        raise KeyError("content")
    text, thoughts = _read_content(message.get("content"))
    thoughts.insert(0, _first_text(message, "reasoning_content", "reasoning"))
    reason = _read_word(choice.get("finish_reason"))
    if not text and (refusal := message.get("refusal")):
        text, reason = str(refusal), "content_filter"
    return Answer(text, reason, *_read_usage(body.get("usage")), "\n\n".join(filter(None, thoughts)))


def _read_content(content: Any) -> tuple[str, list[str]]:
    """The text and the thoughts in what a message has as its content."""
    if content is None or isinstance(content, str):
        return content or "", []
    if isinstance(content, list):
        thoughts = [thought for part in content for thought in _thoughts_in(part)]
        return "".join(_text_of(part) for part in content), thoughts
    if isinstance(content, dict) and isinstance(content.get("text"), str):
        return content["text"], []
    return to_json(content), []  # some servers parse the JSON that a model wrote


def _read_word(reason: Any) -> str:
    """A finish reason, whatever the server puts there."""
    return str(reason or "stop")[:_LONGEST_REASON]


def describe_body(text: str) -> str:
    """Why an answer with a good status cannot be read, with its beginning; ``text`` has been redacted."""
    start = text.lstrip("\ufeff \t\r\n")
    if not start:
        return "the answer has no body"
    beginning = " ".join(start[: _BEGINNING * 2].split())[:_BEGINNING]
    if start.startswith(("data:", "event:", ":")):
        return f"the server streams though it was not asked to: {beginning}"
    if start[:1] == "<":
        return f"the server sent a web page, so LLM_ENDPOINT may be wrong: {beginning}"
    return f"the answer cannot be read: {beginning}"


def _index(choice: dict[str, Any]) -> float:
    try:
        return float(choice.get("index") or 0)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _first_text(message: Any, *names: str) -> str:
    return next((value for name in names if isinstance(value := message.get(name), str) and value), "")


def _text_of(part: Any) -> str:
    return part if isinstance(part, str) else part.get("text") or ""


def _thoughts_in(part: Any) -> Iterator[str]:
    thought = part.get("thinking") if isinstance(part, dict) else None
    if isinstance(thought, str):
        yield thought
    elif isinstance(thought, list):
        yield "".join(_text_of(inner) for inner in thought)


def _read_usage(usage: Any) -> tuple[int | None, int | None, int | None]:
    """Input, output and cached tokens; None for what is missing or no possible number."""
    if not isinstance(usage, dict):
        return None, None, None
    given = _read_count(usage.get("prompt_tokens"))
    made = _read_count(usage.get("completion_tokens"))
    if given == 0 and not made:  # litellm and some gateways write zeros where the provider says nothing
        return None, None, None
    details = usage.get("prompt_tokens_details")
    cached = _read_count(details.get("cached_tokens")) if isinstance(details, dict) else None
    if cached is not None and given is not None:
        cached = min(cached, given)
    return given, made, cached


def _read_count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None

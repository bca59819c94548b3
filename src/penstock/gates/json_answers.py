"""JSON in the answers of models, which may be wrapped in a code fence or may not be JSON."""

from __future__ import annotations

from typing import Any

import orjson

from penstock.serialization import MAX_DEPTH, is_nested_too_deep

NOT_JSON = "the answer is not JSON"


def read_json(text: str) -> Any:
    """The JSON of a text, without the code fence around it; raises ValueError that says where it breaks."""
    try:
        value = orjson.loads(strip_fence(text))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"it cannot be read at line {error.lineno}, column {error.colno}") from error
    if text.count("[") + text.count("{") > MAX_DEPTH and is_nested_too_deep(value):
        raise ValueError("it is nested too deeply")
    return value


def strip_fence(text: str) -> str:
    """``text`` without the code fence that it is wrapped in."""
    body = text.strip()
    if not body.startswith("```"):
        return text
    _, newline, body = body.partition("\n")
    return body.rstrip().removesuffix("```") if newline else text


def is_raw_response(value: Any) -> bool:
    """Whether a block found no JSON in a model's answer and kept its text as ``raw_response``."""
    return isinstance(value, dict) and len(value) == 1 and "raw_response" in value

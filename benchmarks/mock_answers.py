"""The answers of the mock model.

``echo: <last user message>``, or JSON that follows the schema when the request has a ``response_format`` or,
as some tools write it, a schema in the prompt between ``<response_schema>`` tags.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from benchmarks.work import SCHEMA

_PROMPTED_SCHEMA = re.compile(r"<response_schema>\s*(\{.*\})\s*</response_schema>", re.DOTALL)


def answer(request: dict[str, Any]) -> bytes:
    """The complete answer to ``request``, as the body of a response."""
    prompt = _last_user_message(request.get("messages") or [])
    schema = _requested_schema(request.get("response_format"))
    if schema is not None:
        content = orjson.dumps(fill(schema, prompt)).decode()
    elif "<response_schema>" in prompt and (found := _PROMPTED_SCHEMA.search(prompt)):
        content = f"```json\n{orjson.dumps(fill(_parse_schema(found.group(1)), prompt)).decode()}\n```"
    else:
        content = f"echo: {prompt}"
    return orjson.dumps(
        {
            "id": "chatcmpl-mock",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": request.get("model") or "mock",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }
    )


def _last_user_message(messages: list[dict[str, Any]]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                return "".join(str(part.get("text", "")) for part in content)
            return str(content)
    return ""


def _requested_schema(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    if not response_format or response_format.get("type") == "text":
        return None
    schema = (response_format.get("json_schema") or {}).get("schema")
    return schema if isinstance(schema, dict) else SCHEMA


@lru_cache(maxsize=64)
def _parse_schema(text: str) -> dict[str, Any]:
    try:
        schema: dict[str, Any] = json.loads(text)
    except ValueError:
        return SCHEMA
    return schema


def fill(schema: dict[str, Any], text: str) -> Any:
    """A value that follows ``schema``; strings that may be anything are ``text``."""
    return _Filler(schema, text).fill(schema)


@dataclass(frozen=True)
class _Filler:
    root: dict[str, Any]
    text: str

    def fill(self, schema: dict[str, Any]) -> Any:
        if "enum" in schema or "const" in schema:
            return schema["enum"][0] if "enum" in schema else schema["const"]
        if inner := self._inner(schema):
            return self.fill(inner)
        match schema.get("type"):
            case "object":
                return {name: self.fill(part) for name, part in schema.get("properties", {}).items()}
            case "array":
                return [self.fill(schema.get("items", {}))] * max(1, schema.get("minItems", 1))
            case "integer" | "number":
                return (schema.get("minimum", 0) + schema.get("maximum", 10)) // 2
            case other:
                free = self.text[: schema.get("maxLength", 200)] or "text"
                return {"boolean": True, "null": None}.get(str(other), free)

    def _inner(self, schema: dict[str, Any]) -> Any:
        if "$ref" in schema:
            target: Any = self.root
            for key in str(schema["$ref"]).removeprefix("#/").split("/"):
                target = target[key]
            return target
        return next((schema[name][0] for name in ("anyOf", "oneOf", "allOf") if schema.get(name)), None)

"""Validations that may take long, in a child process: jsonschema_rs cannot be interrupted."""

from __future__ import annotations

import json
from typing import Any

import orjson

from penstock.json_schema.errors import SchemaError, TooMuchWorkError, Violation
from penstock.stoppable import ChildProcess, NotFinishedError

SECONDS = 5.0
"""Of one validation; a busy machine included."""

child = ChildProcess("penstock.json_schema.child_answers", SECONDS)


def find_violations(schema: Any, value: Any, most: int) -> list[Violation]:
    """What ``SchemaValidator.find_in_any_time`` finds, or its error; TooMuchWorkError after ``SECONDS``."""
    try:
        text = child.ask(_to_json({"schema": schema, "value": value, "most": most}))
    except NotFinishedError as error:
        raise TooMuchWorkError(str(error)) from error
    answer = json.loads(text)
    if "violations" in answer:
        return [
            Violation(tuple(path), keyword, message, tuple(names))
            for path, keyword, message, names in answer["violations"]
        ]
    kinds: dict[str, type[Exception]] = {"schema": SchemaError, "work": TooMuchWorkError}
    raise kinds.get(answer["error"], ValueError)(answer["message"])


def _to_json(request: dict[str, Any]) -> bytes:
    """The request; raises ValueError or TypeError for a value that is no JSON, or is nested too deep."""
    try:
        return orjson.dumps(request)
    except TypeError:  # integers of more than 64 bits, and what is no JSON
        try:
            return json.dumps(request).encode()
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error

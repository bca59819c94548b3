"""What the child process does, see ``in_child``."""

from __future__ import annotations

import json
from typing import Any

from penstock.json_schema.errors import SchemaError, TooMuchWorkError
from penstock.json_schema.validator import compile_schema


def answer(request: bytes) -> bytes:
    """The violations of one value, or the error, as JSON."""
    return json.dumps(_answer(json.loads(request))).encode()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        found = compile_schema(request["schema"]).find_in_any_time(request["value"], request["most"])
    except SchemaError as error:
        return {"error": "schema", "message": str(error)}
    except (TooMuchWorkError, MemoryError) as error:
        return {"error": "work", "message": str(error) or "it takes too much memory"}
    except (ValueError, TypeError) as error:
        return {"error": "value", "message": str(error)}
    return {"violations": [(one.path, one.keyword, one.message, one.names) for one in found]}

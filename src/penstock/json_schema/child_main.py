"""The child process: validates one value after the other, see ``child_process``."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from penstock.json_schema.errors import SchemaError, TooMuchWorkError
from penstock.json_schema.messages import pack, read_message, unpack
from penstock.json_schema.validator import compile_schema

_MOST_MEMORY = 1_500_000_000
"""Bytes of addresses."""


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent
    _limit_memory()
    _write(pack({"ready": True}))
    while True:
        try:
            request = unpack(read_message(lambda size: os.read(0, size)))
        except EOFError:
            return
        _write(pack(_answer(request)))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        found = compile_schema(request["schema"]).find_in_any_time(request["value"], request["most"])
    except SchemaError as error:
        return {"error": "schema", "message": str(error)}
    except (TooMuchWorkError, MemoryError) as error:
        return {"error": "work", "message": str(error) or "it took too much memory"}
    except (ValueError, TypeError) as error:
        return {"error": "value", "message": str(error)}
    return {"violations": [(one.path, one.keyword, one.message, one.names) for one in found]}


def _write(message: bytes) -> None:
    while message:
        message = message[os.write(1, message) :]


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


if __name__ == "__main__":
    main()

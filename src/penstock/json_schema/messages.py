"""Messages between a process and its child: JSON behind its length."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

_PREFIX = 8


def pack(value: Any) -> bytes:
    """A message; raises ValueError or TypeError for a value that is no JSON, or is nested too deep."""
    try:
        text = orjson.dumps(value)
    except TypeError:  # integers of more than 64 bits
        try:
            text = json.dumps(value).encode()
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
    return len(text).to_bytes(_PREFIX, "big") + text


def unpack(text: bytes) -> Any:
    """The value of a message."""
    return json.loads(text)


def read_message(read: Callable[[int], bytes]) -> bytes:
    """The text of the next message; raises EOFError when there is none."""
    size = int.from_bytes(_read_exactly(read, _PREFIX), "big")
    return _read_exactly(read, size)


def _read_exactly(read: Callable[[int], bytes], size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = read(min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

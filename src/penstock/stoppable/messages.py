"""Messages between a process and its child: bytes behind their length."""

from __future__ import annotations

from collections.abc import Callable

_PREFIX = 8
_MOST_AT_ONCE = 1 << 20


def frame(message: bytes) -> bytes:
    """A message as it is sent."""
    return len(message).to_bytes(_PREFIX, "big") + message


def read_message(read: Callable[[int], bytes]) -> bytes:
    """The next message; raises EOFError when there is none."""
    size = int.from_bytes(_read_exactly(read, _PREFIX), "big")
    return _read_exactly(read, size)


def _read_exactly(read: Callable[[int], bytes], size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = read(min(size, _MOST_AT_ONCE))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

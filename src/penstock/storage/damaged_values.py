"""What stands for a value that a damaged database gives, and which errors come from damage."""

from __future__ import annotations

from datetime import UTC, datetime

UNREADABLE_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""In place of a time that cannot be read."""

_WORDS = ("malformed", "Could not decode", "not a database")


class DamagedText(str):
    """Text whose bytes are not UTF-8."""

    __slots__ = ()


def decode_damaged(data: bytes) -> str:
    """The text of a column in a database where some text is no UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return DamagedText(data.decode("utf-8", "replace"))


def is_damage(error: BaseException | None) -> bool:
    """Whether the error says that something in the file is damaged, not that it cannot be read now."""
    while error is not None:
        if any(word in str(error) for word in _WORDS):
            return True
        error = error.__cause__
    return False


def is_decoding_error(error: BaseException) -> bool:
    """Whether the driver could not decode a text."""
    return _WORDS[1] in str(error)

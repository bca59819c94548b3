"""The journal: what makes a killed job go on without paying twice.

Every finished model call is kept under a key made of the whole request and the sample that it belongs to. The
durable journal lives in ``storage``, which is a floor up; this module says what any journal does.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class JournalMode(StrEnum):
    """How a run treats the journal."""

    NORMAL = "normal"
    """Take what is there, keep what is new."""
    FRESH = "fresh"
    """Ask again even where an answer is there; keep what is new in its place."""
    REPLAY = "replay"
    """Take only what is there; a call that is not raises JournalMissError."""


class Journal(Protocol):
    """Finished model calls by key; a value is what ``Completion`` writes of itself."""

    async def find(self, key: bytes) -> bytes | None:
        """The call that was kept under ``key``, or None."""
        ...

    async def save(self, key: bytes, value: bytes) -> None:
        """Keep a call; returns when it outlives this process."""
        ...


class MemoryJournal:
    """A journal that lasts as long as the process, for notebooks and tests."""

    def __init__(self) -> None:
        self._calls: dict[bytes, bytes] = {}

    async def find(self, key: bytes) -> bytes | None:
        """The call that was kept under ``key``, or None."""
        return self._calls.get(key)

    async def save(self, key: bytes, value: bytes) -> None:
        """Keep a call until the process ends."""
        self._calls[key] = value

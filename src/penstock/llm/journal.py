"""The journal: the log of finished model calls, which lets a killed job resume without paying twice.

A call is kept under a digest of the whole request and of the sample that it belongs to. This module defines
what a journal does; the durable one is in ``penstock.storage.journal``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class JournalMode(StrEnum):
    """How a run uses the journal."""

    NORMAL = "normal"
    """Use the answers in it, and save new ones."""
    FRESH = "fresh"
    """Ask the model every time, and save its answers in place of the old ones."""
    REPLAY = "replay"
    """Use only the answers in it; a call that it does not hold raises JournalMissError."""


class Journal(Protocol):
    """Finished model calls by key; ``penstock.llm.journal_codec`` writes keys and values."""

    async def find(self, key: bytes) -> bytes | None:
        """The call that was saved under ``key``, or None."""
        ...

    async def save(self, key: bytes, value: bytes) -> None:
        """Save a call; returns when it would outlive this process."""
        ...


class MemoryJournal:
    """A journal that lasts as long as the process, for notebooks and tests."""

    def __init__(self) -> None:
        self._calls: dict[bytes, bytes] = {}

    async def find(self, key: bytes) -> bytes | None:
        """The call that was saved under ``key``, or None."""
        return self._calls.get(key)

    async def save(self, key: bytes, value: bytes) -> None:
        """Save a call until the process ends."""
        self._calls[key] = value

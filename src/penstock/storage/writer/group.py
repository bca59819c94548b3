"""What goes into one transaction of the writer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

Waiter = asyncio.Future[None]
"""Done when what it stands for is written; has the error when that failed."""


@dataclass(slots=True)
class Group:
    """Records, calls and updates of jobs for one transaction, and who waits for it."""

    records: list[tuple[Any, ...]] = field(default_factory=list)
    """Rows in the order of ``NEW_COLUMNS``."""
    seed_fields: dict[tuple[int, int], str] = field(default_factory=dict)
    """What records of a multiplier share, by job and seed; written before the records."""
    calls: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Keys and values of the journal."""
    updates: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Columns and values by job."""
    record_waiters: list[Waiter] = field(default_factory=list)
    """One for each of ``records``."""
    call_waiters: list[Waiter] = field(default_factory=list)
    """One for each of ``calls``."""
    flush_waiters: list[Waiter] = field(default_factory=list)
    """Those who wait for the group as a whole."""

    @property
    def size(self) -> int:
        """How many items are to be written."""
        return len(self.records) + len(self.calls) + len(self.updates)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write and no waiter."""
        return not (self.size or self.flush_waiters)

    @property
    def has_only_calls(self) -> bool:
        """Whether nothing but finished calls goes into the transaction."""
        return not (self.records or self.updates or self.flush_waiters)

    @property
    def waiters(self) -> list[Waiter]:
        """All who wait for the group."""
        return [*self.record_waiters, *self.call_waiters, *self.flush_waiters]

    def take_calls(self) -> Group:
        """Move the calls into a group of their own and return it."""
        taken = Group(calls=self.calls, call_waiters=self.call_waiters)
        self.calls, self.call_waiters = [], []
        return taken

    def split(self) -> list[Group]:
        """The same as groups of one item, so that one bad item fails alone."""
        records = zip(self.records, self.record_waiters, strict=True)
        groups = [Group(seed_fields={key: value}) for key, value in self.seed_fields.items()]
        groups += [Group(records=[row], record_waiters=[waiter]) for row, waiter in records]
        calls = zip(self.calls, self.call_waiters, strict=True)
        groups += [Group(calls=[call], call_waiters=[waiter]) for call, waiter in calls]
        groups += [Group(updates={job_id: values}) for job_id, values in self.updates.items()]
        return [*groups, Group(flush_waiters=self.flush_waiters)]

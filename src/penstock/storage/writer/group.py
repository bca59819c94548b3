"""What goes into one transaction of the writer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from penstock.storage.records.rows import NEW_COLUMNS

_JOB = NEW_COLUMNS.index("job_id")
_SEED = NEW_COLUMNS.index("seed")

Waiter = asyncio.Future[None]
"""Done when what it stands for is written; has the error when that failed."""


class RecordWaiter(asyncio.Future[None]):
    """A waiter whose task is told of its own cancellation only when the outcome is known.

    A future that refuses to be cancelled does that: the task takes its cancellation when it wakes.
    """

    def cancel(self, msg: Any = None) -> bool:
        """Do nothing."""
        return False


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
    def can_be_split(self) -> bool:
        """Whether one of several items, or of those who wait, can have its own outcome."""
        return self.size > 1 or (self.size == 1 and bool(self.flush_waiters))

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
        groups = [
            Group(records=[row], record_waiters=[waiter], seed_fields=self._find_seed_fields(row))
            for row, waiter in zip(self.records, self.record_waiters, strict=True)
        ]
        calls = zip(self.calls, self.call_waiters, strict=True)
        groups += [Group(calls=[call], call_waiters=[waiter]) for call, waiter in calls]
        groups += [Group(updates={job_id: values}) for job_id, values in self.updates.items()]
        return [*groups, Group(flush_waiters=self.flush_waiters)] if self.flush_waiters else groups

    def _find_seed_fields(self, row: tuple[Any, ...]) -> dict[tuple[int, int], str]:
        """What a record shares with others of its seed, if this group has it."""
        key = (row[_JOB], row[_SEED])
        return {key: self.seed_fields[key]} if key in self.seed_fields else {}

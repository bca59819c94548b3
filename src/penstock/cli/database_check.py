"""What ``penstock doctor`` finds damaged in the database, with its progress."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from penstock.cli.output import pluralize
from penstock.errors import DamagedRecordError
from penstock.llm.journal_codec import decode_completion
from penstock.storage.checking import (
    check_file,
    count_damaged_calls,
    find_damaged_records,
    mark_as_failed,
)
from penstock.storage.database import Storage

_SHOWN = 5
_SILENT_SECONDS = 1.0
_REFRESH_SECONDS = 0.2

Finding = tuple[str, Literal["found", "missing", "unavailable"], str]
"""The name, the state and the message of a diagnostic."""


async def check_content(storage: Storage, *, repair: bool) -> AsyncIterator[Finding]:
    """What is damaged, and what to do; nothing for what is whole. Raises StorageError."""
    progress = _Progress()
    try:
        if problems := await check_file(storage, progress.show):
            yield (
                "Database file",
                "missing",
                (
                    f"{storage.name} is damaged ({problems[0].splitlines()[0]}): restore it from a copy; "
                    "without one, `penstock export` saves what can be read, and `sqlite3 FILE .recover` more"
                ),
            )
        if damages := await find_damaged_records(storage, progress.show):
            yield "Records", "missing", await _describe_records(storage, damages, repair=repair)
        if calls := await count_damaged_calls(storage, decode_completion, progress.show):
            yield (
                "Journal",
                "unavailable",
                f"{pluralize(calls, 'call')} cannot be read; each is made again when a run needs it",
            )
    finally:
        progress.clear()


async def _describe_records(storage: Storage, damages: Sequence[DamagedRecordError], *, repair: bool) -> str:
    named = ", ".join(f"{one.detail['record_id']} of job {one.detail['job_id']}" for one in damages[:_SHOWN])
    more = ", …" if len(damages) > _SHOWN else ""
    count = pluralize(len(damages), "damaged record")
    if repair:
        marked = await mark_as_failed(storage, damages)
        return (
            f"{count} ({named}{more}), {marked} of them are failed records now: run with --retry-failed, "
            "or POST /api/jobs/ID/retry, to make them again"
        )
    return (
        f"{count} ({named}{more}), which exports and runs leave out: `penstock doctor --repair` makes failed "
        "records of them, and --retry-failed then makes them again"
    )


class _Progress:
    """One line on a terminal, for a check that takes longer than a second."""

    def __init__(self) -> None:
        self._started = self._shown_at = time.monotonic()
        self._is_shown = False

    def show(self, what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._started < _SILENT_SECONDS or now - self._shown_at < _REFRESH_SECONDS:
            return
        if not sys.stderr.isatty():
            return
        self._shown_at, self._is_shown = now, True
        share = f" {done:,} of {total:,}" if total else ""
        sys.stderr.write(f"\rChecking {what}{share}, {now - self._started:.0f} s\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

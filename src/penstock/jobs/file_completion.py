"""Let the files of a run show what the database has: all of the job's records, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from penstock.errors import PipelineError, SerializationError, StorageError
from penstock.jobs.line_index import Key, sort_key
from penstock.jobs.ordered_jsonl import SortStoppedError
from penstock.jobs.record_files import RecordFiles
from penstock.jobs.record_lines import to_line
from penstock.storage import records
from penstock.storage.database import Storage
from penstock.storage.entities import Record
from penstock.storage.records import RecordsState, RecordVersion
from penstock.storage.records.seed_fields import SeedFields

_PAGE = 1_000
_RECORDS_AT_ONCE = 250

_UNREADABLE = (PipelineError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a damaged row may raise when it is read."""


class FileCompletion:
    """Compares the lines of the files with the job's records, seed by seed, in constant memory.

    Only records whose line is missing, or older than ``since``, are read from the database.
    """

    def __init__(
        self,
        storage: Storage,
        job_id: int,
        files: RecordFiles,
        *,
        since: RecordsState,
        is_stopped: Callable[[], bool],
        save_progress: Callable[[], Awaitable[None]],
    ) -> None:
        """``save_progress`` is called after some hundred lines."""
        self.unreadable: list[int] = []
        """Ids of the records that cannot be read; their lines stay as they are, if there are any."""
        self._storage = storage
        self._job_id = job_id
        self._files = files
        self._since = since
        self._is_stopped = is_stopped
        self._save_progress = save_progress
        self._fields: SeedFields = {}

    async def run(self) -> None:
        """Add the lines that are missing, drop those of no record. Raises SortStoppedError, StorageError."""
        lines = _LinesBySeed(self._files)
        missing: list[RecordVersion] = []
        async for seed, versions in self._iterate_seeds():
            self._drop(lines.take_before(seed))
            shown = lines.take(seed)
            for version in versions:
                line = (sort_key(version.identity), version.failed)
                if line not in shown or version.changed:
                    missing.append(version)
                shown.discard(line)
            self._drop(shown)
            while len(missing) >= _RECORDS_AT_ONCE:
                await self._append(missing[:_RECORDS_AT_ONCE])
                del missing[:_RECORDS_AT_ONCE]
        self._drop(lines.take_before(None))
        if missing:
            await self._append(missing)

    async def _iterate_seeds(self) -> AsyncIterator[tuple[int, list[RecordVersion]]]:
        """The seeds that have records, with these."""
        last: RecordVersion | None = None
        versions: list[RecordVersion] = []
        while True:
            if self._is_stopped():
                raise SortStoppedError
            async with self._storage.reading() as session:
                begin = last.identity if last else None
                page = await records.list_versions(session, self._job_id, begin, _PAGE, since=self._since)
            for version in page:
                if versions and version.identity.seed != versions[-1].identity.seed:
                    yield versions[-1].identity.seed, versions
                    versions = []
                versions.append(version)
            if len(page) < _PAGE:
                break
            last = page[-1]
        if versions:
            yield versions[-1].identity.seed, versions

    async def _append(self, missing: Sequence[RecordVersion]) -> None:
        for failed in (False, True):
            if ids := [version.id for version in missing if version.failed is failed]:
                await self._append_records(ids, traces=failed)
        await self._save_progress()

    async def _append_records(self, ids: Sequence[int], *, traces: bool) -> None:
        try:
            lines = await self._read_lines(ids, traces=traces)
        except _UNREADABLE as error:
            if not _is_damage(error):
                raise
            if len(ids) == 1:
                self.unreadable.extend(ids)
                return
            middle = len(ids) // 2
            await self._append_records(ids[:middle], traces=traces)
            await self._append_records(ids[middle:], traces=traces)
            return
        for record, line in lines:
            self._files.append_line(record, line)

    async def _read_lines(self, ids: Sequence[int], *, traces: bool) -> list[tuple[Record, dict[str, Any]]]:
        async with self._storage.reading() as session:
            found, self._fields = await records.list_by_ids(session, ids, self._fields, traces=traces)
        return [(record, to_line(record, record.accumulated_state)) for record in found]

    def _drop(self, lines: set[tuple[Key, bool]]) -> None:
        for key, failed in lines:
            self._files.drop(key, failed=failed)


def _is_damage(error: Exception) -> bool:
    """Whether the error is about what was read, rather than about the database that cannot be read now."""
    if not isinstance(error, StorageError):
        return True
    return isinstance(error, SerializationError) or "malformed" in str(error.detail.get("error"))


class _LinesBySeed:
    """The lines of the files, seed by seed."""

    def __init__(self, files: RecordFiles) -> None:
        self._groups: Iterator[tuple[int, Iterator[tuple[Key, bool]]]]
        self._groups = groupby(files.iterate_keys(), lambda line: line[0][0])
        self._seed: int | None = -1
        self._lines: set[tuple[Key, bool]] = set()

    def take_before(self, seed: int | None) -> set[tuple[Key, bool]]:
        """The lines of the seeds before that one, or of all that are left."""
        taken: set[tuple[Key, bool]] = set()
        while self._seed is not None and (seed is None or self._seed < seed):
            taken |= self._lines
            self._seed, lines = next(self._groups, (None, iter(())))
            self._lines = set(lines)
        return taken

    def take(self, seed: int) -> set[tuple[Key, bool]]:
        """The lines of that seed."""
        if self._seed != seed:
            return set()
        taken, self._lines = self._lines, set()
        return taken

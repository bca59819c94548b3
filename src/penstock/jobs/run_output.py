"""The output of a run, from the files that are there to those that it leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from penstock.entities import ExecutionResult
from penstock.errors import StorageError
from penstock.jobs.file_completion import FileCompletion
from penstock.jobs.ordered_jsonl import SortStoppedError
from penstock.jobs.output_files import describe_digest
from penstock.jobs.output_owner import FoundFile, FoundFiles, save_identities
from penstock.jobs.record_files import Beginning, RecordFiles
from penstock.jobs.runtime import Runtime
from penstock.storage import records
from penstock.storage.entities import Job, NewRecord
from penstock.storage.records import RecordsState

_FLUSH_SECONDS = 0.5
"""How long a finished record may wait before it can be read in the output file."""
_MARK_SECONDS = 2.0
"""How often the database is told what the files hold: lines that are younger are compared with their records
when a killed run is continued."""
_EMPTY = describe_digest(blake2b(digest_size=20))


class RunOutput:
    """Appends each record to the run's files, and lets them show the whole job at its end.

    Files of this job are continued where they are. What another run left stays until this one has made all
    that it was asked for: its lines are written beside, and so they are where the files of records that exist
    were removed.
    """

    def __init__(self, runtime: Runtime, job: Job, path: Path | None, found: FoundFiles) -> None:
        """Nothing is opened before ``open``."""
        self.unreadable: list[int] = []
        """Ids of records that the database cannot give, for which there may be no line."""
        self._runtime = runtime
        self._job = job
        self._path = path
        self._found = found
        self._state = RecordsState()
        self._shown = RecordsState(*shown) if (shown := (job.options or {}).get("shown")) else None
        """The state of the records when the job's run ended last, if the files showed all of them."""
        self._beginnings: dict[str, Beginning] = {}
        self._files: RecordFiles | None = None
        self._marks: Mapping[str, list[str]] = {}
        self._marked_at = 0.0
        self._is_stopped = False

    @property
    def files(self) -> RecordFiles | None:
        """The open files; None for a run without an output."""
        return self._files

    async def compare(self) -> None:
        """Compare the files with the job's records as they are now. Raises StorageError."""
        async with self._runtime.storage.reading() as session:
            self._state = await records.find_state(session, self._job.id)
        self._beginnings = {name: self._plan(name) for name in ("accepted", "failed")}

    @property
    def has_same_records(self) -> bool:
        """Whether the job has the records that it had when its run ended last, which may have been edited.

        An id is never given to two records, so that one which took another's place is noticed.
        """
        shown, state = self._shown, self._state
        return shown is not None and (shown.total, shown.highest_id) == (state.total, state.highest_id)

    @property
    def is_current(self) -> bool:
        """Whether the files show all of the job's records, as they are in the database."""
        if self._shown != self._state:
            return False
        return self._path is None or all(self._is_whole(name) for name in ("accepted", "failed"))

    @property
    def keeps_other_run(self) -> bool:
        """Whether another run's files are there, which stay unless this run makes all it was asked for."""
        return any(beginning.replaces for beginning in self._beginnings.values())

    async def open(self) -> None:
        """Open the files, and keep with the job what identifies them. Raises StorageError."""
        if self._path is None:
            return
        beginnings = self._beginnings
        self._files = await asyncio.to_thread(
            RecordFiles, self._path, beginnings["accepted"], beginnings["failed"]
        )
        self._marks = self._files.describe()
        known = (self._job.options or {}).get("files", {})
        both = {name: [*dict.fromkeys((*known.get(name, ()), *marks))] for name, marks in self._marks.items()}
        try:
            await save_identities(self._runtime, self._job, both, self._shown)
        except BaseException:
            self.abandon()
            raise

    def append_new(self, record: NewRecord, result: ExecutionResult) -> None:
        """Add a record that has just been made; raises StorageError."""
        if self._files is not None:
            self._files.append_new(record, result)

    async def flush_regularly(self) -> None:
        """Let readers of the files see what has finished, until cancelled. Raises StorageError."""
        while self._files is not None:
            await asyncio.sleep(_FLUSH_SECONDS)
            self._files.flush()
            if time.monotonic() - self._marked_at >= _MARK_SECONDS:
                await self._mark()

    def stop(self) -> None:
        """Let ``close`` end at once, with the lines in the order in which they came."""
        self._is_stopped = True

    async def close(self, *, whole: bool) -> None:
        """Complete the files, sort them and put them in place.

        Another run's files are replaced only when this run is ``whole``. What identifies the new files is
        saved first, since a kill may come at any moment. Raises StorageError.
        """
        async with self._runtime.storage.reading() as session:
            state = await records.find_state(session, self._job.id)
        files = self._files
        if files is None:
            await save_identities(self._runtime, self._job, {}, state)
            return
        if not whole and self._beginnings["accepted"].replaces:
            return
        try:
            await self._complete(files, state)
            complete = await asyncio.to_thread(files.finish, whole=whole, is_stopped=lambda: self._is_stopped)
        except SortStoppedError:
            await self.leave()
            return
        writing = files.describe()
        both = {name: [*writing[name], *complete[name]] for name in writing}
        await save_identities(self._runtime, self._job, both, self._shown)
        await asyncio.to_thread(files.close, whole=whole)
        await save_identities(self._runtime, self._job, complete, None if self.unreadable else state)

    async def leave(self) -> None:
        """Leave the lines as they came, for the next run to continue. Raises StorageError."""
        if self._files is not None:
            self._files.flush()
            await save_identities(self._runtime, self._job, self._files.describe(), self._shown)

    def abandon(self) -> None:
        """Close the files as they are."""
        if self._files is not None:
            with suppress(StorageError):
                self._files.flush()
            self._files.abandon()

    async def _complete(self, files: RecordFiles, state: RecordsState) -> None:
        """Add lines for the records that have none, unless this run has made all records itself."""
        if self._state.total == 0 and state.total == files.rows and not state.edited:
            return
        completion = FileCompletion(
            self._runtime.storage,
            self._job.id,
            files,
            since=self._shown or RecordsState(),
            is_stopped=lambda: self._is_stopped,
            save_progress=self._mark_if_due,
        )
        await completion.run()
        self.unreadable = completion.unreadable

    async def _mark_if_due(self) -> None:
        if self._files is not None and time.monotonic() - self._marked_at >= _MARK_SECONDS:
            self._files.flush()
            await self._mark()

    async def _mark(self) -> None:
        """Tell the database what the files hold."""
        files = self._files
        if files is None:
            return
        self._marked_at = time.monotonic()
        marks = files.describe()
        if marks == self._marks:
            return
        await asyncio.to_thread(files.sync)
        self._marks = marks
        await save_identities(self._runtime, self._job, marks, self._shown)

    def _plan(self, name: str) -> Beginning:
        found = self._found.get(name)
        if found is None:
            return Beginning(beside=self._state.total > 0)
        if found.content is not None and found.job_id == self._job.id:
            return Beginning(found.content)
        return Beginning(beside=True, replaces=True, from_run=found.from_run)

    def _is_whole(self, name: str) -> bool:
        """Whether the file is as a run of this job left it, or is missing as it should be."""
        found: FoundFile | None = self._found.get(name)
        if found is not None:
            return found.is_complete and found.job_id == self._job.id
        marks = (self._job.options or {}).get("files", {}).get(name, [])
        if name == "failed":
            return not marks
        return marks == [_EMPTY] and self._path is not None and self._path.is_file()

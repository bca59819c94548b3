"""Which of the files under a run's names a run has written, as the database knows it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from penstock.entities import RecordStatus
from penstock.errors import BadInputError
from penstock.jobs.options import RunOptions
from penstock.jobs.ordered_jsonl import encode_line, parse_identity
from penstock.jobs.output_files import (
    Content,
    OutputFiles,
    find_output_files,
    has_inode_of,
    list_existing,
    read_known_content,
)
from penstock.jobs.record_lines import to_line
from penstock.jobs.runtime import Runtime
from penstock.seeds import SeedSource
from penstock.settings import Settings
from penstock.storage import jobs, records
from penstock.storage.database import Storage
from penstock.storage.entities import Job

Identities = Mapping[str, list[str]]
"""What identifies the files of a run, by ``accepted`` and ``failed``; see ``output_files``."""

_LINES_AT_ONCE = 200
_ID_BEGINS = b'{"id":"'
_CUT_ID = re.compile(rb'\{"id":"[\d.]+"?')
"""What a line begins with that was cut off before the end of its id."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file under one of the run's names, which the run may continue or replace."""

    job_id: int | None = None
    """The job whose records it holds, if that is known; only that job continues it."""
    content: Content | None = None
    """What it holds, but for the end of a line that was not written whole."""
    is_complete: bool = False
    """Whether it is as its run left it at an orderly end."""
    from_run: bool = True
    """Whether a run has written it; otherwise a user asked for it to be replaced."""


FoundFiles = Mapping[str, FoundFile]
"""The files that are there and hold something, by ``accepted`` and ``failed``."""


def list_inputs(seeds: SeedSource, settings: Settings) -> list[Path | int]:
    """What every run reads: its seeds, or the file behind standard input, and the database."""
    inputs: list[Path | int] = [0 if seeds.path is None else seeds.path]
    if settings.database_url is None:
        inputs.append(settings.database_path)
    return inputs


def refuse_unknown_files(outputs: OutputFiles, options: RunOptions, settings: Settings) -> None:
    """Refuse files that are there when no database can know them, before one is created."""
    existing = list_existing(outputs)
    if not existing or options.overwrite or settings.database_url is not None:
        return
    if not settings.database_path.exists():
        raise _make_refusal(existing[0], settings)


async def find_own_files(
    storage: Storage, options: RunOptions, output: str, job_id: int | None, settings: Settings
) -> dict[str, FoundFile]:
    """Those files under the run's names that a run has written, above all that of the job ``job_id``.

    Raises BadInputError when there is another file, or one that was changed since, and ``overwrite`` is not
    set.
    """
    if options.output is None or not (existing := list_existing(find_output_files(options.output))):
        return {}
    async with storage.reading() as session:
        earlier = await jobs.list_jobs_by_output(session, output)
    earlier.sort(key=lambda job: job.id != job_id)
    found = {}
    for path in existing:
        name = "accepted" if path == options.output else "failed"
        file, is_changed = await _find_writer(storage, path, name, earlier)
        if file is None and not options.overwrite:
            raise _make_refusal(path, settings, changed=is_changed)
        found[name] = file or FoundFile(from_run=False)
    return found


async def save_identities(
    runtime: Runtime, job: Job, files: Identities, state: Sequence[int | str] | None = None
) -> None:
    """Keep with the job what identifies its files; returns when it is on disk. Raises StorageError.

    ``state`` is that of the records which the files show, once they show all of them.
    """
    options = {**job.options, "files": files, "shown": state and list(state)}
    runtime.writer.update_job(job.id, options=options)
    await runtime.writer.flush()


async def _find_writer(
    storage: Storage, path: Path, name: str, earlier: Sequence[Job]
) -> tuple[FoundFile | None, bool]:
    """The file as one of the jobs has written it, or None; and whether it was changed since."""
    marks = {job.id: job.options.get("files", {}).get(name, ()) for job in earlier}
    all_marks = {mark for of_job in marks.values() for mark in of_job}
    content, known = await asyncio.to_thread(read_known_content, path, all_marks)
    is_complete = content.size == path.stat().st_size and any(mark.startswith("blake2b:") for mark in known)
    for job in earlier:
        if not known.isdisjoint(marks[job.id]):
            whole = content if is_complete else await _add_last_lines(storage, path, name, job.id, content)
            if whole is not None:
                return FoundFile(job.id, whole, is_complete), False
    if await asyncio.to_thread(has_inode_of, path, all_marks):
        return FoundFile(), False
    if any("files" not in job.options and (name == "accepted" or job.records_failed) for job in earlier):
        return FoundFile(), False  # written before files were identified
    return None, bool(all_marks)


async def _add_last_lines(
    storage: Storage, path: Path, name: str, job_id: int, content: Content
) -> Content | None:
    """The content with the lines that a run appended after it, before it was killed.

    None when these are not all the job's records, as the database has them: then they are somebody else's.
    The end of a last line that was not written whole is left out.
    """
    digest, size = content.digest.copy(), content.size
    with path.open("rb") as file:
        file.seek(size)
        while batch := list(islice(file, _LINES_AT_ONCE)):
            rest = b"" if batch[-1].endswith(b"\n") else batch.pop()
            if not await _are_records(storage, job_id, batch, rest, failed=name == "failed"):
                return None
            for line in batch:
                digest.update(line)
                size += len(line)
    return Content(size, digest)


async def _are_records(
    storage: Storage, job_id: int, lines: Sequence[bytes], rest: bytes, *, failed: bool
) -> bool:
    """Whether the lines are records of the job, each once, and ``rest`` is the beginning of one."""
    written = {parse_identity(line): line for line in lines}
    if None in written or len(written) < len(lines):
        return False
    cut = parse_identity(rest)
    if cut is None and not (_ID_BEGINS.startswith(rest) or _CUT_ID.fullmatch(rest)):
        return False
    sought = [identity for identity in (*written, cut) if identity is not None]
    async with storage.reading() as session:
        found = await records.list_by_identities(session, job_id, sought, traces=failed)
    for record in found:
        line = encode_line(to_line(record, record.accumulated_state))
        expected = written.pop(record.identity, None)
        if (record.status is RecordStatus.FAILED) is not failed or line != (expected or line):
            return False
        if record.identity == cut and not line.startswith(rest):
            return False
    return not written and (cut is None or cut in {record.identity for record in found})


def _make_refusal(path: Path, settings: Settings, *, changed: bool = False) -> BadInputError:
    if changed:
        reason = "has been changed, or replaced, since a run wrote it"
        advice = "move it away, choose another name, or use --overwrite."
    else:
        where = "the database at DATABASE_URL" if settings.database_url else settings.database_path.resolve()
        reason = f"exists and was not written by a run that is in {where}"
        advice = "choose another name, use --overwrite, or give the command in the folder of that run."
    return BadInputError(f"{path} {reason}; {advice}", detail={"output": str(path)})

"""Which of the files under a run's names a run has written, as the database knows it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from penstock.errors import BadInputError
from penstock.jobs.options import RunOptions
from penstock.jobs.output_files import OutputFiles, find_output_files, is_one_of, list_existing
from penstock.jobs.runtime import Runtime
from penstock.seeds import SeedSource
from penstock.settings import Settings
from penstock.storage import jobs
from penstock.storage.database import Session
from penstock.storage.entities import Job

Identities = Mapping[str, list[str]]
"""What identifies the files of a run, by ``accepted`` and ``failed``; see ``output_files``."""


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
    session: Session, options: RunOptions, output: str, settings: Settings
) -> dict[str, list[str]]:
    """What identifies those files under the run's names that a run has written.

    Raises BadInputError when there is another file and ``overwrite`` is not set.
    """
    own: dict[str, list[str]] = {}
    if options.output is None or not (existing := list_existing(find_output_files(options.output))):
        return own
    earlier = await jobs.list_jobs_by_output(session, output)
    for path in existing:
        name = "accepted" if path == options.output else "failed"
        known = [mark for job in earlier for mark in job.options.get("files", {}).get(name, ())]
        unmarked = [job for job in earlier if "files" not in job.options]
        if await asyncio.to_thread(is_one_of, path, known):
            own[name] = known
        elif any(name == "accepted" or job.records_failed for job in unmarked):
            own[name] = []  # written before files were identified
        elif not options.overwrite:
            raise _make_refusal(path, settings, changed=bool(known))
    return own


def join_identities(one: Identities, other: Identities) -> Identities:
    """Those of both, for the names that ``other`` has."""
    return {name: [*one.get(name, ()), *other[name]] for name in other}


async def save_identities(runtime: Runtime, job: Job, files: Identities) -> None:
    """Keep with the job what identifies its files; returns when it is on disk. Raises StorageError."""
    runtime.writer.update_job(job.id, options={**job.options, "files": files})
    await runtime.writer.flush()


def _make_refusal(path: Path, settings: Settings, *, changed: bool = False) -> BadInputError:
    if changed:
        reason = "has been changed, or replaced, since a run wrote it"
        advice = "move it away, choose another name, or use --overwrite."
    else:
        where = "the database at DATABASE_URL" if settings.database_url else settings.database_path.resolve()
        reason = f"exists and was not written by a run that is in {where}"
        advice = "choose another name, use --overwrite, or give the command in the folder of that run."
    return BadInputError(f"{path} {reason}; {advice}", detail={"output": str(path)})

"""Export of a job's records as a dataset: the data, a card that says how it was made, and the pipeline."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from penstock import __version__
from penstock.entities import RecordStatus
from penstock.errors import BadInputError, DamagedRecordError
from penstock.exports import ExportReport, export_dataset, list_targets, open_export
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import Storage
from penstock.storage.entities import Job
from penstock.storage.filters import RecordFilter

_DEFAULT_STATUSES = tuple(
    status for status in RecordStatus if status not in {RecordStatus.FAILED, RecordStatus.REJECTED}
)
"""The records of a dataset unless others are asked for: all but those that failed or were rejected."""


async def export_job(
    storage: Storage,
    job: Job,
    target: Path,
    format: str,  # noqa: A002 - the name that users know
    *,
    mapping: Mapping[str, str] | None = None,
    statuses: Sequence[str] = (),
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the job's records to a file, or with a card into a folder.

    ``statuses`` are those of the records to take; see ``export_dataset`` for the rest. Returns the fields of
    the ExportReport, ``excluded`` (records by the status that was not asked for) and ``path``. Raises
    BadInputError for an unknown status, format or field, and for a file that must not be replaced.
    """
    details = await _collect_details(storage, job)
    _refuse_output_of_run(job, list_targets(target, format, details))
    damaged: list[DamagedRecordError] = []
    found = _stream_records(storage, job, _parse_statuses(statuses), damaged)
    report = await export_dataset(found, target, format, mapping, details, overwrite=overwrite)
    return _describe(report, details, statuses, str(target), damaged)


async def write_job(
    storage: Storage,
    job: Job,
    stream: BinaryIO,
    format: str,  # noqa: A002 - the name that users know
    *,
    mapping: Mapping[str, str] | None = None,
    statuses: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the job's records to a stream, without a card; see ``export_job``."""
    details = await _collect_details(storage, job)
    damaged: list[DamagedRecordError] = []
    found = _stream_records(storage, job, _parse_statuses(statuses), damaged)
    file, report = await open_export(found, format, mapping)
    with file:
        await asyncio.to_thread(shutil.copyfileobj, file, stream)
    stream.flush()
    return _describe(report, details, statuses, "standard output", damaged)


def _stream_records(
    storage: Storage, job: Job, statuses: tuple[RecordStatus, ...], damaged: list[DamagedRecordError]
) -> AsyncIterator[Any]:
    selected = RecordFilter(job_id=job.id, statuses=statuses)
    # Records of a database's first layout have no identity to be ordered by.
    order: Literal["id", "identity"] = "id" if job.options is None else "identity"
    return records.stream_records(storage, selected, order=order, on_damage=damaged.append)


def _describe(
    report: ExportReport,
    details: Mapping[str, Any],
    statuses: Sequence[str],
    path: str,
    damaged: Sequence[DamagedRecordError],
) -> dict[str, Any]:
    """The report, with what was left out because nobody asked for its status, or because it is damaged."""
    counts = {} if statuses else details["counts"]
    excluded = {status: count for status, count in counts.items() if status not in _DEFAULT_STATUSES}
    return {
        **report.to_dict(),
        "excluded": excluded,
        "damaged": [damage.message for damage in damaged],
        "path": path,
    }


def _refuse_output_of_run(job: Job, targets: Sequence[Path]) -> None:
    """Raise BadInputError for the file that the job itself writes, which the run needs to continue."""
    output = (job.options or {}).get("output")
    for target in targets:
        if output and target.exists() and Path(output).exists() and target.samefile(output):
            raise BadInputError(f"{target} is the output of the run itself; choose another target.")


async def _collect_details(storage: Storage, job: Job) -> dict[str, Any]:
    """What the card of the dataset says about the job."""
    async with storage.reading() as session:
        stored = await pipelines.get_pipeline(session, job.pipeline_id, job.pipeline_version)
        counts = await jobs.count_records(session, job.id)
        usage = await jobs.usage_of_job(session, job.id)
    options, source = job.options or {}, job.source or {}
    return {
        "name": stored.name,
        "pipeline": stored.definition,
        "pipeline_version": stored.version,
        "penstock": __version__,
        "model": options.get("model"),
        "seeds": source.get("seeds"),
        "seeds_digest": source.get("digest"),
        "counts": {str(status): count for status, count in counts.items() if count},
        "usage": usage.to_dict(),
    }


def _parse_statuses(names: Sequence[str]) -> tuple[RecordStatus, ...]:
    try:
        return tuple(RecordStatus(name) for name in names) or _DEFAULT_STATUSES
    except ValueError as error:
        known = ", ".join(RecordStatus)
        raise BadInputError(f"{error}; the statuses of a record are {known}.") from error

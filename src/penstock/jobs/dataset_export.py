"""Export of a job's records as a dataset: the data, a card that says how it was made, and the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock import __version__
from penstock.entities import RecordStatus
from penstock.errors import BadInputError
from penstock.exports import export_dataset
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
) -> dict[str, Any]:
    """Write the job's records to a file, or with a card into a folder.

    ``statuses`` are those of the records to take; see ``export_dataset`` for the rest. Returns ``rows``,
    ``bytes``, ``skipped`` and ``path``. Raises BadInputError for an unknown status, format or field.
    """
    selected = RecordFilter(job_id=job.id, statuses=_parse_statuses(statuses))
    details = await _collect_details(storage, job)
    # Records of a database's first layout have no identity to be ordered by.
    found = records.stream_records(storage, selected, order="id" if job.options is None else "identity")
    report = await export_dataset(found, target, format, mapping, details)
    return {"rows": report.rows, "bytes": report.bytes, "skipped": report.skipped, "path": str(target)}


async def _collect_details(storage: Storage, job: Job) -> dict[str, Any]:
    """What the card of the dataset says about the job."""
    async with storage.session() as session:
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

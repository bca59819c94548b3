"""Jobs: what to run, how far it is, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, case, cast, func, insert, or_, select, update

from penstock.entities import JobStatus, RecordStatus, Usage
from penstock.errors import NotFoundError
from penstock.serialization import from_json, to_json
from penstock.storage.entities import Job
from penstock.storage.pipelines import get_pipeline
from penstock.storage.session import Session
from penstock.storage.tables import Float, jobs, records, to_datetime
from penstock.storage.text_escapes import escape_text, unescape_text

_FIXED = {"id", "pipeline_id", "created_at"}
_JSON = {"usage", "source", "options", "deaths"}
_TIMES = {"started_at", "completed_at"}
UPDATABLE = frozenset(column.name for column in jobs.columns) - _FIXED
"""The fields that ``update_job`` knows; others are ignored (contract A218)."""


async def create_job(
    session: Session,
    pipeline_id: int,
    total_seeds: int,
    status: JobStatus = JobStatus.QUEUED,
    *,
    run_key: str | None = None,
    source: Any = None,
    options: Any = None,
) -> int:
    """Save a new job over the pipeline's present version and return its id; raises NotFoundError."""
    pipeline = await get_pipeline(session, pipeline_id)
    now = datetime.now(UTC)
    statement = insert(jobs).values(
        pipeline_id=pipeline_id,
        pipeline_version=pipeline.version,
        status=JobStatus(status).value,
        total_seeds=total_seeds,
        started_at=now,
        created_at=now,
        run_key=run_key,
        source=None if source is None else to_json(source),
        options=None if options is None else to_json(options),
    )
    return int(await session.fetch_value(statement.returning(jobs.c.id)))


async def get_job(session: Session, job_id: int) -> Job:
    """Return the job; raises NotFoundError."""
    row = await session.fetch_first(select(jobs).where(jobs.c.id == job_id))
    if row is None:
        raise NotFoundError("job not found", detail={"job_id": job_id})
    return _to_job(row)


async def find_job(session: Session, run_key: str) -> Job | None:
    """The newest job with that run key, or None."""
    query = select(jobs).where(jobs.c.run_key == run_key).order_by(jobs.c.id.desc()).limit(1)
    row = await session.fetch_first(query)
    return _to_job(row) if row else None


async def find_job_by_output(session: Session, output: str) -> Job | None:
    """The newest job whose records go to the file ``output``, or None."""
    return next(iter(await list_jobs_by_output(session, output, limit=1)), None)


async def list_jobs_by_output(session: Session, output: str, limit: int | None = None) -> list[Job]:
    """The jobs whose records go to the file ``output``, the newest first."""
    named = jobs.c.options.contains(f'"output":{to_json(output).strip()}', autoescape=True)
    query = select(jobs).where(named).order_by(jobs.c.id.desc()).limit(limit)
    return [_to_job(row) for row in await session.fetch_all(query)]


async def list_jobs(
    session: Session,
    pipeline_id: int | None = None,
    limit: int | None = 10,
    *,
    statuses: Iterable[JobStatus] = (),
) -> list[Job]:
    """Jobs, the newest first; only those of one pipeline, or in one of ``statuses``, if these are given."""
    query = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
    if pipeline_id is not None:
        query = query.where(jobs.c.pipeline_id == pipeline_id)
    if values := [status.value for status in statuses]:
        query = query.where(jobs.c.status.in_(values))
    return [_to_job(row) for row in await session.fetch_all(query)]


async def update_job(session: Session, job_id: int, **fields: Any) -> bool:
    """Change some of the job's fields; unknown ones are ignored. Returns whether the job exists."""
    values = to_columns(fields)
    if not values:
        return await session.fetch_first(select(jobs.c.id).where(jobs.c.id == job_id)) is not None
    return bool(await session.execute(update(jobs).where(jobs.c.id == job_id).values(values)))


async def find_holder(session: Session, job_id: int) -> str | None:
    """The process that works on the job, or that did when it was killed; None when it ended as it should."""
    row = await session.fetch_first(select(jobs.c.holder).where(jobs.c.id == job_id))
    return row.holder if row else None


async def find_request(session: Session, job_id: int) -> JobStatus | None:
    """The status that another process has asked the job's holder for, or None."""
    row = await session.fetch_first(select(jobs.c.requested).where(jobs.c.id == job_id))
    return JobStatus(row.requested) if row and row.requested else None


async def request_status(session: Session, job_id: int, status: JobStatus) -> bool:
    """Ask the job's holder to end it with that status; returns whether the job has a holder."""
    statement = update(jobs).where(jobs.c.id == job_id, jobs.c.holder.is_not(None))
    return bool(await session.execute(statement.values(requested=status.value)))


async def list_held(session: Session) -> list[int]:
    """The ids of the jobs that a process works on, or did when it was killed."""
    return [row.id for row in await session.fetch_all(select(jobs.c.id).where(jobs.c.holder.is_not(None)))]


async def list_unfinished_or_held(session: Session, pipeline_id: int) -> list[int]:
    """The ids of the pipeline's jobs that a process may work on, now or later."""
    unended = [status.value for status in JobStatus if not status.ended]
    query = select(jobs.c.id).where(
        jobs.c.pipeline_id == pipeline_id, or_(jobs.c.status.in_(unended), jobs.c.holder.is_not(None))
    )
    return [row.id for row in await session.fetch_all(query)]


async def count_records(session: Session, job_id: int | None = None) -> dict[RecordStatus, int]:
    """How many records of the job (or of all) are in each state; every state is a key."""
    query = select(records.c.status, func.count()).group_by(records.c.status)
    if job_id is not None:
        query = query.where(records.c.job_id == job_id)
    counts = dict.fromkeys(RecordStatus, 0)
    for status, count in await session.fetch_all(query):
        counts[read_status(status)] += count
    return counts


def read_status(status: str) -> RecordStatus:
    """The status in a record's row; that of a damaged row counts as failed."""
    try:
        return RecordStatus(status)
    except ValueError:
        return RecordStatus.FAILED


async def usage_of_job(session: Session, job_id: int) -> Usage:
    """What all of the job's records cost, the failed ones included (contract A40)."""
    table = records.c
    unknown = func.sum(case((table.cost.is_(None), 1), else_=0))
    cached = case((table.cached_tokens > 0, table.cached_tokens), else_=0)
    unreported = func.sum(case((table.cached_tokens < 0, 1), else_=0))
    query = select(
        *(
            # Rows of an earlier version may hold numbers whose sum is no integer of 64 bits.
            func.coalesce(func.sum(cast(column, Float)), 0)
            for column in (
                table.input_tokens,
                table.output_tokens,
                cached,
                table.llm_calls,
                table.journal_hits,
            )
        ),
        func.coalesce(func.sum(table.cost), 0.0),
        func.coalesce(unknown, 0),
        func.min(table.usage_start),
        func.max(table.usage_end),
        func.coalesce(unreported, 0),
    ).where(table.job_id == job_id)
    [sums] = await session.fetch_all(query)
    tokens = [int(value) for value in sums[:5]]
    return Usage(
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cached_tokens=tokens[2],
        llm_calls=tokens[3],
        journal_hits=tokens[4],
        cost=None if sums[6] else float(sums[5]),
        start_time=sums[7],
        end_time=sums[8],
        unreported_calls=int(sums[9]),
    )


def to_columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a job as its columns hold them, without those that no column holds."""
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in UPDATABLE:
            continue
        if name == "status":
            values[name] = JobStatus(value).value
        elif name in _JSON and value is not None:
            values[name] = to_json(value.to_dict() if isinstance(value, Usage) else value)
        elif name == "error" and value is not None:
            values[name] = escape_text(value)
        elif name in _TIMES:
            values[name] = to_datetime(value)
        else:
            values[name] = value
    return values


def _to_job(row: Row[Any]) -> Job:
    values = row._asdict()
    values["error"] = None if values["error"] is None else unescape_text(values["error"])
    for name in _JSON:
        try:
            values[name] = from_json(values[name])
        except ValueError:
            values[name], values["error"] = None, _describe_damage(row, name)
    try:
        values["status"] = JobStatus(values["status"])
    except ValueError:
        values["status"], values["error"] = JobStatus.FAILED, _describe_damage(row, "status")
    for name in ("current_seed", "records_generated", "records_failed", "progress"):
        values[name] = values[name] or 0
    return Job(**values)


def _describe_damage(row: Row[Any], name: str) -> str:
    return f"The {name} of job {row.id} is damaged in the database; its records can be exported."

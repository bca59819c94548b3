"""Routes that start, list, pause, resume, retry and cancel jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import File, Form, Query, Request, UploadFile
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from penstock.api.deps import ReadingDep, ServicesDep
from penstock.api.errors import error_responses
from penstock.api.job_view import view_job
from penstock.api.routing import Json, RowId, make_router
from penstock.api.schemas.jobs import Failures, JobCreated, JobSummary, JobView, Retried
from penstock.api.schemas.messages import Message
from penstock.entities import JobStatus, RecordStatus
from penstock.errors import NotFoundError
from penstock.settings import MOST_IN_FLIGHT
from penstock.storage import jobs, records

router = make_router("/api", "jobs")

_UNKNOWN = error_responses(404, 422)
_CHANGES = error_responses(404, 409, 422)
_POLL_SECONDS = 0.5

SeedUpload = Annotated[
    UploadFile, File(description="Seeds: .json, .md, .jsonl, .csv or .parquet, up to 10 MB, also as .gz.")
]
SeparatorForm = Annotated[
    str | SkipJsonSchema[None],
    Form(description="What separates the cells of a .csv file; without it, it is found in the first rows."),
]
PipelineForm = Annotated[int, Form(ge=0, lt=2**63, description="The pipeline that makes the records.")]


@router.post(
    "/generate",
    summary="Start a job over a seed file",
    response_model=JobCreated,
    responses=_UNKNOWN,
)
async def generate(
    request: Request,
    services: ServicesDep,
    file: SeedUpload,
    pipeline_id: PipelineForm,
    fresh: Annotated[
        bool, Form(description="Call models again even where the journal has an answer.")
    ] = False,
    concurrency: Annotated[
        Annotated[int, Field(ge=1, le=MOST_IN_FLIGHT)] | SkipJsonSchema[None],
        Form(description="Records in flight; without it as many as the model's limit allows."),
    ] = None,
    separator: SeparatorForm = None,
) -> Json:
    """Answers at once. The job waits until fewer than `MAX_RUNNING_JOBS` run; it survives a restart of the
    service."""
    job_id = await services.queue.submit(
        pipeline_id,
        file.filename or "",
        await file.read(),
        fresh=fresh,
        concurrency=concurrency,
        separator=separator or None,
        stops=[services.closing.wait(), _wait_for_disconnect(request)],
        caller=services.observer.telemetry.pick_headers(request.headers),
    )
    return Json({"job_id": job_id})


@router.post(
    "/generate_from_file",
    summary="Run a job over a seed file and wait for its end",
    response_model=JobSummary,
    responses=_UNKNOWN,
)
async def generate_from_file(
    request: Request,
    services: ServicesDep,
    file: SeedUpload,
    pipeline_id: PipelineForm,
    separator: SeparatorForm = None,
) -> Json:
    """For small files: answers when the job has ended or is paused. `generate` answers at once."""
    job_id = await services.queue.submit(
        pipeline_id,
        file.filename or "",
        await file.read(),
        separator=separator or None,
        stops=[services.closing.wait(), _wait_for_disconnect(request)],
        caller=services.observer.telemetry.pick_headers(request.headers),
    )
    job = await services.queue.read(job_id)
    while job.status in {JobStatus.QUEUED, JobStatus.RUNNING} and not services.closing.is_set():
        await services.queue.wait_for_change(_POLL_SECONDS)
        job = await services.queue.read(job_id)
    counts = {"total": job.total_seeds, "success": job.records_generated, "failed": job.records_failed}
    return Json({**counts, "job_id": job_id})


@router.get(
    "/jobs", summary="Jobs, newest first", response_model=list[JobView], responses=error_responses(422)
)
async def list_jobs(
    services: ServicesDep,
    session: ReadingDep,
    pipeline_id: Annotated[
        Annotated[int, Field(ge=0, lt=2**63)] | SkipJsonSchema[None],
        Query(description="Only jobs of this pipeline."),
    ] = None,
    status: Annotated[list[JobStatus], Query(description="Only jobs in one of these states.")] = [],  # noqa: B006  FastAPI copies it
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
) -> Json:
    """The last ten, unless `limit` is given."""
    found = await jobs.list_jobs(session, pipeline_id, limit, statuses=status)
    return Json([view_job(services.queue.with_live_progress(job), services) for job in found])


@router.get("/jobs/active", summary="The running job", response_model=JobView, responses=error_responses(404))
async def read_active_job(services: ServicesDep) -> Json:
    """The newest one, where several may run at once; 404 when none does."""
    for running in services.queue.list_running():
        job = await services.queue.read(running.job_id)
        if job.status is JobStatus.RUNNING:
            return Json(view_job(job, services))
    raise NotFoundError("no active job")


@router.get("/jobs/{job_id}", summary="One job", response_model=JobView, responses=_UNKNOWN)
async def read_job(job_id: RowId, services: ServicesDep) -> Json:
    """Its present progress, counters, usage, rate and time left."""
    return Json(view_job(await services.queue.read(job_id), services))


@router.delete("/jobs/{job_id}", summary="Cancel a job", response_model=Message, responses=_CHANGES)
async def cancel_job(job_id: RowId, services: ServicesDep) -> Json:
    """Records in flight are dropped; finished ones stay. A job that has ended is a 409 (D13)."""
    await services.queue.cancel(job_id)
    return Json({"message": "Job cancelled"})


@router.post("/jobs/{job_id}/pause", summary="Pause a job", response_model=JobView, responses=_CHANGES)
async def pause_job(job_id: RowId, services: ServicesDep) -> Json:
    """Records in flight are finished first; until then `wanted` is `paused`."""
    await services.queue.pause(job_id)
    return Json(view_job(await services.queue.read(job_id), services))


@router.post("/jobs/{job_id}/resume", summary="Resume a job", response_model=JobView, responses=_CHANGES)
async def resume_job(job_id: RowId, services: ServicesDep) -> Json:
    """For a job that is paused, was stopped by a limit, was cancelled, or failed. Finished records are
    neither made nor paid for again. The limits are those of the pipeline's newest version."""
    await services.queue.resume(job_id)
    return Json(view_job(await services.queue.read(job_id), services))


@router.post(
    "/jobs/{job_id}/retry",
    summary="Make a job's failed records again",
    response_model=Retried,
    responses=_CHANGES,
)
async def retry_job(job_id: RowId, services: ServicesDep) -> Json:
    """Only the failed records; the new ones replace them. What gates refused is asked again from that step
    on; model calls that had succeeded before an error are not repeated."""
    return Json({"job_id": job_id, "retried": await services.queue.retry(job_id)})


@router.get(
    "/jobs/{job_id}/failures",
    summary="Why a job's records failed",
    response_model=Failures,
    responses=_UNKNOWN,
)
async def list_failures(
    job_id: RowId, session: ReadingDep, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Json:
    """Failed records, grouped by cause."""
    await jobs.get_job(session, job_id)
    causes = await records.list_causes(session, job_id, limit)
    failed = (await jobs.count_records(session, job_id))[RecordStatus.FAILED]
    listed = [{"cause": one.cause, "count": one.count, "example_id": one.example_id} for one in causes]
    return Json({"job_id": job_id, "failed": failed, "causes": listed})


async def _wait_for_disconnect(request: Request) -> None:
    """Return when the client has gone; the body has been read by then."""
    while (await request.receive())["type"] != "http.disconnect":
        pass

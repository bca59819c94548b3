"""Jobs: begun with a seed file, watched, put to rest, taken up again, ended."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import File, Form, Header, Query, UploadFile
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response

from penstock.api.deps import ReadingDep, Services, ServicesDep
from penstock.api.errors import error_responses
from penstock.api.pipelines import UsageView
from penstock.api.routing import Json, RowId, make_router
from penstock.entities import JobStatus, RecordStatus
from penstock.errors import NotFoundError
from penstock.serialization import to_json
from penstock.storage import jobs, records
from penstock.storage.entities import Job

router = make_router("/api", "jobs")

_UNKNOWN = error_responses(404, 422)
_CHANGES = error_responses(404, 409, 422)
_EVENT_SECONDS = 0.5
"""How often a job that is watched is looked at."""
_HEARTBEAT_SECONDS = 15.0
_RETRY_MILLISECONDS = 2000
_TIME = "2026-01-31T12:00:00.000000Z"
_USAGE: Any = {
    "total_tokens": 4210,
    "total_input_tokens": 2947,
    "total_output_tokens": 1263,
    "total_cached_tokens": 0,
    "start_time": 1769860800.1,
    "end_time": 1769860842.7,
    "total_cost": 0.0012,
    "llm_calls": 421,
    "journal_hits": 0,
    "execution_time": 42.6,
}
_JOB: Any = {
    "id": 7,
    "pipeline_id": 1,
    "pipeline_version": 2,
    "status": "running",
    "wanted": None,
    "progress": 0.42,
    "current_seed": 421,
    "total_seeds": 1000,
    "current_block": "TextGenerator",
    "current_step": "Block 1/2",
    "records_generated": 420,
    "records_failed": 1,
    "records_refused": 0,
    "error": None,
    "usage": _USAGE,
    "rate": 9.9,
    "seconds_left": 58.5,
    "in_flight": 64,
    "concurrency": {"openai/gpt-4.1-mini": {"limit": 64, "in_flight": 61}},
    "steps": [
        {"step": 1, "block_type": "TextGenerator", "started": 485, "finished": 421, "failed": 0},
        {"step": 2, "block_type": "ValidatorBlock", "started": 421, "finished": 420, "failed": 1},
    ],
    "seeds": "topics.json",
    "started_at": _TIME,
    "completed_at": None,
    "created_at": _TIME,
}


class JobCreated(BaseModel):
    """That a job is queued."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"job_id": 7}]})

    job_id: int


class JobSummary(BaseModel):
    """What a job over a seed file came to."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"total": 5, "success": 4, "failed": 1, "job_id": 7}]}
    )

    total: int
    success: int
    failed: int
    job_id: int


class Message(BaseModel):
    """That it was done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "Job cancelled"}]})

    message: str


class Retried(BaseModel):
    """How many failed records are made again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"job_id": 7, "retried": 12}]})

    job_id: int
    retried: int


class JobUsage(UsageView):
    """What a job has used so far, over all its runs."""

    execution_time: float | None = Field(default=None, description="Seconds of running.")


class StepCount(BaseModel):
    """How often a step ran; what is started and neither finished nor failed is in flight."""

    step: int = Field(description="From 1.")
    block_type: str
    started: int
    finished: int
    failed: int


class ModelLoad(BaseModel):
    """How many calls a model gets at once."""

    model_config = ConfigDict(extra="allow")

    limit: int = Field(description="The most at present; it learns from the provider's refusals.")
    in_flight: int


class JobView(BaseModel):
    """A job as it stands this moment."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_JOB]})

    id: int
    pipeline_id: int
    pipeline_version: int | None = Field(description="The version that it runs.")
    status: JobStatus
    wanted: JobStatus | None = Field(description="What it turns into when what is in flight has finished.")
    progress: float = Field(description="From 0 to 1; 1 when completed.")
    current_seed: int = Field(description="How many of total_seeds have ended.")
    total_seeds: int = Field(description="Seeds times repetitions.")
    current_block: str | None
    current_step: str | None
    records_generated: int
    records_failed: int
    records_refused: int = Field(description="How many of the failed were refused by gates, in this run.")
    error: str | None = Field(description="Why it failed, was stopped, or is waiting for its database.")
    usage: JobUsage | None
    rate: float | None = Field(description="Records a second in this run; null when it does not run.")
    seconds_left: float | None = Field(description="An estimate; null when there is nothing to go by.")
    in_flight: int = Field(description="Records being made.")
    concurrency: dict[str, ModelLoad] = Field(description="Model calls of this process, by model.")
    steps: list[StepCount]
    seeds: str | None = Field(description="The name of the seed file.")
    started_at: str
    completed_at: str | None
    created_at: str


class CauseView(BaseModel):
    """Records that failed for one reason."""

    cause: str = Field(description="What `GET /api/records?cause=` takes.")
    count: int
    example_id: int = Field(description="The newest of these records.")


class Failures(BaseModel):
    """Why a job's records failed, the most frequent cause first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job_id": 7,
                    "failed": 12,
                    "causes": [{"cause": "TextGenerator: timeout", "count": 12, "example_id": 981}],
                }
            ]
        }
    )

    job_id: int
    failed: int
    causes: list[CauseView]


SeedUpload = Annotated[
    UploadFile, File(description="Seeds: .json, .md, .jsonl, .csv or .parquet, up to 10 MB.")
]
PipelineForm = Annotated[int, Form(ge=0, lt=2**63, description="The pipeline that makes the records.")]


@router.post(
    "/generate",
    summary="Begin a job over a seed file",
    response_model=JobCreated,
    responses=_UNKNOWN,
)
async def generate(
    services: ServicesDep,
    file: SeedUpload,
    pipeline_id: PipelineForm,
    fresh: Annotated[
        bool, Form(description="Ask models anew, even what the journal has an answer to.")
    ] = False,
    concurrency: Annotated[
        Annotated[int, Field(ge=1, le=4096)] | SkipJsonSchema[None],
        Form(description="Records in flight; without it as many as the model takes."),
    ] = None,
) -> Json:
    """Answers at once. The job waits its turn (`MAX_RUNNING_JOBS`), and outlives a restart of the service."""
    content = await file.read()
    job_id = await services.queue.submit(
        pipeline_id, file.filename or "", content, fresh=fresh, concurrency=concurrency
    )
    return Json({"job_id": job_id})


@router.post(
    "/generate_from_file",
    summary="Run a job over a seed file and wait for its end",
    response_model=JobSummary,
    responses=_UNKNOWN,
)
async def generate_from_file(services: ServicesDep, file: SeedUpload, pipeline_id: PipelineForm) -> Json:
    """For small files: the answer comes when the job has ended, or rests. `generate` answers at once."""
    job_id = await services.queue.submit(pipeline_id, file.filename or "", await file.read())
    job = await services.queue.read(job_id)
    while job.status in {JobStatus.QUEUED, JobStatus.RUNNING} and not services.closing.is_set():
        await services.queue.wait_for_change(_EVENT_SECONDS)
        job = await services.queue.read(job_id)
    facts = {"total": job.total_seeds, "success": job.records_generated, "failed": job.records_failed}
    return Json({**facts, "job_id": job_id})


@router.get(
    "/jobs", summary="Jobs, newest first", response_model=list[JobView], responses=error_responses(422)
)
async def list_jobs(
    services: ServicesDep,
    session: ReadingDep,
    pipeline_id: Annotated[
        Annotated[int, Field(ge=0, lt=2**63)] | SkipJsonSchema[None], Query(description="Of this pipeline.")
    ] = None,
    status: Annotated[list[JobStatus], Query(description="In any of these states.")] = [],  # noqa: B006  FastAPI copies it
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
) -> Json:
    """The last ten, unless `limit` says otherwise."""
    found = await jobs.list_jobs(session, pipeline_id, limit, statuses=status)
    return Json([_view(services.queue.with_live_progress(job), services) for job in found])


@router.get(
    "/jobs/active", summary="The job that is running", response_model=JobView, responses=error_responses(404)
)
async def read_active_job(services: ServicesDep) -> Json:
    """The newest one, where several may run at once; 404 when none does."""
    for running in services.queue.list_running():
        job = await services.queue.read(running.job_id)
        if job.status is JobStatus.RUNNING:
            return Json(_view(job, services))
    raise NotFoundError("no active job")


@router.get("/jobs/{job_id}", summary="One job", response_model=JobView, responses=_UNKNOWN)
async def read_job(job_id: RowId, services: ServicesDep) -> Json:
    """Progress, counters, usage, rate and time left, as they are this moment."""
    return Json(_view(await services.queue.read(job_id), services))


@router.delete("/jobs/{job_id}", summary="Cancel a job", response_model=Message, responses=_CHANGES)
async def cancel_job(job_id: RowId, services: ServicesDep) -> Json:
    """What is in flight is dropped; finished records stay. A job that has ended is a 409 (D13)."""
    await services.queue.cancel(job_id)
    return Json({"message": "Job cancelled"})


@router.post("/jobs/{job_id}/pause", summary="Let a job rest", response_model=JobView, responses=_CHANGES)
async def pause_job(job_id: RowId, services: ServicesDep) -> Json:
    """What is in flight is finished first; until then `wanted` says that it is about to rest."""
    await services.queue.pause(job_id)
    return Json(_view(await services.queue.read(job_id), services))


@router.post("/jobs/{job_id}/resume", summary="Let a job go on", response_model=JobView, responses=_CHANGES)
async def resume_job(job_id: RowId, services: ServicesDep) -> Json:
    """For a job that rests, was stopped by a limit, was cancelled, or failed. What is finished is neither
    made nor paid for again. Limits are those of the pipeline's newest version."""
    await services.queue.resume(job_id)
    return Json(_view(await services.queue.read(job_id), services))


@router.post(
    "/jobs/{job_id}/retry",
    summary="Make a job's failed records again",
    response_model=Retried,
    responses=_CHANGES,
)
async def retry_job(job_id: RowId, services: ServicesDep) -> Json:
    """Just the failed ones, in place of what they are now. What gates refused is asked anew from that
    step on; model calls that had succeeded before an error are not made again."""
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


@router.get(
    "/jobs/{job_id}/events",
    summary="Watch a job",
    response_class=Response,
    responses={
        **_UNKNOWN,
        200: {
            "description": "Events `progress` and, as the last one, `end`; each has the job as its data.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The job has ended, and the caller has seen it."},
    },
)
async def watch_job(
    job_id: RowId,
    services: ServicesDep,
    last_event_id: Annotated[
        str | SkipJsonSchema[None], Header(description="What a browser sends when it comes back.")
    ] = None,
) -> Response:
    """Server-Sent Events. Each holds the whole present state, so whoever comes back misses nothing: ids
    increase, over restarts too. The stream ends when the job has; a browser that then asks again gets a 204,
    which tells it to stop."""
    job = await services.queue.read(job_id)
    seen = _read_event_id(last_event_id)
    if job.status.ended and seen % 2:
        return Response(status_code=204)
    headers = {"x-accel-buffering": "no"}
    return EventSourceResponse(_follow(services, job_id, seen), headers=headers)


async def _follow(services: Services, job_id: int, seen: int) -> AsyncIterator[bytes]:
    """The job's events after the one with the id ``seen``."""
    told: Any = None
    spoke = time.monotonic()
    yield format_sse_event(retry=_RETRY_MILLISECONDS)
    while not services.closing.is_set():
        try:
            job = await services.queue.read(job_id)
        except NotFoundError:
            return  # deleted
        view = _view(job, services)
        news = [view[name] for name in _NEWS]
        if news != told or job.status.ended:
            told, spoke = news, time.monotonic()
            seen = _next_event_id(seen, ended=job.status.ended)
            kind = "end" if job.status.ended else "progress"
            yield format_sse_event(data_str=to_json(view).strip(), event=kind, id=str(seen))
            if job.status.ended:
                return
        elif time.monotonic() - spoke >= _HEARTBEAT_SECONDS:
            spoke = time.monotonic()
            yield KEEPALIVE_COMMENT
        await services.queue.wait_for_change(_EVENT_SECONDS)


_NEWS = ("status", "wanted", "current_seed", "records_generated", "records_failed", "error", "steps")
"""What must have changed for an event to be worth sending."""


def _next_event_id(seen: int, *, ended: bool) -> int:
    """Larger than ``seen``, and than any id of an earlier process; odd for a job's end."""
    return max(int(time.time() * 1000), seen // 2 + 1) * 2 + ended


def _read_event_id(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 18 else 0


def _view(job: Job, services: Services) -> dict[str, Any]:
    """The job as the API shows it, with what only the process that works on it knows."""
    facts = job.to_dict()
    usage = dict(job.usage) if job.usage else None
    steps = usage.pop("steps", ()) if usage else ()
    facts["usage"] = usage
    facts["seeds"] = job.source.get("seeds") if isinstance(job.source, dict) else None
    facts |= {
        "wanted": None,
        "records_refused": 0,
        "rate": None,
        "seconds_left": None,
        "in_flight": 0,
        "concurrency": {},
        "steps": [_step(number, *step) for number, step in enumerate(steps, start=1)],
    }
    running = services.queue.find_running(job.id)
    if running is None:
        return facts
    facts["wanted"] = running.target_status
    facts["concurrency"] = services.client.concurrency()
    if (progress := running.progress) is not None:
        left = progress.seconds_left
        facts |= {
            "records_refused": progress.refused,
            "rate": round(progress.rate, 3),
            "seconds_left": None if left is None else round(left, 1),
            "in_flight": progress.in_flight,
            "steps": [
                _step(number, step.block_type, step.finished, step.failed, step.started)
                for number, step in enumerate(progress.steps, start=1)
            ],
        }
    return facts


def _step(
    number: int, block_type: str, finished: int, failed: int, started: int | None = None
) -> dict[str, Any]:
    return {
        "step": number,
        "block_type": block_type,
        "started": finished + failed if started is None else started,
        "finished": finished,
        "failed": failed,
    }

"""Jobs: their progress, their failures, and what starting or ending one answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from penstock.api.schemas.examples import TIME
from penstock.api.schemas.usage import UsageView
from penstock.entities import JobStatus

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
    "advice": None,
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
    "started_at": TIME,
    "completed_at": None,
    "created_at": TIME,
}


class JobCreated(BaseModel):
    """A job was queued."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"job_id": 7}]})

    job_id: int


class JobSummary(BaseModel):
    """How many records of a job succeeded and failed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"total": 5, "success": 4, "failed": 1, "job_id": 7}]}
    )

    total: int
    success: int
    failed: int
    job_id: int


class Retried(BaseModel):
    """How many failed records are made again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"job_id": 7, "retried": 12}]})

    job_id: int
    retried: int


class JobUsage(UsageView):
    """What a job has used so far, over all its runs."""

    execution_time: float | None = Field(default=None, description="Seconds of running.")


class StepCount(BaseModel):
    """How often a step ran; the started ones that neither finished nor failed are in flight."""

    step: int = Field(description="From 1.")
    block_type: str
    started: int
    finished: int
    failed: int


class ModelLoad(BaseModel):
    """How many calls to a model run at once."""

    model_config = ConfigDict(extra="allow")

    limit: int = Field(description="The present limit; it adapts to the provider's rate limits.")
    in_flight: int


class JobView(BaseModel):
    """The present state of a job."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_JOB]})

    id: int
    pipeline_id: int
    pipeline_version: int | None = Field(description="The version that it runs.")
    status: JobStatus
    wanted: JobStatus | None = Field(description="Its next status, once the records in flight have finished.")
    progress: float = Field(description="From 0 to 1; 1 when completed.")
    current_seed: int = Field(description="How many of total_seeds have ended.")
    total_seeds: int = Field(description="Seeds times repetitions.")
    current_block: str | None
    current_step: str | None
    records_generated: int
    records_failed: int
    records_refused: int = Field(description="How many of the failed were refused by gates, in this run.")
    error: str | None = Field(description="Why it failed, was stopped, or is waiting for its database.")
    advice: str | None = Field(
        description="How to continue it or make its failed records again; null if nothing is to be done."
    )
    usage: JobUsage | None
    rate: float | None = Field(description="Records a second in this run; null when it does not run.")
    seconds_left: float | None = Field(description="An estimate; null when nothing is known yet.")
    in_flight: int = Field(description="Records being made.")
    concurrency: dict[str, ModelLoad] = Field(description="Model calls of this process, by model.")
    steps: list[StepCount]
    seeds: str | None = Field(description="The name of the seed file.")
    started_at: str
    completed_at: str | None
    created_at: str


class CauseView(BaseModel):
    """Records that failed for one reason."""

    cause: str = Field(description="The value for `GET /api/records?cause=`.")
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

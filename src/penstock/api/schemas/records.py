"""Records as they are shown, edited and counted."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from penstock.api.filters import FilterBody
from penstock.api.schemas.examples import TIME
from penstock.api.schemas.usage import UsageView
from penstock.entities import RecordStatus

_USAGE: Any = {
    "total_tokens": 10,
    "total_input_tokens": 7,
    "total_output_tokens": 3,
    "total_cached_tokens": 0,
    "start_time": 1769860800.1,
    "end_time": 1769860800.4,
    "total_cost": None,
    "llm_calls": 1,
    "journal_hits": 0,
}
_STATE: Any = {"system": "", "user": "Explain gravity.", "assistant": "Things fall."}
_RECORD: Any = {
    "id": 981,
    "output": "Things fall.",
    "metadata": {"topic": "gravity"},
    "status": "pending",
    "pipeline_id": 1,
    "pipeline_version": 2,
    "job_id": 7,
    "seed": 0,
    "repetition": 0,
    "child": "",
    "error": None,
    "attempts": 1,
    "usage": _USAGE,
    "created_at": TIME,
    "updated_at": TIME,
    "trace": [
        {
            "block_type": "TextGenerator",
            "input": {"topic": "gravity"},
            "output": _STATE,
            "accumulated_state": {"topic": "gravity", **_STATE},
            "execution_time": 0.31,
        }
    ],
}

ReviewStatus = Literal["pending", "accepted", "rejected", "edited"]
"""What a reviewer can set; only a job sets ``failed``."""


class RecordView(BaseModel):
    """A record: what a pipeline made from one seed."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_RECORD]})

    id: int
    output: str = Field(description="The pipeline's output as text.")
    metadata: dict[str, Any] = Field(description="The seed's variables.")
    status: RecordStatus
    pipeline_id: int | None
    pipeline_version: int | None
    job_id: int | None
    seed: int | None = Field(description="Which seed of the job, from 0.")
    repetition: int | None
    child: str | None = Field(description="Which of a multiplier's children; empty without one.")
    error: dict[str, Any] | None = Field(description="Why it failed: `{error, type, detail, tries}`.")
    attempts: int = Field(description="The largest number of attempts that one of its steps needed.")
    usage: UsageView
    created_at: str
    updated_at: str
    trace: list[dict[str, Any]] | None = Field(
        default=None, description="One entry a step; left out with `trace=false`."
    )
    accumulated_state: dict[str, Any] | None = Field(
        default=None,
        description="In place of the trace: the last state without the values that are still the seed's.",
    )


class RecordEdit(BaseModel):
    """What to change; keys that are not named here change fields of the last state."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"status": "accepted"}, {"status": "edited", "assistant": "Things fall down."}]
        },
    )

    status: ReviewStatus | None = None
    output: Any = Field(default=None, description="A value that is not a text is stored as JSON.")
    metadata: dict[str, Any] | None = None


class Deleted(BaseModel):
    """How many records were deleted."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"deleted": 2}]})

    deleted: int


class Changed(BaseModel):
    """How many records were changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"changed": 40}]})

    changed: int


class BulkEdit(BaseModel):
    """A status for many records."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"status": "accepted", "filter": {"job_id": 7, "field": "score", "min": 0.8}}]
        },
    )

    status: ReviewStatus
    filter: FilterBody


class Counts(BaseModel):
    """How many records are in each state."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"pending": 240, "accepted": 8, "rejected": 1, "edited": 1, "failed": 0, "total": 250}
            ]
        }
    )

    pending: int
    accepted: int
    rejected: int
    edited: int
    failed: int
    total: int


class Edit(BaseModel):
    """What an edit changed, as it was before the edit."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"changed_at": TIME, "status": "pending", "state": {"assistant": "Things fall."}}]
        }
    )

    changed_at: str
    status: RecordStatus
    output: str | None = None
    metadata: dict[str, Any] | None = None
    state: dict[str, Any] | None = Field(default=None, description="Fields that had been edited before.")

"""Records: found, read, reviewed with a way back, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response

from penstock.api.deps import ReadingDep, ServicesDep, SessionDep
from penstock.api.errors import error_responses
from penstock.api.filters import FilterBody, FilterDep, read_cursor, read_order, write_cursor
from penstock.api.pipelines import UsageView
from penstock.api.routing import Json, RowId, make_router
from penstock.entities import RecordStatus
from penstock.errors import BadInputError, ConflictError, NotFoundError
from penstock.redaction import redact_known
from penstock.serialization import to_json
from penstock.storage import records
from penstock.storage.entities import Record
from penstock.storage.records import Position
from penstock.storage.tables import to_text

router = make_router("/api/records", "records")

MAX_PAGE = 1000

_UNKNOWN = error_responses(404, 422)
_INLINE = 25
"""More records than this are written out on a thread, so that a large page holds up nobody else."""
_TIME = "2026-01-31T12:00:00.000000Z"
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
    "created_at": _TIME,
    "updated_at": _TIME,
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
"""What a reviewer can make of a record; ``failed`` is what only a job can say."""


class RecordView(BaseModel):
    """What a seed became."""

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
    attempts: int = Field(description="How often its most-healed step was made.")
    usage: UsageView
    created_at: str
    updated_at: str
    trace: list[dict[str, Any]] | None = Field(
        default=None, description="One entry a step; left out with `trace=false`."
    )
    accumulated_state: dict[str, Any] | None = Field(
        default=None, description="In place of the trace: the last state without what is still the seed's."
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
    output: Any = Field(default=None, description="What is no text is kept as JSON.")
    metadata: dict[str, Any] | None = None


class Success(BaseModel):
    """That it was done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"success": True}]})

    success: bool = True


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
    """What a record was before an edit; only what the edit changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"changed_at": _TIME, "status": "pending", "state": {"assistant": "Things fall."}}]
        }
    )

    changed_at: str
    status: RecordStatus
    output: str | None = None
    metadata: dict[str, Any] | None = None
    state: dict[str, Any] | None = Field(default=None, description="Fields that had been edited before.")


_NEXT: Any = {
    200: {
        "headers": {
            "X-Next-Cursor": {
                "description": "What `cursor` takes to get the next page; absent on the last one.",
                "schema": {"type": "string"},
            },
            "Link": {"description": "The next page's address.", "schema": {"type": "string"}},
        }
    }
}


@router.get(
    "",
    summary="Records, newest first",
    response_model=list[RecordView],
    responses={**error_responses(422), **_NEXT},
)
async def list_records(
    request: Request,
    wanted: FilterDep,
    session: ReadingDep,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    offset: Annotated[
        int, Query(ge=0, lt=2**63, description="Walks over what it skips: `cursor` is faster.")
    ] = 0,
    before_id: Annotated[
        Annotated[int, Field(ge=-(2**63), lt=2**63)] | SkipJsonSchema[None],
        Query(description="Only records with smaller ids: the last id of the page before, newest first."),
    ] = None,
    cursor: Annotated[
        Annotated[str, Field(max_length=4000)] | SkipJsonSchema[None],
        Query(description="The `X-Next-Cursor` of the page before."),
    ] = None,
    sort: Annotated[
        str,
        Query(
            max_length=500,
            description="`id`, `created_at`, `updated_at` or a field with numbers; `-` puts the largest "
            "first. Records without a number in the field come last.",
        ),
    ] = "-id",
    trace: Annotated[bool, Query(description="false: `accumulated_state` in place of the trace.")] = True,
) -> Response:
    """A plain array. When there is more, `X-Next-Cursor` and `Link` say how to get it; pages by cursor stay
    fast however far one turns."""
    order = read_order(sort)
    after = read_cursor(cursor, order) if cursor else None
    if before_id is not None:
        if order != read_order("-id") or after is not None:
            raise BadInputError("before_id goes with the order of ids, the newest first; else use cursor.")
        after = Position(before_id)
    page = await records.list_page(
        session, wanted, order=order, limit=limit, offset=offset, after=after, traces=trace
    )
    headers = {}
    if page.end is not None:
        headers["x-next-cursor"] = write_cursor(order, page.end)
        headers["link"] = f'<{_next_address(request, headers["x-next-cursor"])}>; rel="next"'
    body = await _write_out(page.records, traces=trace)
    return Response(body, headers=headers, media_type="application/json")


@router.get(
    "/counts",
    summary="How many records are in each state",
    response_model=Counts,
    responses=error_responses(422),
)
async def count_records(wanted: FilterDep, session: ReadingDep) -> Json:
    """Takes the filters of the list."""
    counts = await records.count_statuses(session, wanted)
    facts = {status.value: count for status, count in counts.items()}
    return Json({**facts, "total": sum(counts.values())})


@router.post(
    "/bulk", summary="Give many records a status", response_model=Changed, responses=error_responses(422)
)
async def update_records(body: BulkEdit, session: SessionDep) -> Json:
    """All that the filter means, each with a way back (`undo`). An empty filter means every record but the
    failed ones, which must be named."""
    status = RecordStatus(body.status)
    return Json({"changed": await records.set_status(session, body.filter.to_filter(), status)})


@router.delete("", summary="Delete records", response_model=Deleted, responses=error_responses(422))
async def delete_records(
    services: ServicesDep,
    job_id: Annotated[
        Annotated[int, Field(ge=-(2**63), lt=2**63)] | SkipJsonSchema[None],
        Query(description="The records of this job, and the job with them."),
    ] = None,
) -> Json:
    """With `job_id` the job goes, too; if it has not ended, it is cancelled first. Without it all records go,
    and jobs stay."""
    if job_id is not None:
        with suppress(NotFoundError, ConflictError):  # there is none, or it has ended
            await services.queue.cancel(job_id)
    async with services.storage.session() as session:
        deleted = await records.delete_records(session, job_id)
    return Json({"deleted": deleted})


@router.get("/{record_id}", summary="One record", response_model=RecordView, responses=_UNKNOWN)
async def read_record(record_id: RowId, session: ReadingDep) -> Response:
    """With its whole trace: what each step saw, gave and cost, and every attempt."""
    return _answer(await records.get_record(session, record_id))


@router.put("/{record_id}", summary="Review or edit a record", response_model=Success, responses=_UNKNOWN)
async def update_record(record_id: RowId, body: RecordEdit, session: SessionDep) -> Json:
    """`status`, `output` and `metadata` are replaced; any other key changes a field of the last state, which
    is what exports show. What it was before is kept: see `history` and `undo`."""
    await records.update_record(
        session,
        record_id,
        status=None if body.status is None else RecordStatus(body.status),
        output=body.output,
        metadata=body.metadata,
        state=body.model_extra,
    )
    return Json({"success": True})


@router.get(
    "/{record_id}/history",
    summary="What a record was before each edit",
    response_model=list[Edit],
    response_model_exclude_none=True,
    responses=_UNKNOWN,
)
async def list_history(record_id: RowId, session: ReadingDep) -> Json:
    """The latest edit first."""
    await records.get_record(session, record_id)
    entries = await records.list_history(session, record_id)
    return Json([{**entry, "changed_at": to_text(entry["changed_at"])} for entry in entries])


@router.post(
    "/{record_id}/undo", summary="Take the last edit back", response_model=RecordView, responses=_UNKNOWN
)
async def undo_edit(record_id: RowId, session: SessionDep) -> Response:
    """Answers with the record as it is now; a 404 when there is no edit to take back."""
    return _answer(await records.undo_edit(session, record_id))


def _answer(record: Record) -> Response:
    return Response(redact_known(to_json(record.to_dict())).encode(), media_type="application/json")


async def _write_out(found: Sequence[Record], *, traces: bool) -> bytes:
    if len(found) <= _INLINE:
        return _to_bytes(found, traces)
    return await asyncio.to_thread(_to_bytes, found, traces)


def _to_bytes(found: Sequence[Record], traces: bool) -> bytes:
    """Each record on its own, so that a thread lets go of the interpreter between two of them."""
    return f"[{','.join(redact_known(to_json(_facts(record, traces))) for record in found)}]".encode()


def _facts(record: Record, traces: bool) -> Mapping[str, Any]:
    facts = record.to_dict(trace=traces)
    return facts if traces else {**facts, "accumulated_state": record.accumulated_state}


def _next_address(request: Request, cursor: str) -> str:
    kept = [
        pair
        for pair in request.query_params.multi_items()
        if pair[0] not in {"cursor", "before_id", "offset"}
    ]
    return f"{request.url.path}?{urlencode([*kept, ('cursor', cursor)])}"

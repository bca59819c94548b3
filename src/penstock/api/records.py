"""Routes that list, review, edit, undo and delete records."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, Query, Request
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response

from penstock.api.deps import ReadingDep, ServicesDep, SessionDep
from penstock.api.errors import error_responses
from penstock.api.filters import FilterDep, read_cursor, read_order, write_cursor
from penstock.api.routing import Json, RowId, make_router
from penstock.api.schemas.messages import Success
from penstock.api.schemas.records import BulkEdit, Changed, Counts, Deleted, Edit, RecordEdit, RecordView
from penstock.entities import RecordStatus
from penstock.errors import BadInputError, DamagedRecordError, NotFoundError
from penstock.jobs.deletions import delete_all_records, ending_jobs
from penstock.redaction import redact_known
from penstock.serialization import to_json, to_text
from penstock.storage import records
from penstock.storage.entities import Record
from penstock.storage.filters import Order
from penstock.storage.records import Position
from penstock.storage.tables import to_iso8601

router = make_router("/api/records", "records")

MAX_PAGE: Final = 1000
MAX_REPEATED: Final = 4 * 1024 * 1024
"""How much a page may repeat of documents that multipliers took apart, in characters."""

_UNKNOWN = error_responses(404, 422)
_INLINE = 25
"""Pages of more records than this are serialized on a thread, so that they do not block the event loop."""
_NEXT: Any = {
    200: {
        "headers": {
            "X-Next-Cursor": {
                "description": "The `cursor` of the next page; absent on the last one.",
                "schema": {"type": "string"},
            },
            "Link": {"description": "The next page's address.", "schema": {"type": "string"}},
        }
    }
}


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list of records a request wants."""

    order: Order
    limit: int
    offset: int
    after: Position | None


async def read_page(
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    offset: Annotated[
        int, Query(ge=0, lt=2**63, description="Reads all that it skips: `cursor` is faster.")
    ] = 0,
    before_id: Annotated[
        Annotated[int, Field(ge=-(2**63), lt=2**63)] | SkipJsonSchema[None],
        Query(description="Only records with smaller ids: the last id of the previous page, newest first."),
    ] = None,
    cursor: Annotated[
        Annotated[str, Field(max_length=4000)] | SkipJsonSchema[None],
        Query(description="The `X-Next-Cursor` of the previous page."),
    ] = None,
    sort: Annotated[
        str,
        Query(
            max_length=500,
            description="`id`, `created_at`, `updated_at` or a field with numbers; `-` puts the largest "
            "first. Records without a number in the field come last.",
        ),
    ] = "-id",
) -> Page:
    """The page in a request's query; raises BadInputError when its parameters do not go together."""
    order = read_order(sort)
    after = read_cursor(cursor, order) if cursor else None
    if before_id is not None:
        if order != read_order("-id") or after is not None:
            raise BadInputError("before_id works with sort=-id only; use cursor with another order.")
        after = Position(before_id)
    return Page(order, limit, offset, after)


@router.get(
    "",
    summary="Records, newest first",
    response_model=list[RecordView],
    responses={**error_responses(422), **_NEXT},
)
async def list_records(
    request: Request,
    record_filter: FilterDep,
    session: ReadingDep,
    page: Annotated[Page, Depends(read_page)],
    trace: Annotated[
        bool,
        Query(
            description="false: `accumulated_state` in place of the trace, and `metadata` without the "
            "document that a multiplier took apart. That is also left out, and from traces, where the "
            "documents of a page would be more than 4 MB; one record has it always.",
        ),
    ] = True,
) -> Response:
    """A plain array. When there are more, `X-Next-Cursor` and `Link` lead to the next page; with a cursor
    every page takes the same time."""
    found = await records.list_page(
        session,
        record_filter,
        order=page.order,
        limit=page.limit,
        offset=page.offset,
        after=page.after,
        traces=trace,
    )
    headers = {}
    if found.end is not None:
        headers["x-next-cursor"] = write_cursor(page.order, found.end)
        headers["link"] = f'<{_next_address(request, headers["x-next-cursor"])}>; rel="next"'
    body = await _serialize(found.records, traces=trace)
    return Response(body, headers=headers, media_type="application/json")


@router.get(
    "/counts",
    summary="How many records are in each state",
    response_model=Counts,
    responses=error_responses(422),
)
async def count_records(record_filter: FilterDep, session: ReadingDep) -> Json:
    """Takes the filters of the list."""
    counts = await records.count_statuses(session, record_filter)
    by_status = {status.value: count for status, count in counts.items()}
    return Json({**by_status, "total": sum(counts.values())})


@router.post(
    "/bulk", summary="Give many records a status", response_model=Changed, responses=error_responses(422)
)
async def update_records(body: BulkEdit, session: SessionDep) -> Json:
    """Changes all records that match the filter; each can be undone. An empty filter matches every record
    except failed ones, which `status` must name."""
    status = RecordStatus(body.status)
    return Json({"changed": await records.set_status(session, body.filter.to_filter(), status)})


@router.delete("", summary="Delete records", response_model=Deleted, responses=error_responses(409, 422))
async def delete_records(
    services: ServicesDep,
    job_id: Annotated[
        Annotated[int, Field(ge=-(2**63), lt=2**63)] | SkipJsonSchema[None],
        Query(description="The records of this job, and the job with them."),
    ] = None,
) -> Json:
    """With `job_id` the job is deleted, too; if it has not ended, it is cancelled first. A job that another
    process works on (`penstock run`, another service) is a 409. Without `job_id` all records are deleted,
    and jobs stay; while a job is running or queued that is a 409."""
    if job_id is None:
        return Json({"deleted": await delete_all_records(services.queue)})
    jobs_to_end: list[int] = []
    with suppress(NotFoundError):
        jobs_to_end = [(await services.queue.read(job_id)).id]
    async with ending_jobs(services.queue, jobs_to_end), services.storage.session() as session:
        deleted = await records.delete_records(session, job_id)
    return Json({"deleted": deleted})


@router.get("/{record_id}", summary="One record", response_model=RecordView, responses=_UNKNOWN)
async def read_record(record_id: RowId, session: ReadingDep) -> Response:
    """With its whole trace: what each step received, returned and cost, and every attempt."""
    return _answer(await records.get_record(session, record_id))


@router.put("/{record_id}", summary="Review or edit a record", response_model=Success, responses=_UNKNOWN)
async def update_record(record_id: RowId, body: RecordEdit, session: SessionDep) -> Json:
    """`status`, `output` and `metadata` are replaced; any other key changes a field of the last state, which
    exports use. The values before the edit are kept: see `history` and `undo`."""
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
    summary="The edits of a record",
    response_model=list[Edit],
    response_model_exclude_none=True,
    responses=_UNKNOWN,
)
async def list_history(record_id: RowId, session: ReadingDep) -> Json:
    """What each edit changed, with the values before it; the latest edit first."""
    await records.get_record(session, record_id)
    entries = await records.list_history(session, record_id)
    return Json([{**entry, "changed_at": to_iso8601(entry["changed_at"])} for entry in entries])


@router.post("/{record_id}/undo", summary="Undo the last edit", response_model=RecordView, responses=_UNKNOWN)
async def undo_edit(record_id: RowId, session: SessionDep) -> Response:
    """Answers with the record as it is now; a 404 when there is no edit to undo."""
    return _answer(await records.undo_edit(session, record_id))


def _answer(record: Record) -> Response:
    return Response(redact_known(to_json(record.to_dict())).encode(), media_type="application/json")


async def _serialize(found: Sequence[Record], *, traces: bool) -> bytes:
    documents = sum(map(_document_size, found)) <= MAX_REPEATED
    if len(found) <= _INLINE:
        return _to_bytes(found, traces, documents)
    return await asyncio.to_thread(_to_bytes, found, traces, documents)


def _document_size(record: Record) -> int:
    """Roughly how much a record repeats of the document that a multiplier took apart."""
    return sum(len(to_text(record.metadata.get(name))) for name in record.consumed)


def _to_bytes(found: Sequence[Record], traces: bool, documents: bool) -> bytes:
    """A JSON array, record by record, so that a thread releases the interpreter between two of them."""
    return (
        f"[{','.join(redact_known(to_json(_view(record, traces, documents))) for record in found)}]".encode()
    )


def _view(record: Record, traces: bool, documents: bool) -> Mapping[str, Any]:
    view = record.to_dict(trace=traces)
    try:
        state = record.accumulated_state
    except DamagedRecordError as damage:  # what can be read of it is shown
        view["error"] = {"error": damage.message, "type": type(damage).__name__, "detail": damage.detail}
        state = {}
    if traces:
        return view if documents else _leave_out(view, record)
    return {**view, "metadata": record.own_metadata, "accumulated_state": state}


def _leave_out(view: Mapping[str, Any], record: Record) -> Mapping[str, Any]:
    """The view without the document that a multiplier took apart."""
    trace = [{**entry, "input": _without(entry.get("input"), record.consumed)} for entry in view["trace"]]
    return {**view, "metadata": record.own_metadata, "trace": trace}


def _without(seen: Any, names: Sequence[str]) -> Any:
    return {key: value for key, value in seen.items() if key not in names} if isinstance(seen, dict) else seen


def _next_address(request: Request, cursor: str) -> str:
    kept = [
        (name, value)
        for name, value in request.query_params.multi_items()
        if name not in {"cursor", "before_id", "offset"}
    ]
    return f"{request.url.path}?{urlencode([*kept, ('cursor', cursor)])}"

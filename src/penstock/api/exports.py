"""Routes that export records as files, as a stream of any length."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import IO, Annotated, Any, Literal

from fastapi import Depends, Query
from starlette.responses import Response, StreamingResponse

from penstock import exports
from penstock.api.deps import Services, ServicesDep
from penstock.api.filters import FilterDep
from penstock.api.routing import Json, make_router
from penstock.api.schemas.exports import ExportPreview
from penstock.entities import RecordStatus
from penstock.errors import BadInputError, DamagedRecordError
from penstock.redaction import redact_known
from penstock.storage import records
from penstock.storage.filters import RecordFilter

logger = logging.getLogger(__name__)
router = make_router("/api/export", "exports", 422)

Format = Literal["jsonl", "csv", "parquet", "openai", "sharegpt", "alpaca"]

_CHUNK = 64 * 1024
_LINES = "application/x-ndjson"
_MEDIA = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_REVIEWABLE = tuple(status for status in RecordStatus if status is not RecordStatus.FAILED)

FormatQuery = Annotated[
    Format,
    Query(description="`jsonl`, `csv`, `parquet`, or training examples: `openai`, `sharegpt`, `alpaca`."),
]
MapQuery = Annotated[
    list[str],
    Query(
        max_length=200,
        description="`FIELD=PATH`, as often as needed: where a field of the format, or a column, comes from.",
        examples=[["instruction=user", "output=generated.answer"]],
    ),
]


async def _read_export_filter(record_filter: FilterDep) -> RecordFilter:
    """The filter of the request, without failed records unless their status is asked for."""
    return record_filter if record_filter.statuses else replace(record_filter, statuses=_REVIEWABLE)


ExportFilterDep = Annotated[RecordFilter, Depends(_read_export_filter)]


async def _read_mapping(map: MapQuery = []) -> dict[str, str] | None:  # noqa: A002, B006  the name of the parameter
    mapping = {}
    for pair in map:
        field, sign, path = pair.partition("=")
        if not (sign and field and path):
            raise BadInputError(
                "map takes FIELD=PATH, such as output=generated.answer.", detail={"map": pair}
            )
        mapping[field] = path
    return mapping or None


MappingDep = Annotated[dict[str, str] | None, Depends(_read_mapping)]

_CONTENT: Any = {
    200: {
        "description": "The records; one object a line, unless `format` says otherwise.",
        "content": {
            _LINES: {"schema": {"type": "string"}},
            "text/csv": {"schema": {"type": "string"}},
            _MEDIA["parquet"]: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.get("", summary="Records as a file", response_class=Response, responses=_CONTENT)
async def export_records(
    services: ServicesDep,
    record_filter: ExportFilterDep,
    mapping: MappingDep,
    format: FormatQuery = "jsonl",  # noqa: A002
) -> Response:
    """One object a line: `id, metadata, status, accumulated_state, created_at, updated_at`, where
    `accumulated_state` is the last state without the values that are still the seed's. Failed records are
    left out unless `status=failed` asks for them. Takes the filters of the list of records."""
    return await _stream(services, record_filter, format, mapping)


@router.get("/download", summary="Records as a file to download", response_class=Response, responses=_CONTENT)
async def download_export(
    services: ServicesDep,
    record_filter: ExportFilterDep,
    mapping: MappingDep,
    format: FormatQuery = "jsonl",  # noqa: A002
) -> Response:
    """The same, with a file name for browsers."""
    response = await _stream(services, record_filter, format, mapping)
    name = f"qa_export{exports.EXTENSIONS[format]}"
    response.headers["content-disposition"] = f'attachment; filename="{name}"'
    return response


@router.get("/preview", summary="An export's size and first rows", response_model=ExportPreview)
async def preview_export(
    services: ServicesDep,
    record_filter: ExportFilterDep,
    mapping: MappingDep,
    format: FormatQuery = "jsonl",  # noqa: A002
    limit: Annotated[int, Query(ge=1, le=100, description="How many rows to show.")] = 5,
) -> Json:
    """How many records the export has, and how its first rows look."""
    async with services.storage.reading() as session:
        count = await records.count_matching(session, record_filter)
    async with aclosing(_stream_records(services, record_filter)) as found:
        rows, report = await exports.preview(found, format, mapping, limit=limit)
    return Json({"count": count, "skipped": report.skipped, "rows": rows})


def _stream_records(services: Services, record_filter: RecordFilter) -> Any:
    return records.stream_records(services.storage, record_filter, traces=False, on_damage=_log_damage)


def _log_damage(damage: DamagedRecordError) -> None:
    logger.error("An export: %s", damage.message)


async def _stream(
    services: Services,
    record_filter: RecordFilter,
    format: str,  # noqa: A002
    mapping: dict[str, str] | None,
) -> Response:
    """The export as a stream; the first bytes are made before the answer starts, so an error is a 400."""
    chunks = (
        _iter_parquet(services, record_filter, mapping)
        if format == "parquet"
        else _iter_text(services, record_filter, format, mapping)
    )
    first = await anext(chunks, b"")
    return StreamingResponse(_chain(first, chunks), media_type=_MEDIA.get(format, _LINES))


async def _iter_text(
    services: Services,
    record_filter: RecordFilter,
    format: str,  # noqa: A002
    mapping: dict[str, str] | None,
) -> AsyncIterator[bytes]:
    report = exports.ExportReport()
    found = _stream_records(services, record_filter)
    async for chunk in _join(exports.iter_lines(found, format, mapping, report=report)):
        yield chunk
    _log_skipped(report)


def _log_skipped(report: exports.ExportReport) -> None:
    """Tell the service's log what was left out: the answer has no place for it, once it has begun."""
    if report.skipped:
        logger.warning(
            "An export has %d records and leaves %d out; without these fields: %s",
            report.rows,
            report.skipped,
            report.missing,
        )


async def _join(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines joined to chunks of a size worth sending, with the secrets of the settings masked."""
    waiting: list[bytes] = []
    size = 0
    async for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _CHUNK:
            yield _mask(waiting)
            waiting, size = [], 0
            await asyncio.sleep(0)  # a client that reads fast must not block other requests
    if waiting:
        yield _mask(waiting)


def _mask(lines: list[bytes]) -> bytes:
    return redact_known(b"".join(lines).decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")


async def _iter_parquet(
    services: Services, record_filter: RecordFilter, mapping: dict[str, str] | None
) -> AsyncIterator[bytes]:
    file, report = await exports.open_export(_stream_records(services, record_filter), "parquet", mapping)
    _log_skipped(report)
    with file:
        while chunk := await asyncio.to_thread(_read, file):
            yield chunk


def _read(file: IO[bytes]) -> bytes:
    return file.read(_CHUNK)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk

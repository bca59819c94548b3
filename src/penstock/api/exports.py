"""Exports: records as files, streamed, whatever their number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import IO, Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from penstock import exports
from penstock.api.deps import Services, ServicesDep
from penstock.api.filters import FilterDep
from penstock.api.routing import Json, make_router
from penstock.entities import RecordStatus
from penstock.errors import BadInputError
from penstock.redaction import redact_known
from penstock.storage import records
from penstock.storage.filters import RecordFilter

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


class ExportPreview(BaseModel):
    """How many records an export takes, and what its first rows look like."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "count": 240,
                    "skipped": 0,
                    "rows": [
                        {
                            "messages": [
                                {"role": "user", "content": "Explain gravity."},
                                {"role": "assistant", "content": "Things fall."},
                            ]
                        }
                    ],
                }
            ]
        }
    )

    count: int = Field(description="Records that the filters mean.")
    skipped: int = Field(description="How many were passed over for these rows: they lack what a row needs.")
    rows: list[dict[str, Any]]


async def _read_export_filter(wanted: FilterDep) -> RecordFilter:
    """Failed records are no data; they are exported when their status is asked for."""
    return wanted if wanted.statuses else replace(wanted, statuses=_REVIEWABLE)


ExportFilterDep = Annotated[RecordFilter, Depends(_read_export_filter)]


async def _read_mapping(map: MapQuery = []) -> dict[str, str] | None:  # noqa: A002, B006  the word in the address
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
    wanted: ExportFilterDep,
    mapping: MappingDep,
    format: FormatQuery = "jsonl",  # noqa: A002
) -> Response:
    """One object a line: `id, metadata, status, accumulated_state, created_at, updated_at`, where
    `accumulated_state` is the last state without what is still the seed's. Failed records are left out unless
    `status=failed` asks for them. Takes the filters of the list of records."""
    return await _stream(services, wanted, format, mapping)


@router.get("/download", summary="Records as a file to keep", response_class=Response, responses=_CONTENT)
async def download_export(
    services: ServicesDep,
    wanted: ExportFilterDep,
    mapping: MappingDep,
    format: FormatQuery = "jsonl",  # noqa: A002
) -> Response:
    """The same, with a name for browsers to keep it under."""
    response = await _stream(services, wanted, format, mapping)
    name = f"qa_export{exports.EXTENSIONS[format]}"
    response.headers["content-disposition"] = f'attachment; filename="{name}"'
    return response


@router.get("/preview", summary="An export's size and first rows", response_model=ExportPreview)
async def preview_export(
    services: ServicesDep,
    wanted: ExportFilterDep,
    mapping: MappingDep,
    format: FormatQuery = "jsonl",  # noqa: A002
    limit: Annotated[int, Query(ge=1, le=100, description="How many rows to show.")] = 5,
) -> Json:
    """What would be exported, without exporting it."""
    async with services.storage.reading() as session:
        count = await records.count_matching(session, wanted)
    async with aclosing(_records(services, wanted)) as found:
        rows, report = await exports.preview(found, format, mapping, limit=limit)
    return Json({"count": count, "skipped": report.skipped, "rows": rows})


def _records(services: Services, wanted: RecordFilter) -> Any:
    return records.stream_records(services.storage, wanted, traces=False)


async def _stream(
    services: Services,
    wanted: RecordFilter,
    format: str,  # noqa: A002
    mapping: dict[str, str] | None,
) -> Response:
    """The export's first bytes are made before the answer begins, so that what is wrong is still a 400."""
    chunks = (
        _to_parquet(services, wanted, mapping)
        if format == "parquet"
        else _gather(exports.iter_lines(_records(services, wanted), format, mapping))
    )
    first = await anext(chunks, b"")
    return StreamingResponse(_begin_with(first, chunks), media_type=_MEDIA.get(format, _LINES))


async def _gather(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines in chunks worth sending, without the service's own secrets."""
    waiting: list[bytes] = []
    size = 0
    async for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _CHUNK:
            yield _clean(waiting)
            waiting, size = [], 0
            await asyncio.sleep(0)  # a client that reads fast must not keep everyone else waiting
    if waiting:
        yield _clean(waiting)


def _clean(lines: list[bytes]) -> bytes:
    return redact_known(b"".join(lines).decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")


async def _to_parquet(
    services: Services, wanted: RecordFilter, mapping: dict[str, str] | None
) -> AsyncIterator[bytes]:
    file, _ = await exports.open_export(_records(services, wanted), "parquet", mapping)
    with file:
        while chunk := await asyncio.to_thread(_read, file):
            yield chunk


def _read(file: IO[bytes]) -> bytes:
    return file.read(_CHUNK)


async def _begin_with(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk

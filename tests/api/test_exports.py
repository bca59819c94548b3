"""Exports over HTTP, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from penstock.entities import RecordId, RecordStatus
from penstock.storage import jobs, pipelines, records
from penstock.storage.entities import NewRecord

MANY = 1_200
"""More than one batch of the database, and more than one chunk of the answer."""


@pytest.fixture
async def many(app: FastAPI) -> int:
    """A job of many records with long texts, every tenth of them failed."""
    services = app.state.services
    async with services.storage.session() as session:
        pipeline_id = await pipelines.save_pipeline(session, "P", {"name": "P", "blocks": []})
        job_id = await jobs.create_job(session, pipeline_id, MANY)
        for number in range(MANY):
            state = {"n": number, "user": f"question {number}", "assistant": "answer " * 30, "ü": "\u2028"}
            entry = {"block_type": "B", "input": {}, "output": {}, "accumulated_state": state}
            failed = number % 10 == 9
            record = NewRecord(
                job_id=job_id,
                pipeline_id=pipeline_id,
                identity=RecordId(number),
                metadata={"n": number},
                trace=[{**entry, "execution_time": 0.0}],
                status=RecordStatus.FAILED if failed else RecordStatus.PENDING,
                error={"error": "no", "detail": {}} if failed else None,
            )
            await records.save_record(session, record)
    return job_id


async def _chunks(client: AsyncClient, **params: Any) -> AsyncIterator[bytes]:
    async with client.stream("GET", "/api/export", params=params) as answer:
        assert answer.status_code == 200
        async for chunk in answer.aiter_raw():
            yield chunk


async def test_an_export_is_streamed_in_whole_lines(client: AsyncClient, many: int) -> None:
    chunks = [chunk async for chunk in _chunks(client, job_id=many)]

    lines = [orjson.loads(line) for chunk in chunks for line in chunk.split(b"\n") if line]
    assert [line["metadata"]["n"] for line in lines] == [n for n in range(MANY) if n % 10 != 9]
    assert lines[0]["accumulated_state"]["ü"] == "\u2028"
    assert "n" not in lines[0]["accumulated_state"]


@pytest.mark.parametrize("form", ["csv", "parquet", "openai", "sharegpt", "alpaca"])
async def test_every_format_holds_every_record(client: AsyncClient, many: int, form: str) -> None:
    answer = await client.get("/api/export/download", params={"job_id": many, "format": form, "text": ""})
    shown = (await client.get("/api/export/preview", params={"job_id": many, "format": form})).json()

    assert answer.status_code == 200
    assert len(answer.content) > 10_000
    assert (shown["count"], len(shown["rows"])) == (MANY * 9 // 10, 5)


async def test_the_service_answers_while_an_export_runs(client: AsyncClient, many: int) -> None:
    exports = [asyncio.create_task(client.get("/api/export", params={"job_id": many})) for _ in range(3)]

    alive = await client.get("/health")
    counts = await client.get("/api/records/counts", params={"job_id": many})

    answers = await asyncio.gather(*exports)
    assert alive.status_code == 200
    assert counts.json()["failed"] == MANY // 10
    assert len({answer.content for answer in answers}) == 1


async def test_a_preview_counts_the_records_it_skipped(client: AsyncClient, many: int) -> None:
    asked: dict[str, Any] = {"job_id": many, "format": "alpaca", "status": ["failed", "pending"], "limit": 20}

    preview = (await client.get("/api/export/preview", params=asked)).json()

    assert (preview["count"], preview["skipped"], len(preview["rows"])) == (MANY, 2, 20)
    assert preview["rows"][0].keys() == {"instruction", "input", "output"}

"""A damaged row costs its own record, with its number said; the others are read."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.entities import RecordId
from penstock.errors import DamagedRecordError, StorageError
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.writer import Writer

STEP = {"block_type": "B", "input": {}, "output": {"o": "é"}, "accumulated_state": {"o": "é"}}

DAMAGE = {
    "state": "UPDATE records SET state = '{bad' WHERE seed = 3",
    "state of another kind": 'UPDATE records SET state = \'{"$same": "x"}\' WHERE seed = 3',
    "metadata": "UPDATE records SET metadata = '{' WHERE seed = 3",
    "metadata of another kind": "UPDATE records SET metadata = '[1]' WHERE seed = 3",
    "output that is no UTF-8": "UPDATE records SET output = CAST(x'ff00fe' AS TEXT) WHERE seed = 3",
    "state that is no UTF-8": "UPDATE records SET state = CAST(x'7b22ff227d' AS TEXT) WHERE seed = 3",
    "status": "UPDATE records SET status = 'acepted' WHERE seed = 3",
    "time": "UPDATE records SET created_at = 'yesterday' WHERE seed = 3",
    "error": "UPDATE records SET error = '\"no' WHERE seed = 3",
    "number": "UPDATE records SET cached_tokens = 'many' WHERE seed = 3",
    "edits": "UPDATE records SET edits = '7' WHERE seed = 3",
}


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """A database with ten records of job 1."""
    async with Storage(tmp_path / "a.db") as opened:
        async with opened.session() as session:
            await pipelines.save_pipeline(session, "P", {"name": "P"})
            await jobs.create_job(session, 1, total_seeds=10)
        async with Writer(opened) as writer:
            for seed in range(10):
                new = NewRecord(1, 1, RecordId(seed), {"n": seed}, f"text {seed}", [STEP])
                await writer.save_record(new)
        yield opened


def damage(storage: Storage, statement: str) -> None:
    """Execute a statement without penstock."""
    assert storage.path is not None
    with sqlite3.connect(storage.path) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("order", ["id", "identity"])
@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_damaged_row_is_named_and_the_others_are_streamed(
    storage: Storage, kind: str, order: str
) -> None:
    damage(storage, DAMAGE[kind])

    damages: list[DamagedRecordError] = []
    found = [
        record
        async for record in records.stream_records(storage, order=order, on_damage=damages.append)  # type: ignore[arg-type]
    ]

    assert [record.output for record in found] == [f"text {seed}" for seed in range(10) if seed != 3]
    assert all(record.accumulated_state["o"] == "é" for record in found)
    [one] = damages
    assert one.message.startswith("Record 4 of job 1 (3.0) is damaged")
    assert (one.detail["record_id"], one.detail["job_id"]) == (4, 1)
    with pytest.raises(DamagedRecordError):
        async for _ in records.stream_records(storage):
            pass


@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_page_has_the_damaged_record_in_its_place(storage: Storage, kind: str) -> None:
    damage(storage, DAMAGE[kind])

    async with storage.reading() as session:
        first = await records.list_page(session, limit=7)
        assert first.end is not None
        second = await records.list_page(session, limit=7, after=first.end)
        counts = await records.count_statuses(session)
        with pytest.raises(DamagedRecordError, match="Record 4 of job 1"):
            await records.get_record(session, 4)

    listed = [*first.records, *second.records]
    assert [record.id for record in listed] == list(range(10, 0, -1))
    with pytest.raises(DamagedRecordError):
        listed[6].check()
    listed[6].to_dict()
    assert sum(counts.values()) == 10


async def test_a_damaged_job_or_pipeline_does_not_hide_the_others(storage: Storage) -> None:
    async with storage.session() as session:
        await pipelines.save_pipeline(session, "Q", {"name": "Q"})
        await jobs.create_job(session, 2, total_seeds=1)
    damage(storage, "UPDATE pipelines SET definition = '{' WHERE id = 1")
    damage(storage, "UPDATE pipeline_versions SET definition = '{' WHERE pipeline_id = 1")
    damage(storage, "UPDATE jobs SET usage = '{', status = 'rnning', created_at = 'x' WHERE id = 1")

    async with storage.reading() as session:
        found = await jobs.list_jobs(session)
        assert [one.name for one in await pipelines.list_pipelines(session)] == ["Q", "P"]
        with pytest.raises(StorageError, match=r"Version 1 of pipeline 1 is damaged .* save it anew"):
            await pipelines.get_pipeline(session, 1)

    assert [job.id for job in found] == [2, 1]
    assert found[1].error is not None
    assert "job 1 is damaged" in found[1].error
    assert found[1].to_dict()["status"] == "failed"


async def test_a_damaged_page_of_the_file_costs_the_records_on_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with Storage(path) as storage:
        async with storage.session() as session:
            await pipelines.save_pipeline(session, "P", {"name": "P"})
            await jobs.create_job(session, 1, total_seeds=10)
        async with Writer(storage) as writer:
            for seed in range(200):
                await writer.save_record(NewRecord(1, 1, RecordId(seed), {"n": seed}, f"text {seed} " * 50))
    place = path.read_bytes().index(b"text 120 text 120")
    page = place // 8192 * 8192
    with path.open("r+b") as file:
        file.seek(page)
        file.write(b"\xff" * 200)

    damages: list[DamagedRecordError] = []
    async with Storage(path) as storage:
        found = [
            record
            async for record in records.stream_records(storage, order="identity", on_damage=damages.append)
        ]

    assert len(found) + len(damages) == 200
    assert 0 < len(damages) < 40

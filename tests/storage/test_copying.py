"""A database is copied whole, from SQLite to PostgreSQL and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from penstock.entities import RecordId, RecordStatus
from penstock.errors import BadInputError
from penstock.storage import jobs, pipelines, records, seed_files
from penstock.storage.copying import copy_database
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.tables import metadata
from penstock.storage.writer import Writer

New = Callable[..., NewRecord]


async def fill(storage: Storage, new_record: New) -> None:
    """Put something into every table; the last record is deleted again."""
    async with storage.session() as session:
        await pipelines.update_pipeline(session, 1, "second", {"name": "second", "blocks": []}, source="a: é")
        await seed_files.save_seed_file(session, 1, "seeds.json", b"\x00\xff" * 100)
        await jobs.update_job(session, 1, holder="penstock run, process 1 on elsewhere", usage={"steps": []})
    async with Writer(storage) as writer:
        for number in range(450):
            await writer.save_record(new_record(number, f"text {number} \x00 é", {"score": number / 7}))
        await writer.save_call(b"\x00key", b"\x00value")
        error = {"error": "no", "detail": {"step": 1}}
        await writer.save_record(
            new_record(450, identity=RecordId(450, 1, "2"), status=RecordStatus.FAILED, error=error)
        )
    async with storage.session() as session:
        await records.update_record(session, 7, output="edited \x00", state={"note": "\x00"})
        await session.execute(text("DELETE FROM records WHERE id = 451"))


async def read_rows(storage: Storage) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, without what concerns the processes that work on jobs."""
    rows: dict[str, list[tuple[Any, ...]]] = {}
    async with storage.reading() as session:
        for table in metadata.sorted_tables:
            columns = [column for column in table.columns if column.name not in {"holder", "requested"}]
            found = await session.fetch_all(select(*columns).order_by(*table.primary_key.columns))
            rows[table.name] = [tuple(row) for row in found]
    return rows


@pytest.fixture(params=["sqlite", "postgres"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where another database is."""
    if request.param == "sqlite":
        return str(tmp_path / "other.db")
    url: str = request.getfixturevalue("postgres_server")
    return f"{url}&options=-c%20search_path%3Dcopy_{abs(hash(tmp_path))}"


async def test_a_copy_has_every_row_and_continues_the_ids(
    storage: Storage, other: str, job_id: int, new_record: New, postgres_server: str, tmp_path: Path
) -> None:
    await fill(storage, new_record)
    seen: list[tuple[str, int, int]] = []
    if "search_path" in other:
        async with Storage(postgres_server) as server, server.session() as session:
            await session.execute(text(f"CREATE SCHEMA {other.rpartition('%3D')[2]}"))

    async with Storage(other) as target, Storage(tmp_path / "back.db") as back:
        counts = await copy_database(storage, target, lambda *progress: seen.append(progress))
        await copy_database(target, back, lambda *_: None)
        before, after, again = [await read_rows(each) for each in (storage, target, back)]
        async with target.session() as session:
            next_id = await records.save_record(session, new_record(500))
            [held] = await jobs.list_jobs(session)

    assert (counts["records"], counts["record_history"], counts["journal"]) == (450, 1, 1)
    assert (before, after) == (after, again)
    assert next_id == 452
    assert held.holder is None
    assert ("records", 200, 450) in seen
    assert ("journal", 1, 1) in seen


async def test_a_database_that_is_not_empty_is_left_alone(
    storage: Storage, job_id: int, tmp_path: Path
) -> None:
    async with Storage(tmp_path / "other.db") as target:
        async with target.session() as session:
            await pipelines.save_pipeline(session, "mine", {"name": "mine", "blocks": []})

        with pytest.raises(BadInputError, match=r"other.db is not empty; copy into a new database"):
            await copy_database(storage, target, lambda *_: None)

        async with target.reading() as session:
            assert [stored.name for stored in await pipelines.list_pipelines(session)] == ["mine"]


async def test_rows_with_nul_of_an_earlier_version_can_be_copied_to_postgresql(
    tmp_path: Path, postgres: str
) -> None:
    async with Storage(tmp_path / "a.db") as source, Storage(postgres) as target:
        async with source.session() as session:
            await session.execute(
                text(
                    "INSERT INTO records (output, metadata, status, state, created_at, updated_at) VALUES "
                    "('a' || char(0) || '\\u0000', '{\"t\":\"\\u0000 \\\\u0000\"}', 'pending', '{}', "
                    "'2025-01-02T10:00:00', '2025-01-02T10:00:00')"
                )
            )

        await copy_database(source, target, lambda *_: None)

        async with target.reading() as session:
            record = await records.get_record(session, 1)
    assert record.output == "a\x00\\u0000"
    assert record.metadata == {"t": "\x00 \\u0000"}

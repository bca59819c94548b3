"""The tables: those of the contract, the same when made and when migrated; upgrades lose no rows."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from penstock.errors import StorageError
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import Storage
from penstock.storage.filters import RecordFilter
from penstock.storage.migrations import get_config, upgrade
from penstock.storage.schema import HEAD
from penstock.storage.tables import metadata

_FIRST_LAYOUT = """
    CREATE TABLE pipelines (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, definition TEXT NOT NULL,
        created_at TIMESTAMP NOT NULL, validation_config TEXT);
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, pipeline_id INTEGER NOT NULL, status TEXT NOT NULL,
        total_seeds INTEGER NOT NULL, records_generated INTEGER DEFAULT 0, records_failed INTEGER DEFAULT 0,
        started_at TIMESTAMP NOT NULL, completed_at TIMESTAMP,
        FOREIGN KEY (pipeline_id) REFERENCES pipelines(id));
    CREATE TABLE records (
        id INTEGER PRIMARY KEY AUTOINCREMENT, output TEXT NOT NULL, metadata TEXT NOT NULL,
        status TEXT NOT NULL, pipeline_id INTEGER, job_id INTEGER, trace TEXT,
        created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL,
        FOREIGN KEY (pipeline_id) REFERENCES pipelines(id), FOREIGN KEY (job_id) REFERENCES jobs(id));
    CREATE INDEX idx_records_status ON records(status);
    CREATE INDEX idx_records_created_at ON records(created_at);
    INSERT INTO pipelines VALUES (3, 'P', '{"name":"P","blocks":[]}', '2025-01-02T10:00:00.5', '{"a":1}');
    INSERT INTO jobs VALUES (7, 3, 'completed', 2, 1, 1, '2025-01-02 10:00:01', '2025-01-02T10:00:05');
    INSERT INTO records VALUES (9, 'out', '{"t":"x"}', 'accepted', 3, 7,
        '[{"block_type":"A","input":{"t":"x"},"output":{"assistant":"out"},
           "accumulated_state":{"t":"x","assistant":"out"},"execution_time":0.1}]',
        '2025-01-02T10:00:02', '2025-01-02T10:00:03');
"""
_LAYOUT_OF_THE_DESIGN = """
    CREATE TABLE pipelines (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, definition TEXT NOT NULL, constraints TEXT,
        created_at TIMESTAMP NOT NULL);
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, pipeline_id INTEGER NOT NULL, status TEXT NOT NULL,
        total_seeds INTEGER NOT NULL, current_seed INTEGER DEFAULT 0, records_generated INTEGER DEFAULT 0,
        records_failed INTEGER DEFAULT 0, progress REAL DEFAULT 0.0, current_block TEXT, current_step TEXT,
        usage TEXT, started_at TIMESTAMP NOT NULL, completed_at TIMESTAMP, created_at TIMESTAMP NOT NULL,
        FOREIGN KEY (pipeline_id) REFERENCES pipelines(id));
    CREATE TABLE records (
        id INTEGER PRIMARY KEY AUTOINCREMENT, output TEXT NOT NULL, metadata TEXT NOT NULL,
        status TEXT NOT NULL, pipeline_id INTEGER, job_id INTEGER, trace TEXT,
        created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL,
        FOREIGN KEY (pipeline_id) REFERENCES pipelines(id), FOREIGN KEY (job_id) REFERENCES jobs(id));
    INSERT INTO pipelines VALUES (3, 'P', '{"name":"P","blocks":[]}', NULL, '2025-01-02T10:00:00.5');
    INSERT INTO jobs VALUES (7, 3, 'stopped', 2, 1, 1, 1, 0.5, 'A', 'Block 1/2', '{"total_tokens":5}',
        '2025-01-02 10:00:01', '2025-01-02T10:00:05', '2025-01-02T10:00:00');
    INSERT INTO records VALUES (9, 'out', '{"t":"x"}', 'accepted', 3, 7, NULL,
        '2025-01-02T10:00:02', '2025-01-02T10:00:03');
"""


def _make(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def _describe(connection: Connection) -> dict[str, Any]:
    """The schema, without the order of constraints."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": [
                (c["name"], str(c["type"]), c["nullable"], c["default"]) for c in inspector.get_columns(table)
            ],
            "key": inspector.get_pk_constraint(table),
            "unique": sorted(map(str, inspector.get_unique_constraints(table))),
            "foreign": sorted(map(str, inspector.get_foreign_keys(table))),
            "indexes": sorted(map(str, inspector.get_indexes(table))),
        }
        for table in inspector.get_table_names()
    }


@pytest.mark.row("A211", "A212", "A213", "A214")
async def test_the_tables_have_the_columns_of_the_contract(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db"):
        pass
    connection = sqlite3.connect(tmp_path / "a.db")

    def columns(table: str) -> dict[str, tuple[str, int, str | None, int]]:
        return {row[1]: row[2:6] for row in connection.execute(f"PRAGMA table_info({table})")}

    design = sqlite3.connect(":memory:")
    design.executescript(_LAYOUT_OF_THE_DESIGN)
    for table in ("pipelines", "jobs", "records"):
        expected = {row[1]: row[2:6] for row in design.execute(f"PRAGMA table_info({table})")}
        expected["id"] = ("INTEGER", 1, None, 1)
        assert columns(table) == {**columns(table), **expected}
    assert columns("pipelines")["validation_config"] == ("TEXT", 0, None, 0)
    assert columns("jobs")["error"] == ("TEXT", 0, None, 0)
    indexed = {
        connection.execute(f"PRAGMA index_info({row[1]})").fetchone()[2]
        for row in connection.execute("PRAGMA index_list(records)")
    }
    assert {"status", "created_at"} <= indexed
    sql = connection.execute("SELECT group_concat(sql) FROM sqlite_master").fetchone()[0]
    assert sql.count("AUTOINCREMENT") == 4
    parents = {row[2] for row in connection.execute("PRAGMA foreign_key_list(records)")}
    assert parents == {"pipelines", "jobs"}


async def test_migrations_and_tables_give_the_same_schema(tmp_path: Path, postgres: str) -> None:
    async with Storage(tmp_path / "made.db") as storage, storage.reading() as session:
        made_sqlite = await session.run_sync(_describe)
    async with Storage(postgres) as storage, storage.session() as session:
        made_postgres = await session.run_sync(_describe)
        await session.run_sync(metadata.drop_all)
        await session.execute(text("DROP TABLE alembic_version"))
        await session.run_sync(upgrade, None, "test")
        migrated_postgres = await session.run_sync(_describe)

    engine = create_engine(f"sqlite:///{tmp_path}/migrated.db")
    with engine.begin() as connection:
        upgrade(connection, None, "test")
        migrated_sqlite = _describe(connection)
    engine.dispose()

    assert migrated_sqlite == made_sqlite
    assert migrated_postgres == made_postgres
    assert ScriptDirectory.from_config(get_config()).get_current_head() == HEAD


@pytest.mark.row("A215")
async def test_a_database_of_the_first_layout_keeps_its_rows(tmp_path: Path) -> None:
    _make(tmp_path / "old.db", _FIRST_LAYOUT)

    async with Storage(tmp_path / "old.db") as storage:
        async with storage.session() as session:
            pipeline = await pipelines.get_pipeline(session, 3)
            job = await jobs.get_job(session, 7)
            record = await records.get_record(session, 9)
            new_job = await jobs.create_job(session, 3, 1)
            await records.update_record(session, 9, state={"assistant": "edited"})
            listed = (await records.list_page(session, RecordFilter(job_id=7))).records
            schema = await session.run_sync(_describe)
        async with Storage(tmp_path / "new.db") as new, new.reading() as session:
            assert schema == await session.run_sync(_describe)

    assert pipeline.to_dict() == {
        "id": 3,
        "name": "P",
        "definition": {"name": "P", "blocks": []},
        "created_at": "2025-01-02T10:00:00.500000Z",
        "validation_config": {"a": 1},
        "version": 1,
        "updated_at": "2025-01-02T10:00:00.500000Z",
    }
    shown = job.to_dict()
    assert (shown["status"], shown["progress"], shown["records_generated"]) == ("completed", 1.0, 1)
    assert shown["created_at"] == shown["started_at"] == "2025-01-02T10:00:01.000000Z"
    assert record.identity is None
    assert record.trace[0]["output"] == {"assistant": "out"}
    assert record.state == {"t": "x", "assistant": "out"}
    assert record.updated_at > record.created_at
    assert [item.state["assistant"] for item in listed] == ["edited"]
    assert new_job == 8


@pytest.mark.row("A215")
async def test_a_database_of_the_design_documents_layout_keeps_its_rows(tmp_path: Path) -> None:
    _make(tmp_path / "old.db", _LAYOUT_OF_THE_DESIGN)

    async with Storage(tmp_path / "old.db") as storage, storage.reading() as session:
        job = await jobs.get_job(session, 7)
        record = await records.get_record(session, 9)
        version = await pipelines.get_pipeline(session, 3, version=1)

    assert (job.progress, job.current_block, job.usage) == (0.5, "A", {"total_tokens": 5})
    assert (record.output, record.trace, record.accumulated_state) == ("out", [], {})
    assert version.name == "P"


@pytest.mark.row("A215")
async def test_rows_whose_pipeline_or_job_was_deleted_are_kept(tmp_path: Path) -> None:
    orphans = """
        INSERT INTO jobs VALUES (8, 99, 'failed', 1, 0, 1, '2025-01-02', NULL);
        INSERT INTO records VALUES (10, 'o', '{}', 'pending', 98, 97, 'not json', '2025-01-02', '2025-01-02');
    """
    _make(tmp_path / "old.db", _FIRST_LAYOUT + orphans)

    async with Storage(tmp_path / "old.db") as storage, storage.reading() as session:
        job = await jobs.get_job(session, 8)
        stand_in = await pipelines.get_pipeline(session, 99)
        record = await records.get_record(session, 10)

    assert job.pipeline_id == 99
    assert stand_in.name == "Deleted pipeline"
    assert (record.output, record.job_id, record.pipeline_id) == ("o", None, None)


async def test_an_upgrade_that_fails_leaves_the_old_database_as_it_was(tmp_path: Path) -> None:
    clash = "CREATE TABLE record_history (mine TEXT); INSERT INTO record_history VALUES ('kept');"
    _make(tmp_path / "old.db", _FIRST_LAYOUT + clash)

    with pytest.raises(StorageError, match="already exists"):
        await Storage(tmp_path / "old.db").open()

    connection = sqlite3.connect(tmp_path / "old.db")
    assert connection.execute("SELECT output FROM records").fetchall() == [("out",)]
    assert connection.execute("SELECT mine FROM record_history").fetchall() == [("kept",)]


async def test_a_database_of_a_newer_penstock_is_refused(where: str | Path) -> None:
    async with Storage(where) as storage, storage.session() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StorageError, match="written by a newer penstock"):
        await Storage(where).open()


def _go_back_to_0001(connection: Connection) -> None:
    for column in ("holder", "requested", "deaths"):
        connection.execute(text(f"ALTER TABLE jobs DROP COLUMN {column}"))
    connection.execute(text("DROP TABLE seed_fields"))
    connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))


async def test_a_database_of_layout_0001_keeps_its_jobs(where: str | Path) -> None:
    definition = {"name": "P", "blocks": []}
    async with Storage(where) as storage, storage.session() as session:
        made = await session.run_sync(_describe)
        pipeline_id = await pipelines.save_pipeline(session, "P", definition)
        job_id = await jobs.create_job(session, pipeline_id, 7, run_key="key", options={"origin": "run"})
        await session.run_sync(_go_back_to_0001)

    async with Storage(where) as storage, storage.session() as session:
        job = await jobs.get_job(session, job_id)
        updated = await jobs.update_job(session, job_id, holder="penstock run")
        upgraded = await session.run_sync(_describe)

    assert (job.total_seeds, job.run_key, job.options, job.holder) == (7, "key", {"origin": "run"}, None)
    assert updated
    assert upgraded == made

"""Opening a database: where it is, what is in it, and what is said when it cannot be used."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from penstock.entities import RecordId
from penstock.errors import ConfigurationError, StorageError
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import HEAD, Storage
from penstock.storage.entities import NewRecord
from penstock.storage.filters import RecordFilter
from penstock.storage.journal import DurableJournal
from penstock.storage.migrations import get_config, upgrade
from penstock.storage.tables import metadata
from penstock.storage.writer import Writer

New = Callable[..., NewRecord]

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
    """Everything about the schema but the order in which constraints were written."""
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


@pytest.mark.row("A210")
async def test_a_database_and_its_folder_are_made_where_none_is(tmp_path: Path) -> None:
    path = tmp_path / "some" / "where" / "records.db"

    async with Storage(path):
        assert path.exists()

    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.row("A210")
async def test_the_settings_say_where_the_database_is(tmp_path: Path) -> None:
    async with Storage() as storage:
        assert storage.path == Path("data/test_qa_records.db")

    assert (tmp_path / "data" / "test_qa_records.db").exists()


@pytest.mark.row("A211", "A212", "A213", "A214")
async def test_the_tables_have_the_contracts_columns(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db"):
        pass
    connection = sqlite3.connect(tmp_path / "a.db")

    def columns(table: str) -> dict[str, tuple[str, int, str | None, int]]:
        return {row[1]: row[2:6] for row in connection.execute(f"PRAGMA table_info({table})")}

    design = sqlite3.connect(":memory:")
    design.executescript(_LAYOUT_OF_THE_DESIGN)
    for table in ("pipelines", "jobs", "records"):
        wanted = {row[1]: row[2:6] for row in design.execute(f"PRAGMA table_info({table})")}
        wanted["id"] = ("INTEGER", 1, None, 1)
        assert columns(table) == {**columns(table), **wanted}
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
    made = Storage(tmp_path / "made.db")
    async with made, made.reading() as session:
        made_sqlite = await session.run_sync(_describe)
    async with Storage(postgres) as storage, storage.session() as session:
        made_postgres = await session.run_sync(_describe)
        await session.run_sync(metadata.drop_all)
        await session.execute(text("DROP TABLE alembic_version"))
        await session.run_sync(upgrade, None, "test")
        migrated_postgres = await session.run_sync(_describe)

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/migrated.db")
    async with engine.begin() as connection:
        await connection.run_sync(upgrade, None, "test")
        migrated_sqlite = await connection.run_sync(_describe)
    await engine.dispose()

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
            listed = await records.list_records(session, RecordFilter(job_id=7))
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
    facts = job.to_dict()
    assert (facts["status"], facts["progress"], facts["records_generated"]) == ("completed", 1.0, 1)
    assert facts["created_at"] == facts["started_at"] == "2025-01-02T10:00:01.000000Z"
    assert record.identity is None
    assert record.trace[0]["output"] == {"assistant": "out"}
    assert record.state == {"t": "x", "assistant": "out"}
    assert record.updated_at > record.created_at
    assert [entry.state["assistant"] for entry in listed] == ["edited"]
    assert new_job == 8


@pytest.mark.row("A215")
async def test_a_database_of_the_designs_layout_keeps_its_rows(tmp_path: Path) -> None:
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


async def test_a_database_of_a_newer_penstock_is_not_touched(where: str | Path) -> None:
    async with Storage(where) as storage, storage.session() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StorageError, match="written by a newer penstock"):
        await Storage(where).open()


async def test_two_that_open_a_new_database_at_once_both_can_use_it(where: str | Path) -> None:
    first, second = await asyncio.gather(Storage(where).open(), Storage(where).open())

    async with first.session() as session:
        await pipelines.save_pipeline(session, "P", {})
    async with second.session() as session:
        assert len(await pipelines.list_pipelines(session)) == 1
    await first.aclose()
    await second.aclose()


@pytest.mark.row("A216")
async def test_memory_lasts_as_long_as_the_storage(tmp_path: Path) -> None:
    async with Storage(":memory:") as storage:
        async with storage.session() as session:
            pipeline_id = await pipelines.save_pipeline(session, "P", {"name": "P"})
            job_id = await jobs.create_job(session, pipeline_id, 1)
        async with Writer(storage) as writer, DurableJournal(storage, writer) as journal:
            await writer.save_record(NewRecord(job_id, pipeline_id, RecordId(0), {}, "x"))
            await journal.save(b"k" * 16, b"v")
            found = await journal.find(b"k" * 16)
            writer.update_job(job_id, progress=0.5)

        async def read() -> float:
            async with storage.reading() as session:
                return (await jobs.get_job(session, job_id)).progress

        progress = await asyncio.gather(read(), read())
        outputs = [record.output async for record in records.stream_records(storage)]

    assert (found, list(progress), outputs) == (b"v", [0.5, 0.5], ["x"])
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes\n" * 100)

    with pytest.raises(StorageError, match="is not a SQLite database"):
        await Storage(path).open()

    assert path.read_text() == "these are my notes\n" * 100


async def test_a_damaged_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with Storage(path):
        pass
    content = bytearray(path.read_bytes())
    content[100:6000] = b"\xff" * 5900
    path.write_bytes(content)

    with pytest.raises(StorageError, match="damaged"):
        await Storage(path).open()


async def test_a_path_that_is_a_folder_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        await Storage(tmp_path).open()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match=r"The folder .*file cannot be made"):
        await Storage(tmp_path / "file" / "a.db").open()


async def test_a_lock_that_lasts_too_long_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with Storage(path, lock_seconds=0.05) as storage:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        async def write() -> None:
            async with storage.session() as session:
                await pipelines.save_pipeline(session, "P", {})

        with pytest.raises(StorageError, match=r"locked for 0.05 seconds"):
            await write()
        async with storage.reading() as session:  # who only reads does not wait
            assert await pipelines.list_pipelines(session) == []
        other.execute("ROLLBACK")
        await write()
        other.close()


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(StorageError, match="Cannot reach the database") as caught:
        await Storage("postgres://me:secret@127.0.0.1:1/db").open()

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://host/db", "://", "postgresql://host:port/db"])
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        Storage(url)


def test_urls_of_sqlite_and_postgresql_are_understood(tmp_path: Path) -> None:
    assert Storage(f"sqlite:///{tmp_path}/a.db").path == tmp_path / "a.db"
    assert Storage("postgres://host/db").is_postgres
    assert Storage("postgresql+asyncpg://host/db?sslmode=require").path is None
    assert Storage("sqlite://").in_memory


def test_a_database_that_is_not_open_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not open"):
        _ = Storage(tmp_path / "a.db").engine


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("attempt to write a readonly database", "cannot be written; check who may write"),
        ("database or disk is full", "no room left on the disk"),
        ("could not extend file: No space left on device", "no room left on the disk"),
        ("database disk image is malformed", "damaged"),
        ("something else\nwith details", "refused: something else$"),
    ],
)
def test_a_drivers_error_becomes_a_sentence(tmp_path: Path, said: str, sentence: str) -> None:
    error = Storage(tmp_path / "a.db").explain(sqlite3.OperationalError(said))

    assert re.search(sentence, error.message)
    assert error.detail == {"database": str(tmp_path / "a.db"), "error": said.splitlines()[0]}

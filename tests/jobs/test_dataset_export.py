"""A job's records as a dataset."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from penstock.jobs.dataset_export import export_job
from penstock.storage import jobs
from penstock.storage.database import Storage

FIRST_LAYOUT = """
    CREATE TABLE pipelines (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, definition TEXT NOT NULL,
        created_at TIMESTAMP NOT NULL, validation_config TEXT);
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, pipeline_id INTEGER NOT NULL, status TEXT NOT NULL,
        total_seeds INTEGER NOT NULL, records_generated INTEGER DEFAULT 0, records_failed INTEGER DEFAULT 0,
        started_at TIMESTAMP NOT NULL, completed_at TIMESTAMP);
    CREATE TABLE records (
        id INTEGER PRIMARY KEY AUTOINCREMENT, output TEXT NOT NULL, metadata TEXT NOT NULL,
        status TEXT NOT NULL, pipeline_id INTEGER, job_id INTEGER, trace TEXT,
        created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
    INSERT INTO pipelines VALUES (1, 'P', '{"name": "P", "blocks": []}', '2025-10-06 10:00:00', NULL);
    INSERT INTO jobs VALUES (1, 1, 'completed', 1, 1, 0, '2025-10-06 10:00:00', '2025-10-06 10:01:00');
    INSERT INTO records VALUES (
        1, 'hello', '{"a": 1}', 'accepted', 1, 1, '[]', '2025-10-06 10:00:00', '2025-10-06 10:00:00');
"""


async def test_a_job_of_a_database_of_the_first_layout_is_exported_too(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "old.db") as old:
        old.executescript(FIRST_LAYOUT)

    async with Storage(tmp_path / "old.db") as storage:
        async with storage.reading() as session:
            job = await jobs.get_job(session, 1)
        report = await export_job(storage, job, tmp_path / "out.jsonl", "jsonl")

    assert report["rows"] == 1
    assert json.loads((tmp_path / "out.jsonl").read_text())["metadata"] == {"a": 1}

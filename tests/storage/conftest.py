"""Tests of the storage run twice: on a SQLite file, and on a PostgreSQL server of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.entities import RecordId, RecordStatus
from penstock.storage import jobs, pipelines
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.writer import Writer
from support.postgres import postgres, postgres_server

__all__ = ["postgres", "postgres_server"]


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Where the test's database is."""
    if request.param == "sqlite":
        return tmp_path / "data" / "records.db"
    url: str = request.getfixturevalue("postgres")
    return url


@pytest.fixture
async def storage(where: str | Path) -> AsyncIterator[Storage]:
    """An open, empty database."""
    async with Storage(where) as opened:
        yield opened


@pytest.fixture
async def job_id(storage: Storage) -> int:
    """A job of pipeline 1, which has one block."""
    definition = {"name": "P", "blocks": [{"type": "ValidatorBlock"}]}
    async with storage.session() as session:
        pipeline_id = await pipelines.save_pipeline(session, "P", definition)
        return await jobs.create_job(session, pipeline_id, total_seeds=10)


@pytest.fixture
async def writer(storage: Storage, job_id: int) -> AsyncIterator[Writer]:
    """A writer into ``storage``, which has the job ``job_id``."""
    async with Writer(storage) as opened:
        yield opened


@pytest.fixture
def new_record(job_id: int) -> Callable[..., NewRecord]:
    """Make a record of ``job_id``: ``new_record(3, topic="tea", output="a text", state={"score": 0.5})``."""

    def make(seed: int, output: Any = "text", state: dict[str, Any] | None = None, **given: Any) -> NewRecord:
        metadata = {"topic": given.pop("topic", f"topic {seed}")}
        output_fields = {"assistant": output, **(state or {})}
        entry = {
            "block_type": "TextGenerator",
            "input": metadata,
            "output": output_fields,
            "accumulated_state": {**metadata, **output_fields, "pipeline_output": output},
            "execution_time": 0.25,
        }
        values: dict[str, Any] = {"status": RecordStatus.PENDING, "trace": [entry], "output": output, **given}
        identity = values.pop("identity", RecordId(seed))
        return NewRecord(job_id=job_id, pipeline_id=1, identity=identity, metadata=metadata, **values)

    return make

"""A database whose writer can be watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.storage import jobs, pipelines
from support.watched_storage import WatchedStorage


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[WatchedStorage]:
    """A database with job 1 of pipeline 1."""
    async with WatchedStorage(tmp_path / "watched.db") as storage:
        async with storage.session() as session:
            await pipelines.save_pipeline(session, "P", {"name": "P"})
            await jobs.create_job(session, 1, total_seeds=10)
        yield storage

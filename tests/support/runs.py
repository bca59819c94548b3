"""Run pipelines durably in a test, and read what a run has saved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text

from penstock.jobs.options import RunOptions
from penstock.jobs.runs import RunReport, open_run
from penstock.seeds import SeedSource
from penstock.settings import Settings
from penstock.storage import jobs
from penstock.storage.database import Storage
from penstock.storage.entities import Job, Record
from penstock.storage.records import stream_records
from penstock.workflow import Pipeline
from support.trial_blocks import trial_registry

ASK: Mapping[str, Any] = {"type": "Ask"}
ASK_TWICE: Sequence[Mapping[str, Any]] = [
    {"type": "Ask", "config": {"prompt": "first", "into": "first"}},
    {"type": "Ask", "config": {"prompt": "second", "into": "second"}},
]

FILL_DISK = """
    CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END
"""
"""From now on the database refuses records as it does when the disk is full."""
FREE_DISK = "DROP TRIGGER full"


def build(*blocks: Mapping[str, Any] | str, **extra: Any) -> Pipeline:
    """A pipeline of the trial blocks; a name stands for a block without config."""
    steps = [{"type": block} if isinstance(block, str) else block for block in blocks]
    return Pipeline("trial", steps, block_registry=trial_registry(), **extra)


def numbered(count: int, repetitions: int = 1, **variables: Any) -> SeedSource:
    """Seeds whose variable ``n`` counts from 0."""
    return SeedSource.from_data(
        [{"metadata": {"n": n, **variables}, "repetitions": repetitions} for n in range(count)]
    )


async def run(
    pipeline: Pipeline, seeds: SeedSource, settings: Settings, output: Path | None = None, **options: Any
) -> RunReport:
    """Run a pipeline to its end in the database of ``settings``."""
    async with open_run(pipeline, seeds, RunOptions(output=output, **options), settings=settings) as prepared:
        return await prepared.process()


async def execute(settings: Settings, statement: str) -> None:
    """Execute an SQL statement on a connection of its own."""
    async with Storage(settings.database_path) as storage, storage.session() as session:
        await session.execute(text(statement))


async def read_job(settings: Settings, job_id: int = 1) -> Job:
    """The job's row in the database of ``settings``."""
    async with Storage(settings.database_path) as storage, storage.reading() as session:
        return await jobs.get_job(session, job_id)


async def read_records(settings: Settings) -> list[Record]:
    """All records in the database of ``settings``, the oldest first."""
    async with Storage(settings.database_path) as storage:
        return [record async for record in stream_records(storage)]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The parsed lines of a JSONL file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until the condition holds; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)

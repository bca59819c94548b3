"""Run a service's queue in a test, and look at its jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from penstock.entities import JobStatus
from penstock.jobs.queue import JobQueue
from penstock.jobs.runtime import open_runtime
from penstock.settings import Settings
from penstock.storage import pipelines

ASK = {"type": "TextGenerator", "config": {"user_prompt": "q {{ n }}"}}
ASK_AGAIN = {"type": "TextGenerator", "config": {"user_prompt": "again {{ n }}"}}


@asynccontextmanager
async def open_queue(settings: Settings) -> AsyncIterator[JobQueue]:
    """The queue of a process, open inside the ``async with``."""
    async with open_runtime(settings) as runtime, JobQueue(runtime) as queue:
        yield queue


def seed_file(count: int) -> bytes:
    """An upload of ``count`` seeds."""
    return json.dumps([{"metadata": {"n": n}} for n in range(count)]).encode()


async def submit(queue: JobQueue, count: int, *blocks: dict[str, Any], **definition: Any) -> int:
    """Queue a job of ``count`` seeds over a new pipeline."""
    steps: Sequence[dict[str, Any]] = blocks or [ASK]
    async with queue.runtime.storage.session() as session:
        pipeline_id = await pipelines.save_pipeline(
            session, "P", {"name": "P", "blocks": list(steps), **definition}
        )
    return await queue.submit(pipeline_id, "seeds.json", seed_file(count))


async def status_of(queue: JobQueue, job_id: int) -> JobStatus:
    """The job's present status."""
    return (await queue.read(job_id)).status


async def finish(queue: JobQueue) -> None:
    """Wait until no job is queued or running."""
    async with asyncio.timeout(60):
        await queue.wait_until_idle()


def count_made(queue: JobQueue, job_id: int) -> int:
    """How many records the running job has made."""
    running = queue.find_running(job_id)
    return 0 if running is None or running.progress is None else running.progress.made


def waits_for_database(queue: JobQueue, job_id: int) -> bool:
    """Whether the job waits for its database."""
    running = queue.find_running(job_id)
    return running is not None and running.storage_error is not None

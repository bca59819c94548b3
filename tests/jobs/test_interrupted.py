"""A job whose process has died is continued, unless a record of it killed the process twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from penstock.entities import JobStatus, RecordId
from penstock.jobs.in_flight import InFlight, open_in_flight, take_suspects
from penstock.settings import Settings
from penstock.storage import jobs, pipelines
from penstock.storage.database import Storage
from penstock.testing import ModelServer
from penstock.workflow import RunContext, StepEvent
from support.command import environment
from support.queues import finish, open_queue, seed_file, status_of, submit

KILLER = """
import os
from penstock import BaseBlock, llm

class Killer(BaseBlock):
    outputs = ["o"]
    async def execute(self, data):
        if data["n"] == 1 and os.environ.get("KILL"):
            if os.environ["KILL"] == "after a call":
                await llm.complete([{"role": "user", "content": "a"}])
            os._exit(9)
        return {"o": "fine"}
"""

SERVICE = """
import asyncio, sys
from penstock.jobs.queue import JobQueue
from penstock.jobs.runtime import open_runtime
from penstock.settings import get_settings

async def main():
    async with open_runtime(get_settings()) as runtime, JobQueue(runtime) as queue:
        async with asyncio.timeout(50):
            await queue.wait_until_idle()

asyncio.run(main())
"""


@pytest.mark.parametrize("kill", ["at once", "after a call"])
async def test_a_job_that_killed_its_process_twice_is_paused_with_the_reason(
    tmp_path: Path, model: ModelServer, kill: str
) -> None:
    (tmp_path / "user_blocks").mkdir()
    (tmp_path / "user_blocks" / "killer.py").write_text(textwrap.dedent(KILLER))
    variables = {**environment(model, tmp_path), "KILL": kill}
    async with Storage(variables["DATABASE_PATH"]) as storage, storage.session() as session:
        definition = {"name": "K", "blocks": [{"type": "Killer"}]}
        pipeline_id = await pipelines.save_pipeline(session, "K", definition)
        job_id = await jobs.create_job(session, pipeline_id, 3, options={"origin": "queue"})
        await _save_seeds(session, job_id)

    statuses = [await asyncio.to_thread(_run_service, tmp_path, variables) for _ in range(3)]
    async with Storage(variables["DATABASE_PATH"]) as storage:
        async with storage.reading() as session:
            job = await jobs.get_job(session, job_id)
        async with storage.session() as session:  # as POST /api/jobs/1/resume does
            await jobs.update_job(session, job_id, status=JobStatus.QUEUED, error=None, deaths=None)
    after = await asyncio.to_thread(_run_service, tmp_path, {**variables, "KILL": ""})
    async with Storage(variables["DATABASE_PATH"]) as storage, storage.reading() as session:
        resumed = await jobs.get_job(session, job_id)

    assert statuses == [9, 9, 0]
    assert job.status is JobStatus.PAUSED
    assert job.error is not None
    assert "record 1.0 of this job" in job.error
    assert "resume the job" in job.error
    assert (after, resumed.status, resumed.records_generated) == (0, JobStatus.COMPLETED, 3)


def test_a_record_is_suspected_in_a_users_block_and_not_while_it_waits_for_a_model(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "a.db")

    def see(*deeds: str) -> list[str]:
        with open_in_flight(storage, 1) as places:
            assert isinstance(places, InFlight)
            context = RunContext()
            places.follow(0, RecordId(4, 1, "2"), context, {1})
            assert context.on_step
            assert context.on_call
            assert context.on_answer
            for deed in deeds:
                match deed:
                    case "call":
                        context.on_call()
                    case "answer":
                        context.on_answer()
                    case "multiplier":
                        places.enter_multiplier(0)
                    case kind:
                        step, _, event = kind.partition(" ")
                        context.on_step(StepEvent(event, int(step), 2, "B"))  # type: ignore[arg-type]
            content = (tmp_path / "a.db.claims" / "job-1.in-flight").read_bytes()
        assert take_suspects(storage, 1) == [], "a process that ends as it should leaves nothing"
        (tmp_path / "a.db.claims" / "job-1.in-flight").write_bytes(content)
        return take_suspects(storage, 1)

    assert see() == []
    assert see("1 started") == ["record 4.1.2"]
    assert see("1 started", "call") == []
    assert see("1 started", "call", "answer") == ["record 4.1.2"]
    assert see("1 started", "1 finished") == []
    assert see("2 started") == see("2 started", "call", "answer") == [], "a built-in block"
    assert see("multiplier") == ["the multiplier"]
    assert take_suspects(storage, 1) == []


async def test_a_job_whose_task_is_cancelled_by_other_code_is_not_left_running(
    settings: Settings, model: ModelServer
) -> None:
    model.hold_after = 0
    async with open_queue(settings) as queue:
        job_id = await submit(queue, 3)
        async with asyncio.timeout(50):
            while not model.in_flight:
                await asyncio.sleep(0.01)
        names = {f"penstock job {job_id}", "penstock jobs"}
        for task in asyncio.all_tasks():
            if task.get_name() in names:
                task.cancel()
        async with asyncio.timeout(50):
            while queue.find_running(job_id) is not None:
                await asyncio.sleep(0.01)
        job = await queue.read(job_id)
        model.release()
        other = await submit(queue, 1)
        await finish(queue)
        after = await status_of(queue, other)

    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "resume" in job.error
    assert after is JobStatus.COMPLETED


async def _save_seeds(session: object, job_id: int) -> None:
    from penstock.storage import seed_files

    await seed_files.save_seed_file(session, job_id, "seeds.json", seed_file(3))  # type: ignore[arg-type]


def _run_service(folder: Path, variables: dict[str, str]) -> int:
    done = subprocess.run(
        [sys.executable, "-c", SERVICE],
        cwd=folder,
        env={**variables, "PATH": os.environ["PATH"]},
        check=False,
        timeout=100,
    )
    return done.returncode

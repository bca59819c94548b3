"""Two processes with one database: each job has one holder, and requests reach it."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient

from penstock.testing import ModelServer
from support.command import start
from support.queues import ASK, seed_file

DEFINITION = {"name": "P", "blocks": [ASK]}


class Machine:
    """Starts processes that share a database and a model."""

    def __init__(self, folder: Path, model: ModelServer, variables: dict[str, str]) -> None:
        self.folder = folder
        self.model = model
        self._variables = variables

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[tuple[AsyncClient, Process]]:
        """A client of a service in a process of its own, and the process."""
        process = await self._start("serve", PORT="0")
        assert process.stdout is not None
        address = (await process.stdout.readline()).split()[-1].decode()
        try:
            async with AsyncClient(base_url=address, timeout=60, trust_env=False) as client:
                yield client, process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def run(self, count: int) -> Process:
        """``penstock run`` over ``count`` seeds."""
        (self.folder / "pipeline.yaml").write_text(json.dumps(DEFINITION))
        (self.folder / "seeds.json").write_bytes(seed_file(count))
        return await self._start(
            "run", "pipeline.yaml", "seeds.json", "-o", "out.jsonl", "--concurrency", "2"
        )

    async def _start(self, *arguments: str, **variables: str) -> Process:
        return await start(
            *arguments, model=self.model, folder=self.folder, **{**self._variables, **variables}
        )


@pytest.fixture(params=["sqlite", "postgres"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, model: ModelServer) -> Machine:
    """Processes on one SQLite file, or on one PostgreSQL server."""
    url = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    return Machine(tmp_path, model, {"DATABASE_URL": url} if url else {})


async def submit(client: AsyncClient, count: int) -> int:
    """Queue a job with two records in flight."""
    pipeline_id = (await client.post("/api/pipelines", json=DEFINITION)).json()["id"]
    answer = await client.post(
        "/api/generate",
        files={"file": ("seeds.json", seed_file(count))},
        data={"pipeline_id": str(pipeline_id), "concurrency": "2"},
    )
    return int(answer.json()["job_id"])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.02)


async def read(client: AsyncClient, job_id: int) -> dict[str, Any]:
    """The job as this service shows it."""
    job: dict[str, Any] = (await client.get(f"/api/jobs/{job_id}")).json()
    return job


def has(client: AsyncClient, job_id: int, **fields: Any) -> Callable[[], Awaitable[bool]]:
    """Whether the job has these fields."""

    async def check() -> bool:
        job = await read(client, job_id)
        return all(job[name] == value for name, value in fields.items())

    return check


async def test_a_second_service_leaves_a_running_job_alone_and_can_pause_it(machine: Machine) -> None:
    machine.model.hold_after = 4
    async with AsyncExitStack() as stack:
        first, _ = await stack.enter_async_context(machine.serve())
        job_id = await submit(first, 20)
        await machine.model.received(6)
        second, _ = await stack.enter_async_context(machine.serve())

        seen = await read(second, job_id)
        answer = await second.post(f"/api/jobs/{job_id}/pause")
        await until(has(first, job_id, wanted="paused"))
        machine.model.release()
        await until(has(second, job_id, status="paused"))
        calls = len(machine.model.requests)
        resumed = await second.post(f"/api/jobs/{job_id}/resume")
        await until(has(first, job_id, status="completed", records_generated=20))

    assert seen["status"] == "running"
    assert (answer.status_code, answer.json()["wanted"]) == (200, "paused")
    assert calls == 6
    assert resumed.status_code == 200
    assert len(machine.model.requests) == 20


async def test_a_job_of_another_service_is_cancelled_when_the_answer_comes(machine: Machine) -> None:
    machine.model.hold_after = 4
    async with AsyncExitStack() as stack:
        first, _ = await stack.enter_async_context(machine.serve())
        second, _ = await stack.enter_async_context(machine.serve())
        job_id = await submit(first, 20)
        await machine.model.received(6)

        answer = await second.delete(f"/api/jobs/{job_id}")
        status = (await read(second, job_id))["status"]
        again = await second.delete(f"/api/jobs/{job_id}")
        machine.model.release()
        deleted = await second.delete("/api/records", params={"job_id": job_id})

    assert (answer.status_code, status, again.status_code) == (200, "cancelled", 409)
    assert deleted.json() == {"deleted": 4}
    assert len(machine.model.requests) == 6


async def test_the_job_of_a_killed_service_is_continued_by_another(machine: Machine) -> None:
    machine.model.hold_after = 4
    async with AsyncExitStack() as stack:
        first, process = await stack.enter_async_context(machine.serve())
        second, _ = await stack.enter_async_context(machine.serve())
        job_id = await submit(first, 20)
        await machine.model.received(6)

        process.kill()
        machine.model.release()
        await until(has(second, job_id, status="completed", records_generated=20))


@pytest.mark.parametrize("action", ["pause", "cancel"])
async def test_a_service_stops_a_run_of_the_command_line(machine: Machine, action: str) -> None:
    machine.model.hold_after = 4
    async with machine.serve() as (client, _):
        run = await machine.run(20)
        await machine.model.received(6)

        if action == "pause":
            answer = await client.post("/api/jobs/1/pause")
            await until(has(client, 1, wanted="paused"))
            await asyncio.sleep(1)  # the run has read it
            machine.model.release()
        else:
            answer = await client.delete("/api/jobs/1")
        _, err = await asyncio.wait_for(run.communicate(), 60)
        stopped = await read(client, 1)
        calls = len(machine.model.requests)
        machine.model.release()
        again = await machine.run(20)
        await asyncio.wait_for(again.communicate(), 60)
        finished = await read(client, 1)

    status = {"pause": "paused", "cancel": "cancelled"}[action]
    assert answer.status_code == 200
    assert (stopped["status"], calls) == (status, 6)
    assert f"{status.capitalize()} by another process; run the same command again" in err.decode()
    assert run.returncode == 1
    assert (again.returncode, finished["status"], finished["records_generated"]) == (0, "completed", 20)


async def test_what_a_run_works_on_cannot_be_deleted(machine: Machine) -> None:
    machine.model.hold_after = 4
    async with machine.serve() as (client, _):
        run = await machine.run(20)
        await machine.model.received(6)

        answers = [
            await client.delete("/api/records", params={"job_id": 1}),
            await client.delete("/api/pipelines/1"),
        ]
        everything = await client.delete("/api/records")
        machine.model.release()
        await asyncio.wait_for(run.communicate(), 60)
        job = await read(client, 1)
        after = await client.delete("/api/pipelines/1")

    assert [answer.status_code for answer in answers] == [409, 409]
    for answer in answers:
        assert f"penstock run, process {run.pid} on " in answer.json()["error"]
    assert everything.status_code == 409
    assert (run.returncode, job["status"], job["records_generated"]) == (0, "completed", 20)
    assert after.json() == {"success": True}

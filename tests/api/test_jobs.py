"""Jobs over HTTP, in one process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from penstock.api.deps import Services
from penstock.app import create_app, open_services
from penstock.errors import ConflictError
from penstock.settings import Settings
from penstock.testing import ModelServer, refusal

Create = Callable[..., Awaitable[int]]
ECHO: dict[str, Any] = {"type": "TextGenerator", "config": {"user_prompt": "hi {{ n }}"}}


def _file(*seeds: dict[str, Any]) -> dict[str, Any]:
    return {"file": ("seeds.json", json.dumps([{"metadata": seed} for seed in seeds]).encode())}


async def _begin(client: AsyncClient, pipeline_id: int, count: int = 3, **form: Any) -> int:
    file = _file(*({"n": number} for number in range(count)))
    answer = await client.post("/api/generate", files=file, data={"pipeline_id": pipeline_id, **form})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["job_id"])


async def _wait(client: AsyncClient, job_id: int, *statuses: str, made: int = 0) -> dict[str, Any]:
    """The job, once it is in one of ``statuses`` (or has ended) and has made some records."""
    targets = statuses or ("completed", "failed", "cancelled", "stopped")
    async with asyncio.timeout(60):
        while True:
            job: dict[str, Any] = (await client.get(f"/api/jobs/{job_id}")).json()
            if job["status"] in targets and job["records_generated"] >= made:
                return job
            await asyncio.sleep(0.01)


async def test_the_service_runs_a_submitted_job(client: AsyncClient, create: Create) -> None:
    job = await _wait(client, await _begin(client, await create(ECHO)))

    assert (job["status"], job["records_generated"], job["seeds"]) == ("completed", 3, "seeds.json")
    assert (job["rate"], job["seconds_left"], job["in_flight"], job["concurrency"]) == (None, None, 0, {})


async def test_a_running_job_shows_its_live_progress(
    client: AsyncClient, create: Create, model: ModelServer
) -> None:
    model.latency = 0.1
    job_id = await _begin(client, await create(ECHO), 8, concurrency=2)

    job = await _wait(client, job_id, "running", made=2)
    listed = (await client.get("/api/jobs")).json()

    step = job["steps"][0]
    assert job["in_flight"] == step["started"] - step["finished"] <= 2
    assert job["concurrency"]["openai/gpt-x"]["limit"] > 0
    assert job["rate"] > 0
    assert job["seconds_left"] > 0
    assert listed[0]["status"] == "running"
    assert listed[0]["records_generated"] >= job["records_generated"]
    await _wait(client, job_id)


async def test_a_second_job_uses_the_journal_unless_fresh_is_set(
    client: AsyncClient, create: Create, model: ModelServer
) -> None:
    number = await create(ECHO)

    again = [await _wait(client, await _begin(client, number, 2)) for _ in range(2)]
    fresh = await _wait(client, await _begin(client, number, 2, fresh="true"))

    assert [job["usage"]["journal_hits"] for job in (*again, fresh)] == [0, 2, 0]
    assert len(model.requests) == 4


async def test_steps_are_counted_over_all_runs_of_a_job(
    client: AsyncClient, create: Create, model: ModelServer
) -> None:
    number = await create(ECHO, {"type": "ValidatorBlock"}, constraints={"max_total_tokens": 25})
    stopped = await _wait(client, await _begin(client, number, 5))
    await client.put(f"/api/pipelines/{number}", json={"name": "P", "blocks": [ECHO]})

    await client.post(f"/api/jobs/{stopped['id']}/resume")
    job = await _wait(client, stopped["id"], "completed")

    assert [step["finished"] for step in stopped["steps"]] == [3, 3]
    assert [(step["started"], step["finished"]) for step in job["steps"]] == [(5, 5), (5, 5)]
    assert len(model.requests) == 5


@pytest.mark.parametrize(
    "form",
    [{"concurrency": 0}, {"concurrency": "many"}, {"fresh": "perhaps"}, {"pipeline_id": 2**64}],
)
async def test_invalid_submissions_are_refused(
    client: AsyncClient, create: Create, form: dict[str, Any]
) -> None:
    answer = await client.post(
        "/api/generate", files=_file({"n": 1}), data={"pipeline_id": await create(ECHO), **form}
    )

    assert answer.status_code == 422
    assert (await client.get("/api/jobs")).json() == []


@pytest.mark.parametrize("name", ["../../etc/x.json", "a\\b.JSON", "ünï.json", "x" * 300 + ".json"])
async def test_a_file_name_cannot_name_a_path(client: AsyncClient, create: Create, name: str) -> None:
    file = {"file": (name, b'[{"metadata": {"n": 1}}]')}

    answer = await client.post("/api/generate", files=file, data={"pipeline_id": await create(ECHO)})

    job = await _wait(client, answer.json()["job_id"])
    assert job["status"] == "completed"
    assert "/" not in job["seeds"]


async def test_several_jobs_run_at_once_where_the_settings_allow(settings: Settings) -> None:
    made = create_app(settings)
    async with open_services(
        settings.model_copy(update={"max_running_jobs": 2}), made.state.metrics
    ) as services:
        made.state.services = services
        async with _client(made) as client:
            body = {"name": "P", "blocks": [{"type": "PauseBlock"}]}
            number = (await client.post("/api/pipelines", json=body)).json()["id"]
            first, second, third = [await _begin(client, number, 50, concurrency=1) for _ in range(3)]
            await _wait(client, second, "running")

            active = (await client.get("/api/jobs/active")).json()
            waiting = (await client.get(f"/api/jobs/{third}")).json()

            for job_id in (third, second, first):
                await client.delete(f"/api/jobs/{job_id}")
    assert (active["id"], waiting["status"]) == (second, "queued")


def _client(app: FastAPI) -> AsyncClient:
    from httpx import ASGITransport

    return AsyncClient(transport=ASGITransport(app=app), base_url="http://127.0.0.1:8000")


async def test_a_job_of_the_command_line_is_shown_but_cannot_be_resumed_here(
    client: AsyncClient, create: Create, app: FastAPI
) -> None:
    from penstock.entities import JobStatus
    from penstock.storage import jobs

    services: Services = app.state.services
    pipeline_id = await create(ECHO)
    async with services.storage.session() as session:
        job_id = await jobs.create_job(session, pipeline_id, 3, JobStatus.PAUSED, options={"origin": "run"})

    shown = await client.get(f"/api/jobs/{job_id}")
    resumed = await client.post(f"/api/jobs/{job_id}/resume")

    assert (shown.json()["status"], shown.json()["steps"]) == ("paused", [])
    assert resumed.status_code == 409
    assert "command" in resumed.json()["error"]


async def test_a_job_with_failed_records_says_how_to_make_them_again(
    client: AsyncClient, create: Create
) -> None:
    job_id = await _begin(client, await create({"type": "BoomBlock", "config": {}}), 1)

    job = await _wait(client, job_id)
    retried = await client.post(f"/api/jobs/{job_id}/retry")

    assert job["advice"] == f"POST /api/jobs/{job_id}/retry makes the failed record again."
    assert retried.json() == {"job_id": job_id, "retried": 1}


async def test_a_paused_job_says_how_to_continue_it(
    client: AsyncClient, create: Create, model: ModelServer
) -> None:
    model.answer = lambda _: refusal(401, "wrong key")
    job_id = await _begin(client, await create(ECHO), 2)

    job = await _wait(client, job_id, "paused")

    assert job["advice"] == f"Put right what `error` says, then POST /api/jobs/{job_id}/resume: it continues."


async def test_a_secret_that_a_provider_repeats_is_masked(
    client: AsyncClient, create: Create, model: ModelServer
) -> None:
    model.answer = lambda _: "your key is sk-test-0123456789"
    job = await _wait(client, await _begin(client, await create(ECHO), 1))

    texts = [
        (await client.get(path, params={"job_id": job["id"]})).text
        for path in ("/api/records", "/api/records/1", "/api/export", "/api/export?format=openai")
    ]

    assert all("your key is" in text for text in texts)
    assert not any("0123456789" in text for text in texts)


async def test_what_a_job_uses_is_counted_in_the_metrics(client: AsyncClient, create: Create) -> None:
    job_id = await _begin(client, await create(ECHO), 3)

    await _wait(client, job_id, "completed")
    metrics = (await client.get("/metrics")).text

    assert 'penstock_executions_total{outcome="completed"} 3.0' in metrics


async def test_the_separator_of_a_csv_file_can_be_said_and_is_kept_for_the_job(
    client: AsyncClient, create: Create
) -> None:
    file = {"file": ("seeds.csv", b"a,b,n;c\n1,2,3;4\n")}
    pipeline = await create({"type": "TextGenerator", "config": {"user_prompt": "{{ c }}"}})

    for route in ("generate", "generate_from_file"):
        form = {"pipeline_id": pipeline, "separator": ";"}
        answer = await client.post(f"/api/{route}", files=file, data=form)
        assert answer.status_code == 200, answer.text
        job_id = answer.json()["job_id"]
        await _wait(client, job_id)
        (record,) = (await client.get("/api/records", params={"job_id": job_id})).json()
        assert record["metadata"] == {"a,b,n": "1,2,3", "c": "4"}

    refused = await client.post(
        "/api/generate", files=file, data={"pipeline_id": pipeline, "separator": ";;"}
    )
    assert refused.status_code == 400
    assert "A separator is one character" in refused.json()["error"]


async def test_a_page_of_records_does_not_repeat_a_long_document(client: AsyncClient, create: Create) -> None:
    number = await create(
        {"type": "MarkdownMultiplierBlock"},
        {"type": "DiversityScore", "config": {"field_name": "content"}},
    )
    text = "\n\n".join(f"## {section}\n\n{'lorem ipsum ' * 2000}" for section in range(20))
    seeds = {"file": ("seeds.json", json.dumps({"metadata": {"file_content": text, "topic": "t"}}).encode())}
    answer = await client.post("/api/generate", files=seeds, data={"pipeline_id": number})
    await _wait(client, answer.json()["job_id"])

    page = (await client.get("/api/records")).json()
    few = (await client.get("/api/records?limit=2")).json()
    one = (await client.get(f"/api/records/{page[0]['id']}")).json()

    assert len(page) == 20
    assert all(record["metadata"] == {"topic": "t"} for record in page)
    assert all(record["trace"][0]["input"] == {"topic": "t"} for record in page)
    assert all(record["metadata"]["file_content"] == text for record in (*few, one))
    assert one["trace"][0]["input"]["file_content"] == text


def _count_readers() -> int:
    """How many processes read uploads for this one."""
    count = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = status.read_text().rpartition(")")[2].split()[1]
            count += parent == str(os.getpid()) and b"reader_main" in status.with_name("cmdline").read_bytes()
    return count


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_reading_an_upload_ends_when_the_service_stops(
    app: FastAPI, client: AsyncClient, create: Create
) -> None:
    services: Services = app.state.services
    number = await create(ECHO)
    rows = b'{"n": [1, 2, 3, 4, 5, 6, 7, 8]}\n' * 300_000

    uploading = asyncio.create_task(
        client.post("/api/generate", files={"file": ("s.jsonl", rows)}, data={"pipeline_id": number})
    )
    async with asyncio.timeout(60):
        while not _count_readers():
            await asyncio.sleep(0.02)
    services.closing.set()
    answer = await uploading

    assert (answer.status_code, _count_readers()) == (409, 0)
    assert (await client.get("/api/jobs")).json() == []


async def test_reading_an_upload_ends_when_its_client_has_gone(app: FastAPI, create: Create) -> None:
    services: Services = app.state.services
    number = await create(ECHO)
    rows = b'{"n": [1, 2, 3, 4, 5, 6, 7, 8]}\n' * 300_000

    with pytest.raises(ConflictError, match="not read to its end"):
        await services.queue.submit(number, "s.jsonl", rows, stops=[asyncio.sleep(0.3)])

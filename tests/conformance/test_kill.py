"""Jobs survive a killed process, a full disk and a locked database."""

from __future__ import annotations

import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("needs a system that limits what a process may write", allow_module_level=True)

import resource

from conformance.conftest import USER_BLOCKS, Model, Server

pytestmark = pytest.mark.xdist_group("conformance_kill")
RECORDS = 1_000
KILLS = 20
CONCURRENCY = 32
CHAIN: list[dict[str, Any]] = [
    {"type": "TextGenerator", "config": {"user_prompt": "first {{ n }}"}},
    {"type": "TextGenerator", "config": {"user_prompt": "second of {{ assistant }}"}},
    {"type": "TextGenerator", "config": {"user_prompt": "third of {{ assistant }}"}},
]
SEEDS = [{"metadata": {"n": number}} for number in range(RECORDS)]


@pytest.fixture
def model() -> Iterator[Model]:
    """A model for one test, whose requests are counted."""
    made = Model()
    yield made
    made.close()


@pytest.fixture
def fresh(model: Model, tmp_path: Path) -> Iterator[Server]:
    """A server that is not started yet; it is killed at the end of the test if it still runs."""
    (tmp_path / "user_blocks").mkdir()
    (tmp_path / "user_blocks" / "trial.py").write_text(USER_BLOCKS)
    (tmp_path / "temporary").mkdir()
    made = Server(
        tmp_path,
        TMPDIR=str(tmp_path / "temporary"),
        LLM_ENDPOINT=model.server.url,
        LLM_MODEL="gpt-x",
        LLM_CONCURRENCY=str(CONCURRENCY),
    )
    yield made
    if made.running:
        made.stop(signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # twenty starts of a process, on a machine that may be busy
@pytest.mark.row("D14", "A184", "A230")
def test_a_job_survives_twenty_kills_and_repeats_no_finished_call(fresh: Server, model: Model) -> None:
    chance = random.Random(20)
    model.server.latency = 0.12
    fresh.start()
    job_id = fresh.begin(fresh.create(*CHAIN), SEEDS)

    for _ in range(KILLS):
        _wait_for_an_answer(model)
        time.sleep(chance.uniform(0.0, 0.9))
        fresh.stop(signal.SIGKILL)
        fresh.start()
    made_before_the_end = fresh.job(job_id)["records_generated"]
    model.server.latency = 0.0
    job = fresh.wait(job_id)

    records = fresh.records(job_id, trace=False)
    asked = [body["messages"][-1]["content"] for body in model.server.bodies]
    repeated = sum(count - 1 for count in Counter(asked).values())
    assert 0 < made_before_the_end < RECORDS
    assert (job["status"], job["records_generated"], job["records_failed"]) == ("completed", RECORDS, 0)
    assert sorted(record["metadata"]["n"] for record in records) == list(range(RECORDS))
    assert all(record["output"] == _expected(record["metadata"]["n"]) for record in records)
    assert len(set(asked)) == 3 * RECORDS
    assert repeated <= KILLS * CONCURRENCY
    assert job["usage"]["llm_calls"] == 3 * RECORDS
    assert list((fresh.folder / "temporary").iterdir()) == []


def _wait_for_an_answer(model: Model) -> None:
    """Wait until the model has answered once more, but a minute at most: a busy machine starts slowly."""
    before, ends_at = model.server.answered, time.monotonic() + 60.0
    while model.server.answered == before and time.monotonic() < ends_at:
        time.sleep(0.01)


def _expected(n: int) -> str:
    return f"echo: third of echo: second of echo: first {n}"


@pytest.mark.row("D14")
def test_a_full_disk_is_reported_and_nothing_is_lost(fresh: Server, model: Model) -> None:
    fresh.start()
    job_id = fresh.begin(fresh.create(*CHAIN), SEEDS[:300], concurrency=8)
    fresh.wait(job_id, until=lambda job: job["records_generated"] >= 20)

    with _full_disk(fresh):
        job = fresh.wait(job_id, until=lambda job: job["error"] is not None)
        kept = {record["id"] for record in fresh.records(job_id, trace=False)}
        refused = fresh.client.post("/api/pipelines", json={"name": "P", "blocks": CHAIN})
    done = fresh.wait(job_id)
    fresh.stop()

    assert "check that its disk works and has free space" in job["error"]
    assert job["status"] == "running"
    assert len(kept) >= 20
    assert refused.status_code == 503
    assert "check that its disk works and has free space" in refused.json()["error"]
    _assert_complete(fresh, done, kept, model)


@pytest.mark.row("D14")
def test_a_locked_database_is_reported_and_the_job_resumes_by_itself(fresh: Server, model: Model) -> None:
    fresh.environment["DATABASE_LOCK_SECONDS"] = "0.5"
    fresh.start()
    job_id = fresh.begin(fresh.create(*CHAIN), SEEDS[:300], concurrency=8)
    fresh.wait(job_id, until=lambda job: job["records_generated"] >= 20)

    with closing(sqlite3.connect(fresh.environment["DATABASE_PATH"], isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        job = fresh.wait(job_id, until=lambda job: job["error"] is not None)
        kept = {record["id"] for record in fresh.records(job_id, trace=False)}
        refused = fresh.client.post("/api/pipelines", json={"name": "P", "blocks": CHAIN})
        other.execute("ROLLBACK")
    done = fresh.wait(job_id)
    fresh.stop()

    assert "locked" in job["error"]
    assert len(kept) >= 20
    assert (refused.status_code, "locked" in refused.json()["error"]) == (503, True)
    _assert_complete(fresh, done, kept, model)


@contextmanager
def _full_disk(server: Server) -> Iterator[None]:
    """The system refuses the server every byte that it writes to a file."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


def _assert_complete(server: Server, job: dict[str, Any], kept: set[int], model: Model) -> None:
    """All 300 records are there once, those from before the failure too, and few calls were repeated."""
    with closing(sqlite3.connect(server.environment["DATABASE_PATH"])) as database:
        rows = database.execute("SELECT id, seed FROM records WHERE job_id = ?", [job["id"]]).fetchall()
    assert (job["status"], job["records_generated"], job["error"]) == ("completed", 300, None)
    assert sorted(seed for _, seed in rows) == list(range(300))
    assert kept <= {number for number, _ in rows}
    assert len(model.server.requests) <= 900 + 8

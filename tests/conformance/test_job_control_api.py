"""Section 8 of the contract: jobs are paused, resumed, cancelled, retried, and survive a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance.conftest import Model, Server
from conformance.helpers import CHECK, ECHO, fail_on, is_error, slow, topics
from penstock.testing import refusal

pytestmark = pytest.mark.xdist_group("conformance_job_control_api")  # one server for all of them


@pytest.mark.row("A42", "A175")
def test_a_job_is_the_same_after_a_restart(server: Server, asked: list[dict[str, Any]]) -> None:
    number = server.create(ECHO, fail_on("t1"))
    before = server.run(number, topics(3))

    server.stop()
    server.start()

    assert server.job(before["id"]) == before
    assert (before["records_failed"], before["usage"]["total_tokens"]) == (1, 30)


@pytest.mark.row("A177")
def test_a_job_that_cannot_run_fails_with_the_reason(server: Server) -> None:
    file = server.folder / "user_blocks" / "gone.py"
    file.write_text(
        (server.folder / "user_blocks" / "trial.py").read_text().replace("SlowBlock", "GoneBlock")
    )
    server.stop()
    server.start()
    job_id = server.begin(server.create({"type": "GoneBlock", "config": {"seconds": 60}}), topics(1))
    server.wait(job_id, "running")

    file.unlink()
    server.stop()
    server.start()

    job = server.wait(job_id)
    assert (job["status"], job["error"]) == ("failed", "Block 'GoneBlock' not found")
    assert job["completed_at"]


@pytest.mark.row("A181", "A182", "A184")
def test_cancelling_ends_a_job_and_keeps_what_is_finished(server: Server) -> None:
    number = server.create(slow(0.1))
    job_id = server.begin(number, topics(50), concurrency=1)
    server.wait(job_id, until=lambda job: job["records_generated"] >= 2)

    answer = server.client.delete(f"/api/jobs/{job_id}")
    job, kept = server.job(job_id), len(server.records(job_id))
    next_job = server.run(number, topics(2))

    assert (answer.status_code, answer.json()) == (200, {"message": "Job cancelled"})
    assert job["status"] == "cancelled"
    assert job["completed_at"]
    assert 2 <= kept < 50
    assert kept == job["records_generated"]
    assert next_job["status"] == "completed"
    assert len(server.records(job_id)) == kept


@pytest.mark.row("A181")
def test_a_job_that_waits_is_cancelled_without_having_run(server: Server) -> None:
    number = server.create(slow(0.05))
    first = server.begin(number, topics(10), concurrency=1)
    second = server.begin(number, topics(1))

    answer = server.client.delete(f"/api/jobs/{second}")

    assert answer.status_code == 200
    assert server.job(second)["status"] == "cancelled"
    assert server.wait(first)["status"] == "completed"
    assert server.records(second) == []


@pytest.mark.row("D13")
@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry"])
def test_a_job_that_has_ended_cannot_be_changed(server: Server, verb: str) -> None:
    before = server.run(server.create(CHECK), topics(1, text="x"))
    path = f"/api/jobs/{before['id']}"

    answer = server.client.delete(path) if verb == "cancel" else server.client.post(f"{path}/{verb}")

    assert is_error(answer, 409)
    assert server.job(before["id"]) == before


@pytest.mark.row("D14")
def test_a_paused_job_stays_paused_over_a_restart_until_it_is_resumed(
    server: Server, asked: list[dict[str, Any]], provider: Model
) -> None:
    provider.server.latency = 0.05
    job_id = server.begin(server.create(ECHO), topics(40, run="paused"), concurrency=2)
    server.wait(job_id, until=lambda job: job["records_generated"] >= 3)

    paused = server.client.post(f"/api/jobs/{job_id}/pause").json()
    server.wait(job_id, "paused")
    server.stop()
    server.start()
    rested = server.job(job_id)
    provider.server.latency = 0.0
    resumed = server.client.post(f"/api/jobs/{job_id}/resume").json()
    job = server.wait(job_id)

    assert paused["status"] == "paused" or paused["wanted"] == "paused"
    assert rested["status"] == "paused"
    assert rested["records_generated"] < 40
    assert resumed["status"] in {"queued", "running"}
    assert (job["status"], job["records_generated"], len(asked)) == ("completed", 40, 40)
    assert job["usage"]["total_tokens"] == 400
    assert job["steps"][0]["finished"] == 40


@pytest.mark.row("D14")
def test_a_running_job_resumes_by_itself_after_a_restart(
    server: Server, asked: list[dict[str, Any]], provider: Model
) -> None:
    provider.server.latency = 0.05
    job_id = server.begin(server.create(ECHO), topics(40, run="restarted"), concurrency=2)
    server.wait(job_id, until=lambda job: job["records_generated"] >= 3)

    server.stop()
    provider.server.latency = 0.0
    server.start()
    job = server.wait(job_id)

    assert (job["status"], job["records_generated"]) == ("completed", 40)
    assert len({record["seed"] for record in server.records(job_id)}) == 40
    assert len(asked) <= 40 + 2


@pytest.mark.row("D16")
def test_failed_records_alone_are_made_again(
    server: Server, asked: list[dict[str, Any]], provider: Model
) -> None:
    provider.server.then(refusal(400, "no such thing"))
    job = server.run(server.create(ECHO), topics(5, run="retry"), concurrency=1)
    failures = server.client.get(f"/api/jobs/{job['id']}/failures").json()
    before = len(asked)

    answer = server.client.post(f"/api/jobs/{job['id']}/retry")
    again = server.wait(job["id"])

    assert (job["records_generated"], job["records_failed"]) == (4, 1)
    assert failures["failed"] == failures["causes"][0]["count"] == 1
    assert failures["causes"][0]["cause"].startswith("TextGenerator: ")
    assert answer.json() == {"job_id": job["id"], "retried": 1}
    assert (again["status"], again["records_generated"], again["records_failed"]) == ("completed", 5, 0)
    assert len(asked) == before + 1
    assert len(server.records(job["id"])) == 5


@pytest.mark.row("D16")
def test_failures_are_grouped_by_their_cause(server: Server) -> None:
    number = server.create(fail_on("bad"), {"type": "ScoreBlock"})
    seeds = [{"metadata": {"text": text}} for text in ("bad", "bad", "good")]

    job = server.run(number, seeds)

    failures = server.client.get(f"/api/jobs/{job['id']}/failures").json()
    assert [(cause["cause"], cause["count"]) for cause in failures["causes"]] == [
        ("BoomBlock: Connection timeout", 2),
        ("ScoreBlock: 'n'", 1),
    ]
    found = server.records(job["id"], cause="BoomBlock: Connection timeout")
    assert max(record["id"] for record in found) == failures["causes"][0]["example_id"]
    assert (failures["failed"], len(found)) == (3, 2)


def test_a_job_whose_records_almost_all_fail_is_stopped_and_says_why(server: Server) -> None:
    job = server.run(server.create({"type": "BoomBlock"}), topics(200))

    assert job["status"] == "stopped"
    assert "Connection timeout" in job["error"]
    assert job["records_failed"] < 200


@pytest.mark.row("A149")
def test_deleting_a_pipeline_ends_and_deletes_its_job(server: Server) -> None:
    number = server.create(slow(0.1))
    job_id = server.begin(number, topics(50), concurrency=1)
    server.wait(job_id, until=lambda job: job["records_generated"] >= 1)

    answer = server.client.delete(f"/api/pipelines/{number}")

    assert answer.json() == {"success": True}
    assert is_error(server.client.get(f"/api/jobs/{job_id}"), 404, "job not found")
    assert server.records(job_id) == []
    assert server.run(server.create(CHECK), topics(1))["status"] == "completed"


@pytest.mark.row("A175", "A42")
def test_a_job_is_the_same_after_a_restart_however_it_ended(
    server: Server, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    never = [{"metadata": {"topic": "t0", "file": str(tmp_path / "never made")}}] * 2
    waiting = server.create(ECHO, {"type": "WaitBlock"})
    completed = server.run(server.create(ECHO, fail_on("t1")), topics(3))["id"]
    stopped = server.run(server.create(ECHO, constraints={"max_total_tokens": 15}), topics(5), fresh=True)[
        "id"
    ]
    cancelled = server.begin(waiting, never, fresh=True)
    server.wait(cancelled, until=lambda job: job["in_flight"] > 0)
    server.client.delete(f"/api/jobs/{cancelled}")
    before = {job_id: server.job(job_id) for job_id in (completed, stopped, cancelled)}

    server.stop()
    server.start()

    assert {job_id: server.job(job_id) for job_id in before} == before
    assert [before[job_id]["status"] for job_id in before] == ["completed", "stopped", "cancelled"]
    assert before[stopped]["error"] == "Constraint exceeded: max_total_tokens"
    assert before[stopped]["progress"] == before[stopped]["current_seed"] / 5 < 1.0
    assert before[stopped]["usage"]["total_tokens"] == 20
    assert [step["finished"] for step in before[completed]["steps"]] == [3, 2]


@pytest.mark.row("A182")
def test_cancelling_drops_the_record_in_flight_before_its_next_block(server: Server, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("first", "second", "third")]
    files[0].touch()
    number = server.create({"type": "WaitBlock"}, {"type": "MarkBlock"})
    job_id = server.begin(number, [{"metadata": {"file": str(file)}} for file in files], concurrency=1)
    server.wait(job_id, until=lambda job: job["records_generated"] == 1 and job["in_flight"] == 1)

    answer = server.client.delete(f"/api/jobs/{job_id}")
    for file in files:
        file.touch()  # a block that still waits would go on now
    other = server.run(number, [{"metadata": {"file": str(files[0])}}])

    assert answer.json() == {"message": "Job cancelled"}
    assert other["status"] == "completed"
    assert [path.name for path in tmp_path.glob("*.ran")] == ["first.ran"]
    assert [record["metadata"]["file"] for record in server.records(job_id)] == [str(files[0])]
    assert server.job(job_id)["records_generated"] == 1

"""Section 8 of the contract: jobs are started, listed and read."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from conformance.conftest import Server
from conformance.helpers import CHECK, MULTIPLY, fail_on, is_error, slow, topics

pytestmark = pytest.mark.xdist_group("conformance_jobs_api")  # one server for all of them
KEYS = {
    "id",
    "pipeline_id",
    "status",
    "progress",
    "current_seed",
    "total_seeds",
    "current_block",
    "current_step",
    "records_generated",
    "records_failed",
    "error",
    "started_at",
    "completed_at",
    "usage",
    "created_at",
}


@pytest.mark.row("A155")
def test_a_job_is_started_with_a_file_and_the_answer_is_its_id(server: Server) -> None:
    answer = server.upload(server.create(CHECK), topics(1))

    assert answer.status_code == 200
    assert answer.json() == {"job_id": answer.json()["job_id"]}
    assert isinstance(answer.json()["job_id"], int)


@pytest.mark.row("A155")
def test_the_answer_does_not_wait_for_the_jobs_end(server: Server, tmp_path: Path) -> None:
    never = {"metadata": {"file": str(tmp_path / "never made")}}

    job_id = server.begin(server.create({"type": "WaitBlock"}), [never])
    status = server.job(job_id)["status"]
    server.client.delete(f"/api/jobs/{job_id}")

    assert status in {"queued", "running"}


@pytest.mark.row("A156", "A157", "A158", "A159", "A160", "A161", "A169")
@pytest.mark.parametrize(
    ("name", "content", "start", "end"),
    [
        ("seed.txt", b"[]", "Only .json or .md files are accepted", ""),
        ("seed.md", b" \n\t", "Markdown file is empty", ""),
        ("seed.json", b"{bad", "The JSON file is invalid: ", " Please check your file syntax."),
        ("seed.json", b"5", "The JSON file must contain an object or an array of objects.", ""),
        ("seed.json", b"[5]", "Seed 1 must be an object. Please check your file structure.", ""),
        ("seed.json", b'[{"repetitions":1}]', "Seed 1 is missing the required 'metadata' field.", ""),
        ("seed.json", b"[]", "The seed file holds no seeds.", ""),
    ],
)
def test_a_seed_file_that_cannot_be_used_is_refused_with_what_is_wrong(
    server: Server, name: str, content: bytes, start: str, end: str
) -> None:
    answer = server.upload(server.create(CHECK), content, name)

    assert is_error(answer, 400)
    assert answer.json()["error"].startswith(start)
    assert answer.json()["error"].endswith(end)


@pytest.mark.row("A157", "A91", "A37")
def test_a_markdown_file_is_one_seed_and_each_section_a_record(server: Server) -> None:
    text = "# A\ntext\n\n## B\ntext\n\n### C\ntext"

    job = server.run(server.create(MULTIPLY, slow(0)), text.encode(), "seed.md")

    records = server.records(job["id"])
    assert (job["status"], job["total_seeds"], job["records_generated"]) == ("completed", 1, 3)
    assert all(record["metadata"] == {"file_content": text} for record in records)
    assert all("content" in record["trace"][-1]["accumulated_state"] for record in records)


@pytest.mark.row("A92")
def test_a_multiplier_without_its_text_makes_no_job(server: Server) -> None:
    answer = server.upload(server.create(MULTIPLY), topics(1))

    assert is_error(answer, 400)
    assert "file_content" in answer.json()["error"]


@pytest.mark.row("A162")
def test_file_and_pipeline_are_both_needed(client: httpx.Client) -> None:
    file = {"file": ("seed.json", b"[]")}

    answers = [
        client.post("/api/generate", files=file),
        client.post("/api/generate", data={"pipeline_id": 1}),
        client.post("/api/generate", files=file, data={"pipeline_id": "one"}),
    ]

    assert all(is_error(answer, 422) for answer in answers)


@pytest.mark.row("A163")
def test_more_than_ten_megabytes_are_refused(server: Server) -> None:
    content = json.dumps([{"metadata": {"x": "y" * (10 * 2**20)}}]).encode()

    assert is_error(server.upload(server.create(CHECK), content), 413)


@pytest.mark.row("A164", "A184")
def test_a_second_job_waits_until_the_first_has_ended(server: Server) -> None:
    number = server.create(slow(0.05))
    first = server.begin(number, topics(10), concurrency=1)
    server.wait(first, "running")

    second = server.begin(number, topics(2))

    assert server.job(second)["status"] == "queued"
    assert server.wait(second)["status"] == "completed"
    assert server.job(first)["status"] == "completed"


@pytest.mark.row("A165")
def test_an_unknown_pipeline_is_a_404(server: Server) -> None:
    assert is_error(server.upload(999_999, topics(1)), 404, "pipeline not found")


@pytest.mark.row("A142", "A11")
def test_an_unknown_block_is_refused_before_the_job_exists(server: Server) -> None:
    answer = server.upload(server.create({"type": "LLMBlock"}), topics(1))

    assert is_error(answer, 400, "Block 'LLMBlock' not found")


@pytest.mark.row("A166", "A190")
def test_a_single_object_is_one_seed(server: Server) -> None:
    job = server.run(server.create(CHECK), {"metadata": {"text": "x", "deep": {"a": [1]}}})

    assert [record["metadata"] for record in server.records(job["id"])] == [{"text": "x", "deep": {"a": [1]}}]


@pytest.mark.row("A167", "A168")
def test_repetitions_are_counted_and_default_to_one(server: Server) -> None:
    seeds = [
        {"repetitions": 3, "metadata": {"n": 0}},
        {"metadata": {"n": 1}},
        {"repetitions": "many", "metadata": {"n": 2}},
        {"repetitions": 0, "metadata": {"n": 3}},
    ]

    job = server.run(server.create(CHECK), seeds)

    made = sorted(record["metadata"]["n"] for record in server.records(job["id"]))
    assert (job["total_seeds"], made) == (5, [0, 0, 0, 1, 2])


@pytest.mark.row("A170")
def test_what_a_block_does_to_its_state_is_not_seen_by_the_next_repetition(server: Server) -> None:
    job = server.run(
        server.create({"type": "MutatingBlock"}), [{"repetitions": 3, "metadata": {"tags": ["a"]}}]
    )

    records = server.records(job["id"])
    assert [record["trace"][0]["output"]["seen"] for record in records] == [2, 2, 2]
    assert [record["metadata"] for record in records] == [{"tags": ["a"]}] * 3


@pytest.mark.row("A171", "A172", "A173", "A51")
def test_a_finished_job_has_all_its_fields(server: Server) -> None:
    job = server.run(server.create(CHECK), topics(3, text="x"))

    assert job.keys() >= KEYS
    assert (job["status"], job["progress"], job["current_seed"], job["total_seeds"]) == (
        "completed",
        1.0,
        3,
        3,
    )
    assert (job["records_generated"], job["records_failed"], job["error"]) == (3, 0, None)
    assert job["completed_at"] >= job["started_at"] >= job["created_at"]
    assert job["steps"] == [
        {"step": 1, "block_type": "ValidatorBlock", "started": 3, "finished": 3, "failed": 0}
    ]


@pytest.mark.row("A173", "A174", "A185", "A186")
def test_a_running_job_shows_how_far_it_is_and_its_records(server: Server) -> None:
    job_id = server.begin(server.create(slow(0.03), CHECK), topics(20, text="x"), concurrency=2)

    seen = [server.wait(job_id, "running")]
    while seen[-1]["status"] == "running":
        seen.append(server.job(job_id))
        made = seen[-1]["records_generated"]
        assert len(server.records(job_id)) >= made

    progress = [job["progress"] for job in seen]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert any(0 < job["progress"] < 1 for job in seen)
    assert {job["current_block"] for job in seen} - {None} <= {"SlowBlock", "ValidatorBlock"}
    assert {job["current_step"] for job in seen} - {None} <= {"Block 1/2", "Block 2/2"}
    assert "Block 1/2" in {job["current_step"] for job in seen}
    assert max(job["in_flight"] for job in seen) <= 2
    assert any(job["rate"] for job in seen)


@pytest.mark.row("A176", "A36", "D16")
def test_a_seed_that_fails_is_a_failed_record_and_no_failed_job(server: Server) -> None:
    seeds = [{"metadata": {"text": text}} for text in ("a", "b", "bad", "c", "d")]

    job = server.run(server.create(CHECK, fail_on("bad")), seeds)

    failed = server.records(job["id"], status="failed")
    assert (job["status"], job["records_generated"], job["records_failed"]) == ("completed", 4, 1)
    assert job["steps"][1] == {"step": 2, "block_type": "BoomBlock", "started": 5, "finished": 4, "failed": 1}
    assert failed[0]["metadata"] == {"text": "bad"}
    assert failed[0]["error"]["error"] == "Block 'BoomBlock' failed at step 2: Connection timeout"
    assert [entry["block_type"] for entry in failed[0]["trace"]] == ["ValidatorBlock", "BoomBlock"]


@pytest.mark.row("A36", "A91")
def test_a_child_that_fails_does_not_stop_the_others(server: Server) -> None:
    text = "\n".join(f"# H{number}\n{'bad' if number == 2 else 'good'}\n" for number in range(5))
    number = server.create(
        MULTIPLY,
        {"type": "JSONValidatorBlock", "config": {"field_name": "content", "strict": False}},
        fail_on("'content': '# H2"),
    )

    job = server.run(number, text.encode(), "seed.md")

    assert (job["records_generated"], job["records_failed"]) == (4, 1)


@pytest.mark.row("A178")
def test_the_active_job_is_the_one_that_runs(server: Server) -> None:
    job_id = server.begin(server.create(slow(0.05)), topics(6), concurrency=1)
    server.wait(job_id, "running")

    during = server.client.get("/api/jobs/active")
    server.wait(job_id)
    after = server.client.get("/api/jobs/active")

    assert during.json()["id"] == job_id
    assert is_error(after, 404, "no active job")


@pytest.mark.row("A179")
def test_jobs_are_listed_newest_first_ten_at_most(server: Server) -> None:
    number = server.create(CHECK)
    made = [server.begin(number, topics(1)) for _ in range(11)]
    for job_id in made:
        server.wait(job_id)
    other = server.run(server.create(CHECK), topics(1))["id"]

    of_pipeline = server.client.get("/api/jobs", params={"pipeline_id": number}).json()
    of_all = server.client.get("/api/jobs").json()
    more = server.client.get("/api/jobs", params={"pipeline_id": number, "limit": 50}).json()
    stopped = server.client.get("/api/jobs", params={"pipeline_id": number, "status": "stopped"}).json()

    assert [job["id"] for job in of_pipeline] == made[:0:-1]
    assert [job["id"] for job in of_all] == [other, *made[:1:-1]]
    assert (len(more), stopped) == (11, [])


@pytest.mark.row("A180", "A183")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/retry"),
        ("GET", "/failures"),
        ("GET", "/events"),
    ],
)
def test_an_unknown_job_is_a_404_and_a_non_integer_a_422(
    client: httpx.Client, method: str, path: str
) -> None:
    assert is_error(client.request(method, f"/api/jobs/999999{path}"), 404, "job not found")
    assert is_error(client.request(method, f"/api/jobs/x{path}"), 422)


@pytest.mark.row("A209")
def test_the_legacy_route_answers_when_the_job_has_ended(server: Server) -> None:
    number = server.create(fail_on("bad"))
    content = json.dumps([{"metadata": {"text": text}} for text in ("a", "bad", "b")]).encode()

    answer = server.client.post(
        "/api/generate_from_file", files={"file": ("seed.json", content)}, data={"pipeline_id": number}
    ).json()

    assert (answer["total"], answer["success"], answer["failed"]) == (3, 2, 1)

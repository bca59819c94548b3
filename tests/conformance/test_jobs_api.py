"""Section 8 of the contract, and usage and limits as they show over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from conformance.conftest import Model, Server
from support.model_server import Reply, echo, refusal

pytestmark = pytest.mark.xdist_group("conformance_jobs")  # one server for all of them
ECHO: dict[str, Any] = {"type": "TextGenerator", "config": {"user_prompt": "hi {{ topic }}"}}
CHECK: dict[str, Any] = {"type": "ValidatorBlock", "config": {"min_length": 1}}
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


def _slow(seconds: float) -> dict[str, Any]:
    return {"type": "SlowBlock", "config": {"seconds": seconds}}


def _seeds(count: int, **extra: Any) -> list[dict[str, Any]]:
    return [{"metadata": {"topic": f"t{number}", **extra}} for number in range(count)]


def _is_error(answer: httpx.Response, status: int, message: str | None = None) -> bool:
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert body.keys() == {"error", "detail"}
    assert message is None or body["error"] == message
    return True


@pytest.fixture
def asked(provider: Model) -> Iterator[list[dict[str, Any]]]:
    """What the model was asked in this test; afterwards it echoes again."""
    server = provider.server
    server.requests.clear()
    yield server.requests
    server.script.clear()
    server.answer, server.latency = echo, 0.0


@pytest.mark.row("A155")
def test_a_job_is_begun_with_a_file_and_the_answer_is_its_number(server: Server) -> None:
    answer = server.upload(server.create(CHECK), _seeds(1))

    assert answer.status_code == 200
    assert answer.json() == {"job_id": answer.json()["job_id"]}
    assert isinstance(answer.json()["job_id"], int)


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

    assert _is_error(answer, 400)
    assert answer.json()["error"].startswith(start)
    assert answer.json()["error"].endswith(end)


@pytest.mark.row("A157", "A91", "A37")
def test_a_markdown_file_is_one_seed_and_each_section_a_record(server: Server) -> None:
    text = "# A\ntext\n\n## B\ntext\n\n### C\ntext"

    job = server.run(server.create({"type": "MarkdownMultiplierBlock"}, _slow(0)), text.encode(), "seed.md")

    records = server.records(job["id"])
    assert (job["status"], job["total_seeds"], job["records_generated"]) == ("completed", 1, 3)
    assert all(record["metadata"] == {"file_content": text} for record in records)
    assert all("content" in record["trace"][-1]["accumulated_state"] for record in records)


@pytest.mark.row("A92")
def test_a_multiplier_without_its_text_makes_no_job(server: Server) -> None:
    answer = server.upload(server.create({"type": "MarkdownMultiplierBlock"}), _seeds(1))

    assert _is_error(answer, 400)
    assert "file_content" in answer.json()["error"]


@pytest.mark.row("A162")
def test_file_and_pipeline_are_both_needed(client: httpx.Client) -> None:
    file = {"file": ("seed.json", b"[]")}

    answers = [
        client.post("/api/generate", files=file),
        client.post("/api/generate", data={"pipeline_id": 1}),
        client.post("/api/generate", files=file, data={"pipeline_id": "one"}),
    ]

    assert all(_is_error(answer, 422) for answer in answers)


@pytest.mark.row("A163")
def test_more_than_ten_megabytes_are_refused(server: Server) -> None:
    content = json.dumps([{"metadata": {"x": "y" * (10 * 2**20)}}]).encode()

    assert _is_error(server.upload(server.create(CHECK), content), 413)


@pytest.mark.row("A164", "A184")
def test_a_second_job_waits_its_turn(server: Server) -> None:
    number = server.create(_slow(0.05))
    first = server.begin(number, _seeds(10), concurrency=1)
    server.wait(first, "running")

    second = server.begin(number, _seeds(2))

    assert server.job(second)["status"] == "queued"
    assert server.wait(second)["status"] == "completed"
    assert server.job(first)["status"] == "completed"


@pytest.mark.row("A165")
def test_an_unknown_pipeline_is_a_404(server: Server) -> None:
    assert _is_error(server.upload(999_999, _seeds(1)), 404, "pipeline not found")


@pytest.mark.row("A142", "A11")
def test_an_unknown_block_is_refused_before_the_job_exists(server: Server) -> None:
    answer = server.upload(server.create({"type": "LLMBlock"}), _seeds(1))

    assert _is_error(answer, 400, "Block 'LLMBlock' not found")


@pytest.mark.row("A166", "A190")
def test_a_single_object_is_one_seed(server: Server) -> None:
    job = server.run(server.create(CHECK), {"metadata": {"text": "x", "deep": {"a": [1]}}})

    assert [record["metadata"] for record in server.records(job["id"])] == [{"text": "x", "deep": {"a": [1]}}]


@pytest.mark.row("A167", "A168")
def test_repetitions_count_and_what_is_no_number_is_one(server: Server) -> None:
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
    job = server.run(server.create(CHECK), _seeds(3, text="x"))

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
    job_id = server.begin(server.create(_slow(0.03), CHECK), _seeds(20, text="x"), concurrency=2)

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


@pytest.mark.row("A42", "A175")
def test_a_job_is_the_same_after_a_restart(server: Server, asked: list[dict[str, Any]]) -> None:
    number = server.create(ECHO, {"type": "BoomBlock", "config": {"word": "t1"}})
    before = server.run(number, _seeds(3))

    server.stop()
    server.start()

    assert server.job(before["id"]) == before
    assert (before["records_failed"], before["usage"]["total_tokens"]) == (1, 30)


@pytest.mark.row("A176", "A36", "D16")
def test_a_seed_that_fails_is_a_failed_record_and_no_failed_job(server: Server) -> None:
    seeds = [{"metadata": {"text": text}} for text in ("a", "b", "bad", "c", "d")]

    job = server.run(server.create(CHECK, {"type": "BoomBlock", "config": {"word": "bad"}}), seeds)

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
        {"type": "MarkdownMultiplierBlock"},
        {"type": "JSONValidatorBlock", "config": {"field_name": "content", "strict": False}},
        {"type": "BoomBlock", "config": {"word": "'content': '# H2"}},
    )

    job = server.run(number, text.encode(), "seed.md")

    assert (job["records_generated"], job["records_failed"]) == (4, 1)


@pytest.mark.row("A177")
def test_a_job_that_cannot_run_at_all_has_failed_and_says_why(server: Server) -> None:
    file = server.folder / "user_blocks" / "gone.py"
    file.write_text(
        (server.folder / "user_blocks" / "trial.py").read_text().replace("SlowBlock", "GoneBlock")
    )
    server.stop()
    server.start()
    job_id = server.begin(server.create({"type": "GoneBlock", "config": {"seconds": 60}}), _seeds(1))
    server.wait(job_id, "running")

    file.unlink()
    server.stop()
    server.start()

    job = server.wait(job_id)
    assert (job["status"], job["error"]) == ("failed", "Block 'GoneBlock' not found")
    assert job["completed_at"]


@pytest.mark.row("A178")
def test_the_active_job_is_the_one_that_runs(server: Server) -> None:
    job_id = server.begin(server.create(_slow(0.05)), _seeds(6), concurrency=1)
    server.wait(job_id, "running")

    during = server.client.get("/api/jobs/active")
    server.wait(job_id)
    after = server.client.get("/api/jobs/active")

    assert during.json()["id"] == job_id
    assert _is_error(after, 404, "no active job")


@pytest.mark.row("A179")
def test_jobs_are_listed_newest_first_ten_at_most(server: Server) -> None:
    number = server.create(CHECK)
    made = [server.begin(number, _seeds(1)) for _ in range(11)]
    for job_id in made:
        server.wait(job_id)
    other = server.run(server.create(CHECK), _seeds(1))["id"]

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
def test_an_unknown_job_is_a_404_and_no_number_a_422(client: httpx.Client, method: str, path: str) -> None:
    assert _is_error(client.request(method, f"/api/jobs/999999{path}"), 404, "job not found")
    assert _is_error(client.request(method, f"/api/jobs/x{path}"), 422)


@pytest.mark.row("A181", "A182", "A184")
def test_cancelling_ends_a_job_and_keeps_what_is_finished(server: Server) -> None:
    number = server.create(_slow(0.1))
    job_id = server.begin(number, _seeds(50), concurrency=1)
    server.wait(job_id, until=lambda job: job["records_generated"] >= 2)

    answer = server.client.delete(f"/api/jobs/{job_id}")
    job, kept = server.job(job_id), len(server.records(job_id))
    next_job = server.run(number, _seeds(2))

    assert (answer.status_code, answer.json()) == (200, {"message": "Job cancelled"})
    assert job["status"] == "cancelled"
    assert job["completed_at"]
    assert 2 <= kept < 50
    assert kept == job["records_generated"]
    assert next_job["status"] == "completed"
    assert len(server.records(job_id)) == kept


@pytest.mark.row("A181")
def test_a_job_that_waits_is_cancelled_without_having_run(server: Server) -> None:
    number = server.create(_slow(0.05))
    first = server.begin(number, _seeds(10), concurrency=1)
    second = server.begin(number, _seeds(1))

    answer = server.client.delete(f"/api/jobs/{second}")

    assert answer.status_code == 200
    assert server.job(second)["status"] == "cancelled"
    assert server.wait(first)["status"] == "completed"
    assert server.records(second) == []


@pytest.mark.row("D13")
@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry"])
def test_a_job_that_has_ended_stays_as_it_is(server: Server, verb: str) -> None:
    before = server.run(server.create(CHECK), _seeds(1, text="x"))
    path = f"/api/jobs/{before['id']}"

    answer = server.client.delete(path) if verb == "cancel" else server.client.post(f"{path}/{verb}")

    assert _is_error(answer, 409)
    assert server.job(before["id"]) == before


@pytest.mark.row("D14")
def test_a_paused_job_rests_over_a_restart_and_goes_on_when_told(
    server: Server, asked: list[dict[str, Any]], provider: Model
) -> None:
    provider.server.latency = 0.05
    job_id = server.begin(server.create(ECHO), _seeds(40, run="paused"), concurrency=2)
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
def test_a_job_that_was_running_goes_on_by_itself_after_a_restart(
    server: Server, asked: list[dict[str, Any]], provider: Model
) -> None:
    provider.server.latency = 0.05
    job_id = server.begin(server.create(ECHO), _seeds(40, run="restarted"), concurrency=2)
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
    job = server.run(server.create(ECHO), _seeds(5, run="retry"), concurrency=1)
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
    number = server.create({"type": "BoomBlock", "config": {"word": "bad"}}, {"type": "ScoreBlock"})
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
    job = server.run(server.create({"type": "BoomBlock"}), _seeds(200))

    assert job["status"] == "stopped"
    assert "Connection timeout" in job["error"]
    assert job["records_failed"] < 200


@pytest.mark.row("A209")
def test_the_old_route_answers_when_all_is_done(server: Server) -> None:
    number = server.create({"type": "BoomBlock", "config": {"word": "bad"}})
    content = json.dumps([{"metadata": {"text": text}} for text in ("a", "bad", "b")]).encode()

    answer = server.client.post(
        "/api/generate_from_file", files={"file": ("seed.json", content)}, data={"pipeline_id": number}
    ).json()

    assert (answer["total"], answer["success"], answer["failed"]) == (3, 2, 1)


@pytest.mark.row("A149")
def test_deleting_a_pipeline_ends_its_job_and_takes_it_along(server: Server) -> None:
    number = server.create(_slow(0.1))
    job_id = server.begin(number, _seeds(50), concurrency=1)
    server.wait(job_id, until=lambda job: job["records_generated"] >= 1)

    answer = server.client.delete(f"/api/pipelines/{number}")

    assert answer.json() == {"success": True}
    assert _is_error(server.client.get(f"/api/jobs/{job_id}"), 404, "job not found")
    assert server.records(job_id) == []
    assert server.run(server.create(CHECK), _seeds(1))["status"] == "completed"


@pytest.mark.row("A38", "A39", "A40", "A42")
@pytest.mark.parametrize(("blocks", "calls", "failed"), [([ECHO], 3, 0), ([ECHO, ECHO], 6, 0)])
def test_usage_is_that_of_all_calls(
    server: Server, asked: list[dict[str, Any]], blocks: list[dict[str, Any]], calls: int, failed: int
) -> None:
    job = server.run(server.create(*blocks), _seeds(3), fresh=True)

    usage = job["usage"]
    assert (usage["total_input_tokens"], usage["total_output_tokens"]) == (7 * calls, 3 * calls)
    assert (usage["total_cached_tokens"], usage["total_tokens"]) == (0, 10 * calls)
    assert usage["llm_calls"] == calls
    assert usage["end_time"] >= usage["start_time"]


@pytest.mark.row("A40")
def test_calls_of_failed_records_are_counted(server: Server, asked: list[dict[str, Any]]) -> None:
    job = server.run(server.create(ECHO, {"type": "BoomBlock"}), _seeds(3), fresh=True)

    assert (job["records_failed"], job["usage"]["total_tokens"]) == (3, 30)


@pytest.mark.row("A41")
def test_cached_tokens_are_counted(server: Server, asked: list[dict[str, Any]], provider: Model) -> None:
    provider.server.answer = lambda body: Reply("x", cached_tokens=4)

    job = server.run(server.create(ECHO), _seeds(2), fresh=True)

    assert job["usage"]["total_cached_tokens"] == 8


@pytest.mark.row("A45", "A50", "A51", "D7")
@pytest.mark.parametrize("concurrency", [None, 1, 16])
def test_a_limit_is_passed_by_no_more_than_a_record(
    server: Server, asked: list[dict[str, Any]], concurrency: int | None
) -> None:
    number = server.create(ECHO, constraints={"max_total_tokens": 25})
    options: dict[str, Any] = {} if concurrency is None else {"concurrency": concurrency}

    job = server.run(number, _seeds(5), fresh=True, **options)

    assert (job["status"], job["error"]) == ("stopped", "Constraint exceeded: max_total_tokens")
    assert len(server.records(job["id"])) == job["records_generated"] == 3
    assert job["progress"] < 1.0
    assert job["completed_at"]
    assert server.run(server.create(CHECK), _seeds(1))["status"] == "completed"


@pytest.mark.row("A46")
def test_a_limit_of_zero_allows_one_record(server: Server, asked: list[dict[str, Any]]) -> None:
    job = server.run(server.create(ECHO, constraints={"max_total_tokens": 0}), _seeds(5), fresh=True)

    assert (job["status"], job["records_generated"]) == ("stopped", 1)


@pytest.mark.row("A44", "A45")
@pytest.mark.parametrize("limit", [-1, None])
def test_minus_one_and_null_are_no_limit(
    server: Server, asked: list[dict[str, Any]], limit: int | None
) -> None:
    job = server.run(server.create(ECHO, constraints={"max_total_tokens": limit}), _seeds(5), fresh=True)

    assert (job["status"], job["records_generated"]) == ("completed", 5)


@pytest.mark.row("A47")
def test_the_first_limit_in_the_order_of_the_contract_is_named(
    server: Server, asked: list[dict[str, Any]]
) -> None:
    limits = {"max_total_output_tokens": 3, "max_total_input_tokens": 7, "max_total_execution_time": 0}

    job = server.run(server.create(ECHO, constraints=limits), _seeds(5), fresh=True)

    assert job["error"] == "Constraint exceeded: max_total_input_tokens"


@pytest.mark.row("A48")
def test_time_is_a_limit_too(server: Server) -> None:
    number = server.create(_slow(0.3), constraints={"max_total_execution_time": 0.3})

    job = server.run(number, _seeds(10))

    assert (job["status"], job["error"]) == ("stopped", "Constraint exceeded: max_total_execution_time")
    assert job["records_generated"] in {1, 2}


@pytest.mark.row("A49")
def test_children_are_held_to_the_limit_one_by_one(server: Server, asked: list[dict[str, Any]]) -> None:
    text = "\n".join(f"# H{number}\ntext\n" for number in range(10))
    number = server.create(
        {"type": "MarkdownMultiplierBlock"},
        {"type": "TextGenerator", "config": {"user_prompt": "{{ content }}"}},
        constraints={"max_total_tokens": 25},
    )

    job = server.run(number, text.encode(), "seed.md", fresh=True)

    assert (job["status"], job["records_generated"]) == ("stopped", 3)


@pytest.mark.row("A52")
@pytest.mark.parametrize("limit", ["25", "many", [], {}, True])
def test_a_limit_that_is_no_number_is_refused_when_it_is_saved(client: httpx.Client, limit: Any) -> None:
    body = {"name": "P", "blocks": [CHECK], "constraints": {"max_total_tokens": limit}}

    assert _is_error(client.post("/api/pipelines", json=body), 400)


def test_money_is_a_limit_and_a_job_goes_on_when_it_is_raised_without_paying_twice(
    server: Server, asked: list[dict[str, Any]]
) -> None:
    step = {"type": "TextGenerator", "config": {"user_prompt": "{{ topic }}", "model": "gpt-4o-mini"}}
    number = server.create(step, constraints={"max_total_cost": 0.000007})
    stopped = server.run(number, _seeds(8, run="money"))
    records = server.records(stopped["id"])
    body = {"name": "P", "blocks": [step], "constraints": {"max_total_cost": 1}}

    server.client.put(f"/api/pipelines/{number}", json=body)
    server.client.post(f"/api/jobs/{stopped['id']}/resume")
    job = server.wait(stopped["id"], "completed")

    assert (stopped["status"], stopped["error"]) == ("stopped", "Constraint exceeded: max_total_cost")
    assert (stopped["records_generated"], stopped["usage"]["llm_calls"]) == (3, 3)
    assert 0.000007 <= stopped["usage"]["total_cost"] < 0.00001
    assert (job["records_generated"], len(asked), job["pipeline_version"]) == (8, 8, 1)
    assert {record["id"] for record in records} <= {record["id"] for record in server.records(job["id"])}


def test_a_job_that_stays_over_its_limit_stops_again_without_a_call(
    server: Server, asked: list[dict[str, Any]]
) -> None:
    number = server.create(ECHO, constraints={"max_total_tokens": 25})
    job = server.run(number, _seeds(5, run="over"))

    server.client.post(f"/api/jobs/{job['id']}/resume")
    again = server.wait(job["id"], "stopped", until=lambda job: job["status"] == "stopped")

    assert (again["records_generated"], len(asked)) == (3, 3)


def _read_events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
            continue
        if "data" in event:
            yield {**event, "data": json.loads(event["data"])}
        event = {}


def test_a_job_is_watched_to_its_end(server: Server) -> None:
    job_id = server.begin(server.create(_slow(0.1)), _seeds(20), concurrency=2)
    path = f"/api/jobs/{job_id}/events"

    with server.client.stream("GET", path) as answer:
        events = list(_read_events(answer))
    end = {"last-event-id": events[-1]["id"]}
    over = server.client.get(path, headers=end)
    with server.client.stream("GET", path) as again:
        late = list(_read_events(again))

    ids = [int(event["id"]) for event in events]
    made = [event["data"]["records_generated"] for event in events]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert {event["event"] for event in events[:-1]} == {"progress"}
    assert events[-1]["event"] == "end"
    assert events[-1]["data"] == server.job(job_id)
    assert ids == sorted(set(ids))
    assert made == sorted(made)
    assert len(made) >= 3
    assert over.status_code == 204
    assert [event["event"] for event in late] == ["end"]


def test_whoever_comes_back_gets_the_present_state_and_the_end(server: Server) -> None:
    job_id = server.begin(server.create(_slow(0.1)), _seeds(20), concurrency=2)
    path = f"/api/jobs/{job_id}/events"
    with server.client.stream("GET", path) as answer:
        first = next(_read_events(answer))
    server.wait(job_id)

    with server.client.stream("GET", path, headers={"last-event-id": first["id"]}) as answer:
        rest = list(_read_events(answer))

    assert [event["event"] for event in rest] == ["end"]
    assert int(rest[0]["id"]) > int(first["id"])


@pytest.mark.parametrize("last", ["", "x", "-1", "9" * 40, "²"])
def test_an_odd_last_event_id_is_no_reason_to_fail(server: Server, last: str) -> None:
    job = server.run(server.create(CHECK), _seeds(1))
    headers = {b"last-event-id": last.encode()}

    with server.client.stream("GET", f"/api/jobs/{job['id']}/events", headers=headers) as answer:
        events = list(_read_events(answer))

    assert [event["event"] for event in events] == ["end"]


def test_a_watcher_does_not_keep_the_service_from_stopping(server: Server) -> None:
    job_id = server.begin(server.create(_slow(0.2)), _seeds(30), concurrency=1)
    with httpx.stream("GET", f"{server.url}/api/jobs/{job_id}/events", timeout=60, trust_env=False) as answer:
        events = _read_events(answer)
        next(events)

        status = server.stop()

        list(events)
    server.start()
    server.client.delete(f"/api/jobs/{job_id}")
    assert status == 0

"""Section 2 of the contract: usage and limits of jobs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from conformance.conftest import Model, Server
from conformance.helpers import CHECK, ECHO, MULTIPLY, is_error, slow, topics
from penstock.testing import Reply

pytestmark = pytest.mark.xdist_group("conformance_job_limits_api")  # one server for all of them


@pytest.mark.row("A38", "A39", "A40", "A42")
@pytest.mark.parametrize(("blocks", "calls", "failed"), [([ECHO], 3, 0), ([ECHO, ECHO], 6, 0)])
def test_usage_is_that_of_all_calls(
    server: Server, asked: list[dict[str, Any]], blocks: list[dict[str, Any]], calls: int, failed: int
) -> None:
    job = server.run(server.create(*blocks), topics(3), fresh=True)

    usage = job["usage"]
    assert (usage["total_input_tokens"], usage["total_output_tokens"]) == (7 * calls, 3 * calls)
    assert (usage["total_cached_tokens"], usage["total_tokens"]) == (0, 10 * calls)
    assert usage["llm_calls"] == calls
    assert usage["end_time"] >= usage["start_time"]


@pytest.mark.row("A40")
def test_calls_of_failed_records_are_counted(server: Server, asked: list[dict[str, Any]]) -> None:
    job = server.run(server.create(ECHO, {"type": "BoomBlock"}), topics(3), fresh=True)

    assert (job["records_failed"], job["usage"]["total_tokens"]) == (3, 30)


@pytest.mark.row("A41")
def test_cached_tokens_are_counted(server: Server, asked: list[dict[str, Any]], provider: Model) -> None:
    provider.server.answer = lambda body: Reply("x", cached_tokens=4)

    job = server.run(server.create(ECHO), topics(2), fresh=True)

    assert job["usage"]["total_cached_tokens"] == 8


@pytest.mark.row("A45", "A50", "A51", "D7")
@pytest.mark.parametrize("concurrency", [None, 1, 16])
def test_usage_passes_a_limit_by_at_most_one_record(
    server: Server, asked: list[dict[str, Any]], concurrency: int | None
) -> None:
    number = server.create(ECHO, constraints={"max_total_tokens": 25})
    options: dict[str, Any] = {} if concurrency is None else {"concurrency": concurrency}

    job = server.run(number, topics(5), fresh=True, **options)

    assert (job["status"], job["error"]) == ("stopped", "Constraint exceeded: max_total_tokens")
    assert len(server.records(job["id"])) == job["records_generated"] == 3
    assert job["progress"] < 1.0
    assert job["completed_at"]
    assert server.run(server.create(CHECK), topics(1))["status"] == "completed"


@pytest.mark.row("A46")
def test_a_limit_of_zero_allows_one_record(server: Server, asked: list[dict[str, Any]]) -> None:
    job = server.run(server.create(ECHO, constraints={"max_total_tokens": 0}), topics(5), fresh=True)

    assert (job["status"], job["records_generated"]) == ("stopped", 1)


@pytest.mark.row("A44", "A45")
@pytest.mark.parametrize("limit", [-1, None])
def test_minus_one_and_null_are_no_limit(
    server: Server, asked: list[dict[str, Any]], limit: int | None
) -> None:
    job = server.run(server.create(ECHO, constraints={"max_total_tokens": limit}), topics(5), fresh=True)

    assert (job["status"], job["records_generated"]) == ("completed", 5)


@pytest.mark.row("A47")
def test_the_first_limit_in_the_order_of_the_contract_is_named(
    server: Server, asked: list[dict[str, Any]]
) -> None:
    limits = {"max_total_output_tokens": 3, "max_total_input_tokens": 7, "max_total_execution_time": 0}

    job = server.run(server.create(ECHO, constraints=limits), topics(5), fresh=True)

    assert job["error"] == "Constraint exceeded: max_total_input_tokens"


@pytest.mark.row("A48")
def test_time_is_a_limit_too(server: Server) -> None:
    number = server.create(slow(0.3), constraints={"max_total_execution_time": 0.3})

    job = server.run(number, topics(10))

    assert (job["status"], job["error"]) == ("stopped", "Constraint exceeded: max_total_execution_time")
    assert job["records_generated"] in {1, 2}


@pytest.mark.row("A49")
def test_the_limit_is_checked_after_each_child(server: Server, asked: list[dict[str, Any]]) -> None:
    text = "\n".join(f"# H{number}\ntext\n" for number in range(10))
    number = server.create(
        MULTIPLY,
        {"type": "TextGenerator", "config": {"user_prompt": "{{ content }}"}},
        constraints={"max_total_tokens": 25},
    )

    job = server.run(number, text.encode(), "seed.md", fresh=True)

    assert (job["status"], job["records_generated"]) == ("stopped", 3)


@pytest.mark.row("A52")
@pytest.mark.parametrize("limit", ["25", "many", [], {}, True])
def test_a_limit_that_is_no_number_is_refused_when_it_is_saved(client: httpx.Client, limit: Any) -> None:
    body = {"name": "P", "blocks": [CHECK], "constraints": {"max_total_tokens": limit}}

    assert is_error(client.post("/api/pipelines", json=body), 400)


def test_a_job_over_its_cost_limit_resumes_when_it_is_raised_without_paying_twice(
    server: Server, asked: list[dict[str, Any]]
) -> None:
    step = {"type": "TextGenerator", "config": {"user_prompt": "{{ topic }}", "model": "gpt-4o-mini"}}
    number = server.create(step, constraints={"max_total_cost": 0.000007})
    stopped = server.run(number, topics(8, run="money"))
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


def test_a_job_still_over_its_limit_stops_again_without_a_model_call(
    server: Server, asked: list[dict[str, Any]]
) -> None:
    number = server.create(ECHO, constraints={"max_total_tokens": 25})
    job = server.run(number, topics(5, run="over"))

    server.client.post(f"/api/jobs/{job['id']}/resume")
    again = server.wait(job["id"], "stopped", until=lambda job: job["status"] == "stopped")

    assert (again["records_generated"], len(asked)) == (3, 3)

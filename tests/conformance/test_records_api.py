"""Section 9 of the contract: records."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from conformance.conftest import Server
from conformance.helpers import ECHO, fail_on, is_error

pytestmark = pytest.mark.xdist_group("conformance_records_api")  # one server for all of them
SCORE: dict[str, Any] = {"type": "ScoreBlock"}


@pytest.fixture(scope="module")
def echoed(server: Server) -> int:
    """A job of four echoes that no test changes."""
    return _echo(server)


@pytest.fixture(scope="module")
def scored(server: Server) -> int:
    """A job of 300 records with scores from 0 to 299, and one without a number, that no test changes."""
    seeds: list[dict[str, Any]] = [{"metadata": {"n": number}} for number in range(300)]
    return int(server.run(server.create(SCORE), [*seeds, {"metadata": {"n": "none"}}])["id"])


def _echo(server: Server, count: int = 4) -> int:
    seeds = [{"metadata": {"topic": f"t{number}"}} for number in range(count)]
    return int(server.run(server.create(ECHO), seeds)["id"])


def _lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.row("A187", "A188", "A189", "A190", "A191")
def test_a_record_has_all_its_fields(server: Server, echoed: int) -> None:
    record = server.records(echoed)[-1]

    assert record.keys() >= {
        "id",
        "output",
        "metadata",
        "status",
        "trace",
        "created_at",
        "updated_at",
        "pipeline_id",
        "job_id",
    }
    assert (record["output"], record["metadata"], record["status"]) == (
        "echo: hi t0",
        {"topic": "t0"},
        "pending",
    )
    assert record["trace"][0].keys() >= {
        "block_type",
        "input",
        "output",
        "accumulated_state",
        "execution_time",
    }
    assert record["trace"][0]["output"]["assistant"] == "echo: hi t0"


@pytest.mark.row("D2")
@pytest.mark.parametrize(("n", "text"), [({"a": 1}, '{"a":1}'), (True, "true"), (1.5, "1.5"), ("x", "x")])
def test_an_output_that_is_no_text_is_json(server: Server, n: Any, text: str) -> None:
    job = server.run(server.create(SCORE), [{"metadata": {"n": n}}])

    assert server.records(job["id"])[0]["output"] == text


@pytest.mark.row("A192", "A250")
def test_a_page_is_an_array_of_a_hundred_newest_first(server: Server, scored: int) -> None:
    page = server.client.get("/api/records", params={"job_id": scored}).json()

    ids = [record["id"] for record in page]
    assert len(page) == 100
    assert ids == sorted(ids, reverse=True)
    assert server.client.get("/api/records/counts", params={"job_id": scored}).json()["total"] == 301


@pytest.mark.row("A193")
def test_filters_combine(server: Server) -> None:
    job_id = _echo(server)
    record = server.records(job_id)[1]
    server.client.put(f"/api/records/{record['id']}", json={"status": "accepted"})

    found = server.records(job_id, status="accepted", pipeline_id=record["pipeline_id"])
    several = server.records(job_id, status=["accepted", "edited"])
    elsewhere = server.records(job_id, status="accepted", pipeline_id=record["pipeline_id"] + 1000)
    second = server.records(job_id, limit=2, offset=1)

    assert [one["id"] for one in found] == [one["id"] for one in several] == [record["id"]]
    assert elsewhere == []
    assert [one["id"] for one in second] == [one["id"] for one in server.records(job_id)[1:3]]


def test_records_are_found_by_text_and_by_any_field(server: Server, scored: int, echoed: int) -> None:
    by_text = server.records(echoed, text="HI T2")
    by_metadata = server.records(scored, field="n", equals="7")
    by_text_field = server.records(scored, field="n", equals="none")
    as_text = server.records(scored, field="n", equals='"7"')
    by_range = server.records(scored, field="score", min=10, max=12)

    assert [record["output"] for record in by_text] == ["echo: hi t2"]
    assert [record["output"] for record in by_metadata] == ["7"]
    assert [record["output"] for record in by_text_field] == ["none"]
    assert as_text == []
    assert [record["output"] for record in by_range] == ["12", "11", "10"]


@pytest.mark.parametrize(
    ("sort", "first", "last"),
    [
        ("id", "", ""),
        ("-id", "", ""),
        ("created_at", "", ""),
        ("-updated_at", "", ""),
        ("score", "0", "none"),
        ("-score", "299", "none"),
    ],
)
def test_pages_by_cursor_hold_each_record_once_in_any_order(
    server: Server, scored: int, sort: str, first: str, last: str
) -> None:
    whole = [record["id"] for record in server.records(scored, sort=sort, trace=False)]
    params: dict[str, Any] = {"job_id": scored, "sort": sort, "limit": 70, "trace": False}
    pages: list[dict[str, Any]] = []
    address: str | None = str(httpx.URL("/api/records", params=params))

    while address is not None:
        answer = server.client.get(address)
        pages += answer.json()
        address = answer.links["next"]["url"] if "next" in answer.links else None
        assert ("x-next-cursor" in answer.headers) == (address is not None)

    assert [record["id"] for record in pages] == whole
    assert len(set(whole)) == 301
    if first:
        assert (pages[0]["output"], pages[-1]["output"]) == (first, last)


def test_a_page_can_begin_below_an_id(server: Server, scored: int) -> None:
    page = server.records(scored, limit=3)

    below = server.records(scored, limit=3, before_id=page[-1]["id"])

    assert [record["output"] for record in below] == [
        record["output"] for record in server.records(scored, limit=3, offset=3)
    ]


def test_without_traces_a_record_shows_its_last_state(server: Server, echoed: int) -> None:
    record = server.records(echoed, trace=False)[0]

    assert "trace" not in record
    assert record["accumulated_state"]["assistant"] == "echo: hi t3"


@pytest.mark.row("A194")
@pytest.mark.parametrize("where", ["/api/records", "/api/export", "/api/records/counts"])
def test_a_status_that_does_not_exist_is_refused_with_those_that_do(client: httpx.Client, where: str) -> None:
    answer = client.get(where, params={"status": "good"})

    assert is_error(answer, 422)
    assert all(status in answer.text for status in ("pending", "accepted", "rejected", "edited"))


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": "x"},
        {"offset": -1},
        {"job_id": "x"},
        {"min": "nan", "field": "a"},
        {"min": "x", "field": "a"},
        {"job_id": 2**70},
    ],
)
def test_numbers_out_of_bounds_are_refused(client: httpx.Client, params: dict[str, Any]) -> None:
    assert is_error(client.get("/api/records", params=params), 422)


@pytest.mark.parametrize(
    "params",
    [
        {"cursor": "x"},
        {"cursor": "W10"},
        {"cursor": "WyJpZCIsdHJ1ZSxmYWxzZSxudWxsLDMwMDBd", "sort": "score"},
        {"min": 1},
        {"equals": "x"},
        {"sort": ""},
        {"sort": "-"},
        {"before_id": 5, "sort": "score"},
    ],
)
def test_contradicting_parameters_are_refused(client: httpx.Client, params: dict[str, Any]) -> None:
    assert is_error(client.get("/api/records", params=params), 400)


@pytest.mark.row("A195", "A200")
def test_a_record_is_read_alone_and_an_unknown_one_is_a_404(server: Server, echoed: int) -> None:
    record = server.records(echoed)[0]

    alone = server.client.get(f"/api/records/{record['id']}")

    assert alone.json() == record
    assert is_error(server.client.get("/api/records/999999"), 404, "record not found")
    assert is_error(
        server.client.put("/api/records/999999", json={"status": "accepted"}), 404, "record not found"
    )
    assert is_error(server.client.get("/api/records/999999/history"), 404, "record not found")
    assert is_error(server.client.get("/api/records/x"), 422)


@pytest.mark.row("A196")
def test_accepting_a_record_moves_its_time(server: Server) -> None:
    before = server.records(_echo(server, 1))[0]

    answer = server.client.put(f"/api/records/{before['id']}", json={"status": "accepted"})

    now = server.client.get(f"/api/records/{before['id']}").json()
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert now["status"] == "accepted"
    assert now["updated_at"] > before["updated_at"]
    assert now["created_at"] == before["created_at"]


@pytest.mark.row("A197", "A198", "A247")
def test_output_metadata_and_fields_of_the_state_can_be_edited(server: Server) -> None:
    record = server.records(job_id := _echo(server, 1))[0]
    edit = {"output": "edited", "status": "edited", "metadata": {"topic": "z"}, "assistant": "new"}

    server.client.put(f"/api/records/{record['id']}", json=edit)

    now = server.client.get(f"/api/records/{record['id']}").json()
    line = _lines(server.client.get("/api/export", params={"job_id": job_id}))[0]
    assert (now["output"], now["status"], now["metadata"]) == ("edited", "edited", {"topic": "z"})
    assert now["trace"][-1]["accumulated_state"]["assistant"] == "new"
    assert now["trace"][-1]["output"]["assistant"] == "echo: hi t0"
    assert (line["accumulated_state"]["assistant"], line["metadata"]) == ("new", {"topic": "z"})


@pytest.mark.row("A199", "A200")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"status": "good"}, 422),
        ({"status": "failed"}, 422),
        ({"metadata": 5}, 422),
        ([], 422),
        ("x", 422),
    ],
)
def test_an_invalid_edit_is_refused(server: Server, echoed: int, body: Any, status: int) -> None:
    record = server.records(echoed)[0]

    answer = server.client.put(f"/api/records/{record['id']}", json=body)

    assert is_error(answer, status)
    assert server.client.get(f"/api/records/{record['id']}").json() == record


def test_edits_are_kept_and_undone_one_by_one(server: Server) -> None:
    record = server.records(_echo(server, 1))[0]
    path = f"/api/records/{record['id']}"
    server.client.put(path, json={"status": "edited", "output": "two"})
    server.client.put(path, json={"assistant": "three"})

    history = server.client.get(f"{path}/history").json()
    once = server.client.post(f"{path}/undo").json()
    twice = server.client.post(f"{path}/undo").json()
    nothing_left = server.client.post(f"{path}/undo")

    assert [entry["status"] for entry in history] == ["edited", "pending"]
    assert history[1]["output"] == "echo: hi t0"
    assert (once["output"], once["trace"][-1]["accumulated_state"]["assistant"]) == ("two", "echo: hi t0")
    assert {**twice, "updated_at": ""} == {**record, "updated_at": ""}
    assert is_error(nothing_left, 404)


def test_a_bulk_change_sets_a_status_that_can_be_undone_record_by_record(server: Server) -> None:
    seeds = [{"metadata": {"n": number}} for number in range(10)]
    number = server.create(SCORE, fail_on("'n': 9"))
    job_id = server.run(number, seeds)["id"]
    matching = {"job_id": job_id, "field": "score", "min": 6}

    some = server.client.post("/api/records/bulk", json={"status": "accepted", "filter": matching})
    rest = server.client.post(
        "/api/records/bulk", json={"status": "rejected", "filter": {"job_id": job_id, "status": ["pending"]}}
    )
    counts = server.client.get("/api/records/counts", params={"job_id": job_id}).json()
    one = server.records(job_id, status="accepted")[0]
    undone = server.client.post(f"/api/records/{one['id']}/undo").json()

    assert (some.json(), rest.json()) == ({"changed": 3}, {"changed": 6})
    assert counts == {"pending": 0, "accepted": 3, "rejected": 6, "edited": 0, "failed": 1, "total": 10}
    assert undone["status"] == "pending"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "accepted"},
        {"status": "failed", "filter": {}},
        {"status": "accepted", "filter": {"nope": 1}},
        {"status": "accepted", "filter": {"status": ["good"]}},
    ],
)
def test_a_bulk_change_needs_a_valid_filter(client: httpx.Client, body: dict[str, Any]) -> None:
    assert is_error(client.post("/api/records/bulk", json=body), 422)


@pytest.mark.row("A201")
def test_deleting_a_jobs_records_deletes_the_job(server: Server) -> None:
    job_id, other = _echo(server, 2), _echo(server, 1)

    answer = server.client.delete("/api/records", params={"job_id": job_id})

    assert (answer.status_code, answer.json()) == (200, {"deleted": 2})
    assert is_error(server.client.get(f"/api/jobs/{job_id}"), 404, "job not found")
    assert server.records(job_id) == []
    assert len(server.records(other)) == 1


@pytest.mark.row("A201")
def test_deleting_the_records_of_a_running_job_ends_it_first(server: Server) -> None:
    number = server.create({"type": "SlowBlock", "config": {"seconds": 0.1}})
    job_id = server.begin(number, [{"repetitions": 50, "metadata": {}}], concurrency=1)
    server.wait(job_id, until=lambda job: job["records_generated"] >= 2)

    deleted = server.client.delete("/api/records", params={"job_id": job_id}).json()["deleted"]

    assert 2 <= deleted < 50
    assert is_error(server.client.get(f"/api/jobs/{job_id}"), 404)
    assert server.records(job_id) == []


@pytest.mark.row("A202")
def test_deleting_all_records_keeps_the_jobs(server: Server) -> None:
    job_id = _echo(server, 2)

    answer = server.client.delete("/api/records")

    assert answer.json()["deleted"] >= 2
    assert server.client.get("/api/records").json() == []
    assert server.job(job_id)["status"] == "completed"

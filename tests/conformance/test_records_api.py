"""Section 9 of the contract: records and exports."""

from __future__ import annotations

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pyarrow.parquet
import pytest

from conformance.conftest import Server

pytestmark = pytest.mark.xdist_group("conformance_records")  # one server for all of them
ECHO: dict[str, Any] = {"type": "TextGenerator", "config": {"user_prompt": "hi {{ topic }}"}}
SCORE: dict[str, Any] = {"type": "ScoreBlock"}


def _is_error(answer: httpx.Response, status: int, message: str | None = None) -> bool:
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert body.keys() == {"error", "detail"}
    assert message is None or body["error"] == message
    return True


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

    assert _is_error(answer, 422)
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
    assert _is_error(client.get("/api/records", params=params), 422)


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
def test_what_makes_no_sense_together_is_refused(client: httpx.Client, params: dict[str, Any]) -> None:
    assert _is_error(client.get("/api/records", params=params), 400)


@pytest.mark.row("A195", "A200")
def test_a_record_is_read_alone_and_an_unknown_one_is_a_404(server: Server, echoed: int) -> None:
    record = server.records(echoed)[0]

    alone = server.client.get(f"/api/records/{record['id']}")

    assert alone.json() == record
    assert _is_error(server.client.get("/api/records/999999"), 404, "record not found")
    assert _is_error(
        server.client.put("/api/records/999999", json={"status": "accepted"}), 404, "record not found"
    )
    assert _is_error(server.client.get("/api/records/999999/history"), 404, "record not found")
    assert _is_error(server.client.get("/api/records/x"), 422)


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
def test_an_edit_that_is_none_is_refused(server: Server, echoed: int, body: Any, status: int) -> None:
    record = server.records(echoed)[0]

    answer = server.client.put(f"/api/records/{record['id']}", json=body)

    assert _is_error(answer, status)
    assert server.client.get(f"/api/records/{record['id']}").json() == record


def test_edits_are_kept_and_taken_back_one_by_one(server: Server) -> None:
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
    assert _is_error(nothing_left, 404)


def test_many_records_are_given_a_status_at_once_and_each_can_go_back(server: Server) -> None:
    seeds = [{"metadata": {"n": number}} for number in range(10)]
    number = server.create(SCORE, {"type": "BoomBlock", "config": {"word": "'n': 9"}})
    job_id = server.run(number, seeds)["id"]
    wanted = {"job_id": job_id, "field": "score", "min": 6}

    some = server.client.post("/api/records/bulk", json={"status": "accepted", "filter": wanted})
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
def test_a_bulk_change_must_say_what_it_means(client: httpx.Client, body: dict[str, Any]) -> None:
    assert _is_error(client.post("/api/records/bulk", json=body), 422)


@pytest.mark.row("A201")
def test_deleting_a_jobs_records_takes_the_job_along(server: Server) -> None:
    job_id, other = _echo(server, 2), _echo(server, 1)

    answer = server.client.delete("/api/records", params={"job_id": job_id})

    assert (answer.status_code, answer.json()) == (200, {"deleted": 2})
    assert _is_error(server.client.get(f"/api/jobs/{job_id}"), 404, "job not found")
    assert server.records(job_id) == []
    assert len(server.records(other)) == 1


@pytest.mark.row("A201")
def test_deleting_the_records_of_a_running_job_ends_it_first(server: Server) -> None:
    number = server.create({"type": "SlowBlock", "config": {"seconds": 0.1}})
    job_id = server.begin(number, [{"repetitions": 50, "metadata": {}}], concurrency=1)
    server.wait(job_id, until=lambda job: job["records_generated"] >= 2)

    deleted = server.client.delete("/api/records", params={"job_id": job_id}).json()["deleted"]

    assert 2 <= deleted < 50
    assert _is_error(server.client.get(f"/api/jobs/{job_id}"), 404)
    assert server.records(job_id) == []


@pytest.mark.row("A203", "A204", "D8")
def test_an_export_has_one_object_a_line_without_what_is_still_the_seeds(server: Server, echoed: int) -> None:
    answer = server.client.get("/api/export", params={"job_id": echoed})

    lines = _lines(answer)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert len(lines) == 4
    assert lines[0].keys() == {
        "id",
        "metadata",
        "status",
        "accumulated_state",
        "created_at",
        "updated_at",
    }
    assert lines[0]["metadata"] == {"topic": "t0"}
    assert lines[0]["accumulated_state"] == {
        "assistant": "echo: hi t0",
        "pipeline_output": "echo: hi t0",
        "system": "",
        "user": "hi t0",
    }


@pytest.mark.row("A205")
def test_exports_are_restricted_by_the_same_filters(server: Server) -> None:
    job_id = _echo(server)
    server.client.put(f"/api/records/{server.records(job_id)[0]['id']}", json={"status": "accepted"})

    pending = _lines(server.client.get("/api/export", params={"job_id": job_id, "status": "pending"}))
    accepted = _lines(server.client.get("/api/export", params={"job_id": job_id, "status": "accepted"}))
    by_text = _lines(server.client.get("/api/export", params={"job_id": job_id, "text": "t1"}))

    assert (len(pending), len(accepted), len(by_text)) == (3, 1, 1)


@pytest.mark.row("D16")
def test_failed_records_are_exported_only_when_they_are_asked_for(server: Server) -> None:
    number = server.create({"type": "BoomBlock", "config": {"word": "bad"}})
    job_id = server.run(number, [{"metadata": {"text": text}} for text in ("a", "bad")])["id"]

    usual = _lines(server.client.get("/api/export", params={"job_id": job_id}))
    failed = _lines(server.client.get("/api/export", params={"job_id": job_id, "status": "failed"}))

    assert [line["metadata"]["text"] for line in usual] == ["a"]
    assert failed[0]["error"]["error"].endswith("Connection timeout")


@pytest.mark.row("A206")
@pytest.mark.parametrize("path", ["", "/download"])
def test_an_export_of_nothing_is_empty(client: httpx.Client, path: str) -> None:
    answer = client.get(f"/api/export{path}", params={"job_id": 999_999})

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.row("A207")
@pytest.mark.parametrize(
    ("form", "name"), [("jsonl", "qa_export.jsonl"), ("csv", "qa_export.csv"), ("alpaca", "qa_export.jsonl")]
)
def test_a_download_is_the_same_with_a_name(server: Server, echoed: int, form: str, name: str) -> None:
    params: dict[str, Any] = {"job_id": echoed, "format": form}

    plain = server.client.get("/api/export", params=params)
    download = server.client.get("/api/export/download", params=params)

    assert download.content == plain.content
    assert download.headers["content-disposition"] == f'attachment; filename="{name}"'


@pytest.mark.row("A208")
def test_downloads_at_the_same_time_do_not_mix(server: Server, scored: int, echoed: int) -> None:
    def download(job_id: int) -> set[int]:
        answer = httpx.get(f"{server.url}/api/export/download", params={"job_id": job_id}, trust_env=False)
        return {line["id"] for line in _lines(answer)}

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(download, [scored, echoed, scored, echoed]))

    expected = [{record["id"] for record in server.records(job_id)} for job_id in (scored, echoed)]
    assert found == [*expected, *expected]


def test_an_export_comes_as_training_examples(server: Server, echoed: int) -> None:
    params: dict[str, Any] = {"job_id": echoed, "format": "openai"}

    lines = _lines(server.client.get("/api/export", params=params))

    assert lines[0] == {
        "messages": [
            {"role": "user", "content": "hi t0"},
            {"role": "assistant", "content": "echo: hi t0"},
        ]
    }


def test_fields_are_mapped_into_columns(server: Server, echoed: int) -> None:
    params: dict[str, Any] = {
        "job_id": echoed,
        "format": "csv",
        "map": ["question=topic", "answer=assistant"],
    }

    answer = server.client.get("/api/export", params=params)

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-type"].startswith("text/csv")
    assert rows[0] == {"question": "t0", "answer": "echo: hi t0"}
    assert len(rows) == 4


def test_an_export_comes_as_parquet(server: Server, scored: int) -> None:
    params: dict[str, Any] = {"job_id": scored, "format": "parquet", "field": "score", "max": 9}

    answer = server.client.get("/api/export/download", params=params)

    table = pyarrow.parquet.read_table(io.BytesIO(answer.content))
    assert table.column("score").to_pylist() == list(range(10))
    assert answer.headers["content-disposition"].endswith('"qa_export.parquet"')


def test_a_preview_counts_and_shows_the_first_rows(server: Server, scored: int) -> None:
    params: dict[str, Any] = {"job_id": scored, "format": "csv", "map": "s=score", "limit": 2}

    preview = server.client.get("/api/export/preview", params=params).json()

    assert preview == {"count": 301, "skipped": 0, "rows": [{"s": 0}, {"s": 1}]}


@pytest.mark.parametrize("path", ["", "/download", "/preview"])
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "openai"])
def test_an_export_that_no_record_can_fill_says_which_fields_there_are(
    server: Server, scored: int, path: str, form: str
) -> None:
    mapping = "user=nope" if form == "openai" else "a=nope"
    params: dict[str, Any] = {"job_id": scored, "format": form, "map": mapping}

    answer = server.client.get(f"/api/export{path}", params=params)

    assert _is_error(answer, 400)
    assert "nope" in answer.json()["error"]
    assert "score" in answer.json()["error"]


@pytest.mark.parametrize(
    ("params", "status"),
    [({"format": "xml"}, 422), ({"map": "nonsense"}, 400), ({"format": "openai", "map": "nope=a"}, 400)],
)
def test_formats_and_mappings_are_checked(client: httpx.Client, params: dict[str, str], status: int) -> None:
    assert _is_error(client.get("/api/export", params=params), status)


@pytest.mark.row("A202")
def test_deleting_all_records_keeps_the_jobs(server: Server) -> None:
    job_id = _echo(server, 2)

    answer = server.client.delete("/api/records")

    assert answer.json()["deleted"] >= 2
    assert server.client.get("/api/records").json() == []
    assert server.job(job_id)["status"] == "completed"

"""Section 9 of the contract: exports."""

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
from conformance.helpers import ECHO, fail_on, is_error

pytestmark = pytest.mark.xdist_group("conformance_exports_api")  # one server for all of them
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


@pytest.mark.row("A203", "A204", "D8")
def test_an_export_has_one_object_a_line_without_unchanged_seed_values(server: Server, echoed: int) -> None:
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
    number = server.create(fail_on("bad"))
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
def test_concurrent_downloads_do_not_mix(server: Server, scored: int, echoed: int) -> None:
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
def test_an_export_without_usable_records_names_the_existing_fields(
    server: Server, scored: int, path: str, form: str
) -> None:
    mapping = "user=nope" if form == "openai" else "a=nope"
    params: dict[str, Any] = {"job_id": scored, "format": form, "map": mapping}

    answer = server.client.get(f"/api/export{path}", params=params)

    assert is_error(answer, 400)
    assert "nope" in answer.json()["error"]
    assert "score" in answer.json()["error"]


@pytest.mark.parametrize(
    ("params", "status"),
    [({"format": "xml"}, 422), ({"map": "nonsense"}, 400), ({"format": "openai", "map": "nope=a"}, 400)],
)
def test_formats_and_mappings_are_checked(client: httpx.Client, params: dict[str, str], status: int) -> None:
    assert is_error(client.get("/api/export", params=params), status)

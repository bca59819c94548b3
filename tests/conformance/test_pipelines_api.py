"""Section 7 of the contract: pipelines are created, changed, listed and deleted."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import httpx
import pytest

from conformance.conftest import Server
from conformance.helpers import CHECK, ECHO, MULTIPLY, is_error

SLOW: dict[str, Any] = {"type": "SlowBlock"}

pytestmark = pytest.mark.xdist_group("conformance_pipelines_api")  # one server for all of them


@pytest.mark.row("A138")
def test_creating_a_pipeline_answers_with_its_id_and_name(client: httpx.Client) -> None:
    answer = client.post("/api/pipelines", json={"name": "P1", "blocks": [CHECK]})

    assert answer.status_code == 200
    assert answer.json() == {"id": answer.json()["id"], "name": "P1"}
    assert isinstance(answer.json()["id"], int)


@pytest.mark.row("A139")
@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "blocks": []},
        {"name": "x"},
        {"blocks": [CHECK]},
        {},
        {"name": "x", "blocks": []},
        {"name": " ", "blocks": [CHECK]},
    ],
)
def test_name_and_blocks_are_required(client: httpx.Client, body: dict[str, Any]) -> None:
    assert is_error(client.post("/api/pipelines", json=body), 400, "name and blocks required")


@pytest.mark.row("A140")
@pytest.mark.parametrize("body", ["{bad", "[]", "5", '"x"', "null"])
def test_a_body_that_is_no_object_is_a_422(client: httpx.Client, body: str) -> None:
    answer = client.post("/api/pipelines", content=body, headers={"content-type": "application/json"})

    assert is_error(answer, 422)
    assert answer.json()["detail"]["errors"]


@pytest.mark.row("A43", "A141")
def test_extra_keys_are_kept_in_the_definition(server: Server) -> None:
    constraints = {
        "max_total_tokens": -1,
        "max_total_input_tokens": 10,
        "max_total_output_tokens": None,
        "max_total_cached_tokens": 0,
        "max_total_execution_time": 60,
    }
    step = {**CHECK, "note": "kept", "position": {"x": 1.5, "y": -2}}

    number = server.create(step, constraints=constraints, layout={"zoom": 2})

    definition = server.client.get(f"/api/pipelines/{number}").json()["definition"]
    assert definition["constraints"] == constraints
    assert definition["layout"] == {"zoom": 2}
    assert definition["blocks"] == [step]


@pytest.mark.row("A143")
def test_config_may_be_left_out(server: Server) -> None:
    answer = server.execute(server.create(SLOW), {})

    assert answer.json()["result"]["slept"] is True


@pytest.mark.row("A144", "A145")
def test_pipelines_are_listed_newest_first_and_read_alone_in_the_same_form(server: Server) -> None:
    older, newer = server.create(CHECK), server.create(MULTIPLY)

    listed = server.client.get("/api/pipelines").json()
    alone = server.client.get(f"/api/pipelines/{newer}").json()

    assert [one["id"] for one in listed[:2]] == [newer, older]
    assert listed[0].keys() >= {"id", "name", "definition", "created_at", "validation_config"}
    assert alone == listed[0]
    assert (listed[0]["first_block_is_multiplier"], listed[1]["first_block_is_multiplier"]) == (True, False)


@pytest.mark.row("A146")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/execute"),
        ("POST", "/preview"),
        ("POST", "/validate"),
        ("GET", "/export"),
        ("GET", "/versions"),
        ("GET", "/accumulated_state_schema"),
    ],
)
def test_an_unknown_pipeline_is_a_404_and_a_non_integer_a_422(
    client: httpx.Client, method: str, path: str
) -> None:
    body: dict[str, Any] = {"json": {}} if method == "POST" else {}

    unknown = client.request(method, f"/api/pipelines/999999{path}", **body)
    no_number = client.request(method, f"/api/pipelines/abc{path}", **body)

    assert is_error(unknown, 404, "pipeline not found")
    assert is_error(no_number, 422)


@pytest.mark.row("A147")
def test_a_pipeline_is_replaced_as_a_whole_by_a_new_version(server: Server) -> None:
    number = server.create(CHECK, layout={"zoom": 2})

    answer = server.client.put(f"/api/pipelines/{number}", json={"name": "P2", "blocks": [SLOW]})

    now = server.client.get(f"/api/pipelines/{number}").json()
    before = server.client.get(f"/api/pipelines/{number}/versions/1").json()
    assert answer.json() == {"id": number, "name": "P2"}
    assert (now["name"], now["version"], now["definition"]) == ("P2", 2, {"name": "P2", "blocks": [SLOW]})
    assert (before["name"], before["definition"]["layout"]) == ("P", {"zoom": 2})


@pytest.mark.row("A147")
def test_replacing_has_the_same_errors(server: Server) -> None:
    number = server.create(CHECK)

    empty = server.client.put(f"/api/pipelines/{number}", json={"name": "", "blocks": []})
    unknown = server.client.put("/api/pipelines/999999", json={"name": "P", "blocks": [CHECK]})

    assert is_error(empty, 400, "name and blocks required")
    assert is_error(unknown, 404, "pipeline not found")


@pytest.mark.row("A148")
def test_a_pipeline_is_deleted_once(server: Server) -> None:
    number = server.create(CHECK)

    first = server.client.delete(f"/api/pipelines/{number}")
    second = server.client.delete(f"/api/pipelines/{number}")

    assert (first.status_code, first.json()) == (200, {"success": True})
    assert is_error(second, 404, "pipeline not found")


@pytest.mark.row("A153")
def test_the_fields_that_a_pipeline_makes_are_sorted(server: Server) -> None:
    number = server.create(SLOW, ECHO)

    fields = server.client.get(f"/api/pipelines/{number}/accumulated_state_schema").json()

    assert fields == {"fields": ["assistant", "slept", "system", "user"]}


@pytest.mark.row("A154")
def test_the_layout_of_the_review_page_is_kept(server: Server) -> None:
    number = server.create(CHECK)
    layout = {"field_order": {"primary": ["text"], "secondary": [], "hidden": []}}

    answer = server.client.put(f"/api/pipelines/{number}/validation_config", json=layout)

    assert answer.json() == {"success": True}
    assert server.client.get(f"/api/pipelines/{number}").json()["validation_config"] == layout


@pytest.mark.row("A154")
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"field_order": {}},
        {"field_order": {"primary": [], "secondary": []}},
        {"field_order": {"primary": "x", "secondary": [], "hidden": []}},
    ],
)
def test_a_layout_with_a_key_missing_is_refused(server: Server, layout: dict[str, Any]) -> None:
    number = server.create(CHECK)

    assert is_error(server.client.put(f"/api/pipelines/{number}/validation_config", json=layout), 400)


@pytest.mark.row("D4", "A43", "A212")
def test_the_column_of_the_constraints_mirrors_the_definition(server: Server) -> None:
    def stored(number: int) -> tuple[Any, Any]:
        with closing(sqlite3.connect(server.environment["DATABASE_PATH"])) as database:
            query = "SELECT constraints, definition FROM pipelines WHERE id = ?"
            column, definition = database.execute(query, [number]).fetchone()
        return json.loads(column or "null"), json.loads(definition).get("constraints")

    number = server.create(CHECK, constraints={"max_total_tokens": 25})
    created = stored(number)
    body: dict[str, Any] = {"name": "P", "blocks": [CHECK]}
    server.client.put(f"/api/pipelines/{number}", json={**body, "constraints": {"max_total_tokens": 5}})
    changed = stored(number)
    server.client.put(f"/api/pipelines/{number}", json=body)
    removed = stored(number)

    assert created == ({"max_total_tokens": 25},) * 2
    assert changed == ({"max_total_tokens": 5},) * 2
    assert removed == (None, None)


@pytest.mark.row("A44")
def test_a_limit_below_minus_one_is_refused(client: httpx.Client) -> None:
    body = {"name": "P", "blocks": [CHECK], "constraints": {"max_total_tokens": -2}}

    assert is_error(client.post("/api/pipelines", json=body), 400)


@pytest.mark.row("D15")
def test_an_imported_file_is_exported_byte_for_byte(client: httpx.Client) -> None:
    source = "# mine\r\nname:   'ünï'\nblocks: [ {type: ValidatorBlock} ]\n\n"

    made = client.post("/api/pipelines/import", content=source.encode())

    assert client.get(f"/api/pipelines/{made.json()['id']}/export").content == source.encode()


@pytest.mark.row("D1")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/none", 404), ("PATCH", "/api/pipelines", 405), ("GET", "/api/pipelines/x", 422)],
)
def test_errors_have_one_shape_everywhere(client: httpx.Client, method: str, path: str, status: int) -> None:
    assert is_error(client.request(method, path), status)


@pytest.mark.row("D1")
def test_a_body_that_is_too_large_is_a_413(client: httpx.Client) -> None:
    def chunks() -> Any:
        for _ in range(12):
            yield b"x" * 2**20

    answer = client.post("/api/pipelines", content=b"x" * (11 * 2**20))
    chunked = client.post("/api/pipelines", content=chunks())

    assert is_error(answer, 413)
    assert is_error(chunked, 413)
    assert client.get("/health").status_code == 200

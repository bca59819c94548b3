"""The OpenAPI description is right for validators and client generators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from httpx import AsyncClient

from penstock.app import create_app
from penstock.settings import Settings

_OPENAPI = create_app(Settings(database_path=Path("unused.db"))).openapi()
_SCHEMAS: dict[str, Any] = _OPENAPI["components"]["schemas"]


def _iter_dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _iter_dicts(child)


@pytest.mark.parametrize("name", ["Body_generate", "Body_generate_from_file"])
def test_an_upload_is_described_as_a_file(name: str) -> None:
    file = _SCHEMAS[name]["properties"]["file"]

    assert (file["type"], file["format"]) == ("string", "binary")


def test_schemas_are_named_without_their_modules() -> None:
    assert not [name for name in _SCHEMAS if "__" in name or "-" in name]


@pytest.mark.parametrize("name", [name for name, schema in _SCHEMAS.items() if "examples" in schema])
def test_examples_fit_their_schemas(name: str) -> None:
    root = {**_SCHEMAS[name], "components": {"schemas": _SCHEMAS}}

    for example in _SCHEMAS[name]["examples"]:
        jsonschema_rs.validate(root, example)


def test_bounds_of_integers_are_integers_of_64_bits() -> None:
    bounds = [
        schema[key]
        for schema in _iter_dicts(_OPENAPI)
        if schema.get("type") == "integer"
        for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        if key in schema
    ]

    assert all(type(bound) is int and -(2**63) <= bound < 2**63 for bound in bounds)
    assert 2**63 - 1 in bounds


def test_tags_and_servers_are_described() -> None:
    described = {tag["name"] for tag in _OPENAPI["tags"] if tag["description"]}
    used = {tag for path in _OPENAPI["paths"].values() for one in path.values() for tag in one["tags"]}

    assert used == described
    assert _OPENAPI["servers"][0]["url"] == "/"


def test_no_two_addresses_are_ambiguous() -> None:
    paths = [path.split("/") for path in _OPENAPI["paths"]]

    for number, one in enumerate(paths):
        for other in paths[:number]:
            pairs = list(zip(one, other, strict=False))
            overlap = len(one) == len(other) and all(
                a == b or a.startswith("{") or b.startswith("{") for a, b in pairs
            )
            variables = [sum(part.startswith("{") for part in path) for path in (one, other)]
            assert not overlap or variables[0] != variables[1], (one, other)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/pipelines", "GET, POST"),
        ("/api/pipelines/7", "DELETE, GET, PUT"),
        ("/api/session", "DELETE, POST"),
        ("/api/jobs/7", "DELETE, GET"),
        ("/api/records", "DELETE, GET"),
        ("/health", "GET"),
    ],
)
async def test_a_405_lists_all_methods_of_the_address(client: AsyncClient, path: str, methods: str) -> None:
    answer = await client.request("PATCH", path)

    assert (answer.status_code, answer.headers["allow"]) == (405, methods)


@pytest.mark.parametrize("wrong", [False, True, "1"])
@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/api/records/bulk", {"status": "accepted", "filter": {"field": "score"}}, ("filter", "max")),
        ("/api/records/bulk", {"status": "accepted", "filter": {"field": "score"}}, ("filter", "min")),
        ("/api/records/bulk", {"status": "accepted", "filter": {}}, ("filter", "job_id")),
        ("/api/records/bulk", {"status": "accepted", "filter": {}}, ("filter", "pipeline_id")),
        ("/api/pipelines/1/preview", {}, ("up_to",)),
        ("/api/pipelines/1/preview", {}, ("only",)),
        ("/api/pipelines/1/preview", {}, ("child",)),
    ],
)
async def test_only_numbers_are_numbers_in_a_body(
    client: AsyncClient, path: str, body: dict[str, Any], place: tuple[str, ...], wrong: object
) -> None:
    sent = {**body, "filter": dict(body["filter"])} if "filter" in body else dict(body)
    target = sent["filter"] if place[0] == "filter" else sent
    target[place[-1]] = wrong

    answer = await client.post(path, json=sent)

    assert answer.status_code == 422
    assert answer.json()["detail"]["errors"][0]["message"].endswith("must be a number")


async def test_ids_of_a_filter_are_numbers(client: AsyncClient) -> None:
    answer = await client.post("/api/records/bulk", json={"status": "accepted", "filter": {"ids": [True]}})

    assert answer.status_code == 422


@pytest.mark.parametrize("value", ["false", "true", ""])
async def test_only_numbers_are_numbers_in_a_query(client: AsyncClient, value: str) -> None:
    answer = await client.get("/api/records", params={"field": "score", "max": value})

    assert answer.status_code == 422


async def test_a_template_makes_a_pipeline_at_the_described_address(client: AsyncClient) -> None:
    created = await client.post("/api/templates/json_generation/pipelines")

    assert created.status_code == 200
    assert created.json()["template_id"] == "json_generation"

"""Every error has one shape, and reveals no secret and no traceback."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from penstock import errors
from penstock.api.errors import status_of


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nowhere", 404),
        ("POST", "/nowhere", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/api/pipelines/7", 404),
        ("GET", "/api/pipelines/seven", 422),
        ("GET", "/api/pipelines/99999999999999999999999999", 422),
        ("GET", "/api/pipelines/-1", 404),
        ("PATCH", "/api/pipelines", 405),
        ("POST", "/health", 405),
        ("OPTIONS", "/api/pipelines", 405),
        ("GET", "/api/pipelines/", 404),
        ("GET", "/api/templates/nope", 404),
    ],
)
async def test_every_error_has_the_same_shape(
    client: AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)

    assert answer.status_code == status
    assert answer.json().keys() == {"error", "detail"}
    assert isinstance(answer.json()["error"], str)
    assert isinstance(answer.json()["detail"], dict)


@pytest.mark.row("A140")
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"5",
        b'"x"',
        b"null",
        b"",
        b"\xff\xfe",
        b'{"name": NaN}',
        b'{"name": "\\ud800"}',
        b"{} {}",
    ],
)
async def test_a_body_that_is_no_json_object_is_a_422(client: AsyncClient, body: bytes) -> None:
    answer = await client.post("/api/pipelines", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 422
    assert answer.json()["detail"]["errors"]


@pytest.mark.parametrize(
    "bomb", [b"[" * 200_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b"[" * 101 + b"]" * 101]
)
async def test_json_nested_too_deeply_is_refused(client: AsyncClient, bomb: bytes) -> None:
    answer = await client.post(
        "/api/pipelines/1/execute",
        content=b'{"a": ' + bomb + b"}",
        headers={"content-type": "application/json"},
    )

    assert answer.status_code == 422


async def test_a_body_without_the_content_type_of_json_is_refused(client: AsyncClient) -> None:
    answer = await client.post(
        "/api/pipelines", content=b'{"name": "P"}', headers={"content-type": "text/plain"}
    )

    assert answer.status_code == 422


async def test_an_unexpected_error_is_a_500_without_a_traceback(
    app: FastAPI, client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise KeyError("sk-test-0123456789 is in here")

    app.add_api_route("/api/fail", fail)

    with caplog.at_level(logging.ERROR, "penstock.api"):
        answer = await client.get("/api/fail")

    assert answer.status_code == 500
    assert answer.json()["error"] == "Unexpected error: KeyError"
    assert answer.json()["detail"]["error_id"] in caplog.text
    assert "Traceback" not in answer.text
    assert "sk-test" not in answer.text


def test_every_class_of_errors_has_a_status() -> None:
    expected = {
        errors.BadInputError: 400,
        errors.DefinitionError: 400,
        errors.BlockNotFoundError: 400,
        errors.GateNotFoundError: 400,
        errors.BlockExecutionError: 400,
        errors.ValidationError: 400,
        errors.TemplateError: 400,
        errors.HealingError: 400,
        errors.NotFoundError: 404,
        errors.ConflictError: 409,
        errors.TooLargeError: 413,
        errors.StorageError: 503,
    }

    assert {cls: status_of(cls("x")) for cls in expected} == expected


async def test_a_secret_in_an_error_is_masked(
    client: AsyncClient, create: Callable[..., Awaitable[int]]
) -> None:
    number = await create({"type": "LeakBlock", "config": {"secret": "the key is sk-test-0123456789"}})

    answer = await client.post(f"/api/pipelines/{number}/execute", json={})

    assert answer.status_code == 200
    assert answer.json()["result"]["leak"] == "the key is ***"

"""How the application is put together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penstock.api.deps import ExecutionObserver
from penstock.api.telemetry import Telemetry
from penstock.app import create_app
from penstock.settings import Settings

_HEAVY = ("litellm", "pyarrow", "rouge_score", "nltk", "alembic", "xllamacpp", "opentelemetry.sdk")


def test_importing_the_service_imports_nothing_heavy() -> None:
    code = f"import sys, penstock.app; print([name for name in {_HEAVY!r} if name in sys.modules])"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert said.strip() == "[]"


def test_every_route_is_described_well_enough_for_a_client(tmp_path: Path) -> None:
    openapi = create_app(Settings(database_path=tmp_path / "x.db")).openapi()

    routes = [route for methods in openapi["paths"].values() for route in methods.values()]
    assert all(route["summary"] and route["tags"] for route in routes)
    names = [route["operationId"] for route in routes]
    assert len(names) == len(set(names))
    assert "HTTPValidationError" not in json.dumps(openapi)
    for route in routes:
        for status, answer in route["responses"].items():
            if int(status) >= 400:
                assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")


@pytest.mark.row("A228")
async def test_without_a_built_page_the_service_says_how_to_build_it(client: AsyncClient) -> None:
    root = await client.get("/")
    deep = await client.get("/review", headers={"accept": "text/html"})

    assert "npm run build" in root.text
    assert (root.status_code, deep.status_code) == (200, 200)


@pytest.mark.row("A228", "D17")
async def test_deep_links_get_the_page_and_files_stay_in_their_folder(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from httpx import ASGITransport

    ui = tmp_path / "ui"
    (ui / "assets").mkdir(parents=True)
    (ui / "index.html").write_text("<title>the page</title>")
    (ui / "assets" / "app.1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    made = create_app(settings.model_copy(update={"ui_folder": ui}))

    async with AsyncClient(transport=ASGITransport(app=made), base_url="http://localhost") as client:
        pages = [await client.get(path) for path in ("/", "/review", "/pipelines/7/edit", "/index.html")]
        script = await client.get("/assets/app.1a2b.js")
        missing = [
            await client.get(path)
            for path in (
                "/assets/nope.js",
                "/api/nope",
                "/..%2fsecret.txt",
                "/%2e%2e/secret.txt",
                "/a%00b.js",
            )
        ]

    assert [page.text for page in pages] == ["<title>the page</title>"] * 4
    assert "immutable" in script.headers["cache-control"]
    assert [answer.status_code for answer in missing] == [404] * 5
    assert "secret" not in "".join(answer.json()["error"] for answer in missing)


@pytest.mark.row("A227")
async def test_the_routes_are_listed_on_a_page_without_scripts(client: AsyncClient) -> None:
    page = await client.get("/docs")

    assert page.status_code == 200
    assert "/api/pipelines/{pipeline_id}/execute" in page.text
    assert "<script" not in page.text


async def test_requests_and_usage_are_counted(client: AsyncClient, app: FastAPI) -> None:
    body = {"name": "P", "blocks": [{"type": "TextGenerator", "config": {"user_prompt": "hi"}}]}
    number = (await client.post("/api/pipelines", json=body)).json()["id"]
    await client.post(f"/api/pipelines/{number}/execute", json={})
    await client.get("/made/up/path")

    text = (await client.get("/metrics")).text

    assert 'route="/api/pipelines/{pipeline_id}/execute",status="200"} 1.0' in text
    assert 'route="unmatched",status="404"' in text
    assert "/made/up/path" not in text
    assert 'penstock_tokens_total{kind="input"} 7.0' in text
    assert 'penstock_jobs{status="running"} 0.0' in text
    assert 'penstock_records{status="pending"} 0.0' in text
    assert "penstock_llm_concurrency_limit" in text


async def test_two_applications_do_not_share_their_counters(settings: Settings) -> None:
    first, second = create_app(settings), create_app(settings)

    assert first.state.metrics.registry is not second.state.metrics.registry


async def test_an_execution_is_a_tree_of_spans_without_prompts(client: AsyncClient, app: FastAPI) -> None:
    exporter = InMemorySpanExporter()
    telemetry = Telemetry()
    app.state.services.observer = ExecutionObserver(app.state.services.metrics, telemetry)
    telemetry.start(exporter)
    body = {"name": "P", "blocks": [{"type": "TextGenerator", "config": {"user_prompt": "a private prompt"}}]}
    number = (await client.post("/api/pipelines", json=body)).json()["id"]

    executed = (await client.post(f"/api/pipelines/{number}/execute", json={})).json()
    telemetry._provider.force_flush()

    spans = {span.name.split()[0]: span for span in exporter.get_finished_spans()}
    attributes = {name: dict(span.attributes or {}) for name, span in spans.items()}
    assert spans.keys() == {"pipeline", "step", "chat"}
    assert spans["chat"].parent is not None
    assert spans["chat"].parent.span_id == spans["step"].context.span_id
    assert attributes["pipeline"]["penstock.trace_id"] == executed["trace_id"]
    assert attributes["chat"]["gen_ai.operation.name"] == "chat"
    assert attributes["chat"]["gen_ai.usage.input_tokens"] == 7
    assert "private" not in "".join(span.to_json() for span in spans.values())
    telemetry.shut_down()

"""The counters of the service."""

from __future__ import annotations

from fastapi import FastAPI
from httpx import AsyncClient

from penstock.app import create_app
from penstock.settings import Settings


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

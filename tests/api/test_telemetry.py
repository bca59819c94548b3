"""OpenTelemetry spans of executions."""

from __future__ import annotations

from fastapi import FastAPI
from httpx import AsyncClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penstock.api.deps import ExecutionObserver
from penstock.api.telemetry import Telemetry


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

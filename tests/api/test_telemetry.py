"""OpenTelemetry spans of executions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penstock.api.deps import ExecutionObserver
from penstock.api.telemetry import Telemetry

_CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class _Spans:
    """The spans that the service has sent."""

    def __init__(self, telemetry: Telemetry, exporter: InMemorySpanExporter) -> None:
        self._telemetry = telemetry
        self._exporter = exporter

    def read(self) -> dict[str, ReadableSpan]:
        """By the first word of their names."""
        self._telemetry._provider.force_flush()
        return {span.name.split()[0]: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def sent(app: FastAPI) -> Iterator[_Spans]:
    telemetry, exporter = Telemetry(), InMemorySpanExporter()
    app.state.services.observer = ExecutionObserver(app.state.services.metrics, telemetry)
    telemetry.start(exporter)
    yield _Spans(telemetry, exporter)
    telemetry.shut_down()


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


@pytest.mark.parametrize("route", ["execute", "preview"])
@pytest.mark.parametrize(
    "block",
    [
        {"type": "QuotingBlock"},
        {
            "type": "TextGenerator",
            "config": {"user_prompt": "a private prompt"},
            "gates": [{"type": "RegexGate", "config": {"pattern": "^[0-9]+$"}}],
            "heal": {"max_attempts": 2},
        },
        {"type": "TextGenerator", "config": {"user_prompt": "{{ private_field_that_is_missing }}"}},
    ],
    ids=["block", "gate", "template"],
)
async def test_a_failure_shows_its_classes_and_no_content(
    client: AsyncClient,
    create: Callable[..., Awaitable[int]],
    sent: _Spans,
    block: dict[str, object],
    route: str,
) -> None:
    number = await create(block)
    seed = {"topic": "a private seed"}

    await client.post(f"/api/pipelines/{number}/{route}", json=seed if route == "execute" else {"seed": seed})

    spans = sent.read()
    step = spans["step"]
    assert not step.status.is_ok
    assert step.status.description
    assert (step.attributes or {})["error.type"]
    assert "private" not in "".join(span.to_json() for span in spans.values())


async def test_the_status_names_the_class_that_the_block_raised(
    client: AsyncClient, create: Callable[..., Awaitable[int]], sent: _Spans
) -> None:
    number = await create({"type": "QuotingBlock"})

    await client.post(f"/api/pipelines/{number}/execute", json={"topic": "a private seed"})

    span = sent.read()["pipeline"]
    assert (span.attributes or {})["error.type"] == "LookupError"
    assert span.status.description == ("A block failed while it ran (BlockExecutionError, from LookupError).")


@pytest.mark.parametrize("route", ["execute", "preview"])
async def test_the_span_of_the_caller_is_the_parent(
    client: AsyncClient, create: Callable[..., Awaitable[int]], sent: _Spans, route: str
) -> None:
    number = await create({"type": "TextGenerator", "config": {"user_prompt": "hi"}})

    await client.post(f"/api/pipelines/{number}/{route}", json={}, headers={"traceparent": _CALLER})

    spans = sent.read()
    assert spans["pipeline"].parent is not None
    assert f"{spans['pipeline'].parent.span_id:016x}" == "b7ad6b7169203331"
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {
        "0af7651916cd43dd8448eb211c80319c"
    }


@pytest.mark.parametrize("route", ["generate", "generate_from_file"])
async def test_the_records_of_a_job_are_below_the_span_of_its_caller(
    client: AsyncClient, app: FastAPI, create: Callable[..., Awaitable[int]], sent: _Spans, route: str
) -> None:
    queue = app.state.services.queue
    queue._on_result = app.state.services.observer.observe
    number = await create({"type": "TextGenerator", "config": {"user_prompt": "hi"}})

    answer = await client.post(
        f"/api/{route}",
        data={"pipeline_id": str(number)},
        files={"file": ("seeds.json", b'[{"metadata": {"n": 1}}]')},
        headers={"traceparent": _CALLER, "tracestate": "x=1", "baggage": "user=private"},
    )
    await queue.wait_until_idle()

    assert answer.status_code == 200, answer.text
    spans = sent.read()
    assert spans["pipeline"].parent is not None
    assert f"{spans['pipeline'].parent.span_id:016x}" == "b7ad6b7169203331"
    stored = (await queue.read(answer.json()["job_id"])).options["caller"]
    assert stored == {"traceparent": _CALLER, "tracestate": "x=1"}


async def test_a_malformed_traceparent_is_ignored(
    client: AsyncClient, create: Callable[..., Awaitable[int]], sent: _Spans
) -> None:
    number = await create({"type": "TextGenerator", "config": {"user_prompt": "hi"}})

    answer = await client.post(
        f"/api/pipelines/{number}/execute", json={}, headers={"traceparent": "00-zz-1"}
    )

    assert answer.status_code == 200
    assert sent.read()["pipeline"].parent is None


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "penstock"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=ours,deployment.environment=test"}, "ours"),
        ({"OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "service.name=ours"}, "mine"),
    ],
)
def test_the_service_is_named_by_the_standard_variables(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], name: str
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    telemetry = Telemetry()

    telemetry.start(InMemorySpanExporter())

    attributes = telemetry._provider.resource.attributes
    telemetry.shut_down()
    assert attributes["service.name"] == name
    assert ("deployment.environment" in attributes) == ("deployment" in str(variables))

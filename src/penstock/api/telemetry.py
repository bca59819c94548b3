"""OpenTelemetry spans of executions, steps and model calls; needs the extra ``otel`` and is off by default.

The spans are made from an execution's trace after it has ended, so they add nothing to the time of a call,
and are the same for jobs and single executions. Names and attributes follow OpenTelemetry's conventions for
generative AI. Prompts and answers are never sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock import __version__
from penstock.entities import ExecutionResult
from penstock.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

logger = logging.getLogger("penstock.api")

_NANO = 1_000_000_000


class Telemetry:
    """Sends spans once ``start`` was called; does nothing before."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None
        self._provider: Any = None

    def start(self, exporter: SpanExporter | None = None) -> None:
        """Send spans to ``exporter``, or by OTLP/HTTP to the address in the ``OTEL_…`` variables.

        Raises ConfigurationError when the extra is not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ConfigurationError(
                "OTEL is set, but OpenTelemetry is not installed: pip install 'penstock[otel]'."
            ) from error
        resource = Resource.create({SERVICE_NAME: "penstock", SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("penstock", __version__)

    def shut_down(self) -> None:
        """Send the remaining spans and stop."""
        if self._provider is not None:
            self._provider.shutdown()
            self._tracer = self._provider = None

    def record(self, pipeline: str, result: ExecutionResult) -> None:
        """Send the spans of one execution."""
        if self._tracer is None:
            return
        started, ended = result.usage.start_time, result.usage.end_time
        if started is None or ended is None:
            return
        span = self._start(
            f"pipeline {pipeline}",
            started,
            None,
            {"penstock.pipeline": pipeline, "penstock.trace_id": result.trace_id},
        )
        clock = started
        for number, entry in enumerate(result.trace, start=1):
            clock = self._record_step(span, number, entry, clock)
        self._end(span, max(ended, clock), result.error.message if result.error else None)

    def _record_step(self, parent: Span, number: int, entry: Mapping[str, Any], started: float) -> float:
        ended = started + float(entry.get("execution_time") or 0.0)
        block = str(entry["block_type"])
        attributes = {
            "penstock.step": number,
            "penstock.block_type": block,
            "penstock.attempts": len(entry.get("attempts", ())) or 1,
        }
        span = self._start(f"step {number} {block}", started, parent, attributes)
        clock = started
        for call in entry.get("calls", ()):
            clock = self._record_call(span, call, clock)
        self._end(span, ended, entry.get("error"))
        return ended

    def _record_call(self, parent: Span, call: Mapping[str, Any], clock: float) -> float:
        ended = clock + float(call.get("seconds") or 0.0)
        model = str(call.get("model", ""))
        provider, _, name = model.rpartition("/")
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider or "openai",
            "gen_ai.request.model": name,
            "gen_ai.request.temperature": call.get("temperature"),
            "gen_ai.usage.input_tokens": call.get("input_tokens"),
            "gen_ai.usage.output_tokens": call.get("output_tokens"),
            "gen_ai.response.finish_reasons": [str(call["finish_reason"])]
            if "finish_reason" in call
            else None,
            "penstock.from_journal": call.get("from_journal"),
            "penstock.retries": call.get("retries"),
        }
        span = self._start(f"chat {name}", clock, parent, attributes, client=True)
        self._end(span, ended, call.get("error"))
        return ended

    def _start(
        self,
        name: str,
        started: float,
        parent: Span | None,
        attributes: Mapping[str, Any],
        *,
        client: bool = False,
    ) -> Span:
        from opentelemetry import context, trace

        assert self._tracer is not None
        parent_context = context.Context() if parent is None else trace.set_span_in_context(parent)
        return self._tracer.start_span(
            name,
            parent_context,
            kind=trace.SpanKind.CLIENT if client else trace.SpanKind.INTERNAL,
            start_time=int(started * _NANO),
            attributes={key: value for key, value in attributes.items() if value is not None},
        )

    def _end(self, span: Span, ended: float, error: str | None) -> None:
        from opentelemetry.trace import Status, StatusCode

        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(int(ended * _NANO))

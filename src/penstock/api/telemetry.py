"""OpenTelemetry spans of executions, steps and model calls; needs the extra ``otel`` and is off by default.

The spans are made from an execution's trace after it has ended, so they add nothing to the time of a call,
and are the same for jobs and single executions. Names and attributes follow OpenTelemetry's conventions for
generative AI. Prompts, answers and seeds are never sent: an error's message can contain them, so a span has
the classes of the error and a fixed sentence in place of its message.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock import __version__
from penstock.entities import ExecutionResult
from penstock.errors import ConfigurationError, PipelineError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

logger = logging.getLogger("penstock.api")

_NANO = 1_000_000_000
_UNKNOWN_ERROR = "_OTHER"
"""The value of ``error.type`` in OpenTelemetry's conventions when the class of an error is not known."""
_LONGEST_HEADER = 512
_REASON = re.compile(r"[A-Za-z_]{1,40}")
"""A finish reason; anything else that a provider writes there may be text of the answer."""


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
            from opentelemetry.sdk.resources import (
                SERVICE_NAME,
                SERVICE_VERSION,
                OTELResourceDetector,
                Resource,
            )
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ConfigurationError(
                "OTEL is set, but OpenTelemetry is not installed: pip install 'penstock[otel]'."
            ) from error
        own = {SERVICE_NAME: "penstock", SERVICE_VERSION: __version__}
        chosen = OTELResourceDetector().detect().attributes  # of OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
        self._provider = TracerProvider(resource=Resource.create({**own, **chosen}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("penstock", __version__)

    def shut_down(self) -> None:
        """Send the remaining spans and stop."""
        if self._provider is not None:
            self._provider.shutdown()
            self._tracer = self._provider = None

    def pick_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Those of a request's ``headers`` that name the caller's span; a job keeps them."""
        if self._tracer is None:
            return {}
        from opentelemetry.propagate import get_global_textmap

        names = sorted(get_global_textmap().fields - {"baggage"})
        found = {name: headers.get(name, "") for name in names}
        return {name: value for name, value in found.items() if 0 < len(value) <= _LONGEST_HEADER}

    def record(
        self, pipeline: str, result: ExecutionResult, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send the spans of one execution, below the span that the request's ``headers`` name."""
        if self._tracer is None:
            return
        started, ended = result.usage.start_time, result.usage.end_time
        if started is None or ended is None:
            return
        span = self._start(
            f"pipeline {pipeline}",
            started,
            _read_context(headers or {}),
            {"penstock.pipeline": pipeline, "penstock.trace_id": result.trace_id},
        )
        clock = started
        for number, entry in enumerate(result.trace, start=1):
            clock = self._record_step(span, number, entry, clock, result.error)
        self._end(span, max(ended, clock), _describe_error(result.error) if result.error else None)

    def _record_step(
        self,
        parent: Span,
        number: int,
        entry: Mapping[str, Any],
        started: float,
        error: PipelineError | None,
    ) -> float:
        ended = started + float(entry.get("execution_time") or 0.0)
        block = str(entry["block_type"])
        attributes = {
            "penstock.step": number,
            "penstock.block_type": block,
            "penstock.attempts": len(entry.get("attempts", ())) or 1,
        }
        span = self._start(f"step {number} {block}", started, _below(parent), attributes)
        clock = started
        for call in entry.get("calls", ()):
            clock = self._record_call(span, call, clock)
        failure = _describe_error(error) if error else (_UNKNOWN_ERROR, "The step failed.")
        self._end(span, ended, failure if entry.get("error") else None)
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
            "gen_ai.response.finish_reasons": _find_reasons(call),
            "penstock.from_journal": call.get("from_journal"),
            "penstock.retries": call.get("retries"),
        }
        span = self._start(f"chat {name}", clock, _below(parent), attributes, client=True)
        failure = (_UNKNOWN_ERROR, "The model could not be called, or did not answer.")
        self._end(span, ended, failure if call.get("error") else None)
        return ended

    def _start(
        self,
        name: str,
        started: float,
        parent: Context,
        attributes: Mapping[str, Any],
        *,
        client: bool = False,
    ) -> Span:
        from opentelemetry.trace import SpanKind

        assert self._tracer is not None
        return self._tracer.start_span(
            name,
            parent,
            kind=SpanKind.CLIENT if client else SpanKind.INTERNAL,
            start_time=int(started * _NANO),
            attributes={key: value for key, value in attributes.items() if value is not None},
        )

    def _end(self, span: Span, ended: float, error: tuple[str, str] | None) -> None:
        """End the span; ``error`` is the type and the description of what failed."""
        from opentelemetry.trace import Status, StatusCode

        if error is not None:
            kind, description = error
            span.set_attribute("error.type", kind)
            span.set_status(Status(StatusCode.ERROR, description))
        span.end(int(ended * _NANO))


def _read_context(headers: Mapping[str, str]) -> Context:
    """The caller's span, from ``traceparent`` or what else OTEL_PROPAGATORS names; empty without one."""
    from opentelemetry.context import Context
    from opentelemetry.propagate import extract

    return extract(headers, Context())


def _below(parent: Span) -> Context:
    from opentelemetry.trace import set_span_in_context

    return set_span_in_context(parent)


def _describe_error(error: PipelineError) -> tuple[str, str]:
    """The type and the description of ``error`` for a span: classes, and what penstock's class means."""
    causes = [type(error).__name__]
    cause = error.__cause__
    while cause is not None and len(causes) < 5:
        causes.append(type(cause).__name__)
        cause = cause.__cause__
    ours = next(cls for cls in type(error).__mro__ if cls.__module__ == PipelineError.__module__)
    meaning = "The execution failed"
    if ours is not PipelineError:
        meaning = (ours.__doc__ or meaning).partition("\n")[0].partition(";")[0].rstrip(".")
    return causes[-1], f"{meaning} ({', from '.join(causes)})."


def _find_reasons(call: Mapping[str, Any]) -> list[str] | None:
    reason = str(call.get("finish_reason"))
    return [reason] if "finish_reason" in call and _REASON.fullmatch(reason) else None

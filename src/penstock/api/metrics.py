"""Counters of the service, for Prometheus."""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.entities import Usage

logger = logging.getLogger("penstock.api")

_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_NO_ROUTE = "unmatched"
"""The label of requests without a route: paths of clients must not become labels."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Limits(Collector):
    """How many model calls are allowed and in flight, by provider and model."""

    def __init__(self) -> None:
        self.present: Mapping[str, Mapping[str, int]] = {}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        limit = GaugeMetricFamily(
            "penstock_llm_concurrency_limit", "Model calls allowed at once.", labels=["model"]
        )
        in_flight = GaugeMetricFamily("penstock_llm_in_flight", "Model calls in flight.", labels=["model"])
        for model, numbers in self.present.items():
            limit.add_metric([model], numbers.get("limit", 0))
            in_flight.add_metric([model], numbers.get("in_flight", 0))
        return [limit, in_flight]


class Metrics:
    """The counters of one application, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "penstock_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "penstock_http_request_seconds",
            "Seconds from request to answer.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge("penstock_http_in_flight", "Requests being answered.", registry=self.registry)
        self.executions = Counter(
            "penstock_executions", "Pipelines run to an end.", ["outcome"], registry=self.registry
        )
        self.tokens = Counter("penstock_tokens", "Tokens used.", ["kind"], registry=self.registry)
        self.calls = Counter(
            "penstock_llm_calls",
            "Model calls, and whether the provider or the journal answered.",
            ["answered_by"],
            registry=self.registry,
        )
        self.cost = Counter(
            "penstock_cost_dollars", "Money spent where the price is known.", registry=self.registry
        )
        self.jobs = Gauge("penstock_jobs", "Jobs in each state.", ["status"], registry=self.registry)
        self.records = Gauge("penstock_records", "Records in each state.", ["status"], registry=self.registry)
        self._limits = _Limits()
        self.registry.register(self._limits)

    def count_usage(self, usage: Usage, *, failed: bool = False) -> None:
        """Count an execution and its usage."""
        self.executions.labels("failed" if failed else "completed").inc()
        if not usage.unreported_calls:
            self._count_tokens(usage)
        self.calls.labels("provider").inc(max(usage.llm_calls - usage.journal_hits, 0))
        self.calls.labels("journal").inc(usage.journal_hits)

    def _count_tokens(self, usage: Usage) -> None:
        self.tokens.labels("input").inc(usage.input_tokens)
        self.tokens.labels("output").inc(usage.output_tokens)
        self.tokens.labels("cached").inc(usage.cached_tokens)
        self.cost.inc(usage.cost or 0.0)

    def render(
        self,
        jobs: Mapping[str, int],
        records: Mapping[str, int],
        limits: Mapping[str, Mapping[str, int]],
    ) -> bytes:
        """All counters in Prometheus's text format; the arguments are the present numbers."""
        for gauge, counts in ((self.jobs, jobs), (self.records, records)):
            gauge.clear()
            for status, count in counts.items():
                gauge.labels(status).set(count)
        self._limits.present = limits
        return generate_latest(self.registry)


def count_values(values: Iterable[str], known: Iterable[str]) -> dict[str, int]:
    """How often each of ``known`` is among ``values``."""
    counts = collections.Counter(values)
    return {name: counts[name] for name in known}


class Observer:
    """Counts and times each request, and logs it at level DEBUG."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.metrics.in_flight.inc()
        try:
            await self.app(scope, receive, send_observed)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.in_flight.dec()
            route = getattr(scope.get("route"), "path", _NO_ROUTE)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.requests.labels(method, route, str(status)).inc()
            self.metrics.seconds.labels(method, route).observe(seconds)
            logger.debug("%s %s %d in %.3fs", scope["method"], scope["path"], status, seconds)

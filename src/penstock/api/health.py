"""Routes about the service itself: health, version and metrics."""

from __future__ import annotations

import time

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from penstock import __version__
from penstock.api.deps import Services, ServicesDep
from penstock.api.metrics import count_values
from penstock.api.routing import make_router
from penstock.entities import JobStatus
from penstock.storage import jobs

router = make_router("", "service")

_CACHE_SECONDS = 5.0
"""How long the counts of the database are used again, so that frequent scraping costs nothing."""


class Health(BaseModel):
    """The service answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "healthy"}]})

    status: str


class About(BaseModel):
    """Version and model of this service."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"version": "0.1.0", "model": "gpt-4.1-mini", "model_configured": True, "token_needed": False}
            ]
        }
    )

    version: str
    model: str = Field(description="The model of blocks that name none.")
    model_configured: bool = Field(description="False: the embedded model answers.")
    token_needed: bool


@router.get("/health", summary="Whether the service is alive")
async def read_health() -> Health:
    """Answers while the process runs; needs no token and does not use the database (contract A226)."""
    return Health(status="healthy")


@router.get("/api/about", summary="Version and model")
async def read_about(services: ServicesDep) -> About:
    """The version, and the model of blocks that name none."""
    settings = services.settings
    return About(
        version=__version__,
        model=settings.default_model,
        model_configured=settings.model_configured,
        token_needed=bool(settings.api_token.get_secret_value()),
    )


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def read_metrics(request: Request, services: ServicesDep) -> Response:
    """Requests, latencies, jobs, records, tokens, cost, and the present limits of the models."""
    cached: tuple[float, dict[str, int], dict[str, int]] | None = getattr(request.app.state, "counted", None)
    if cached is None or time.monotonic() - cached[0] > _CACHE_SECONDS:
        cached = request.app.state.counted = (time.monotonic(), *await _count(services))
    _, job_counts, record_counts = cached
    text = services.metrics.render(job_counts, record_counts, services.client.concurrency())
    return Response(text, media_type="text/plain; version=0.0.4")


async def _count(services: Services) -> tuple[dict[str, int], dict[str, int]]:
    async with services.storage.reading() as session:
        found = await jobs.list_jobs(session, limit=None)
        counts = await jobs.count_records(session)
    states = count_values((job.status.value for job in found), [status.value for status in JobStatus])
    return states, {status.value: count for status, count in counts.items()}

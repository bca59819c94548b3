"""Is it alive, how is it doing, and may this browser come in."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from penstock import __version__
from penstock.api.deps import Services, ServicesDep
from penstock.api.errors import WrongTokenError, error_responses
from penstock.api.metrics import tally
from penstock.api.routing import Json, make_router
from penstock.api.security import COOKIE, Policy, sign_in_page
from penstock.entities import JobStatus
from penstock.storage import jobs

router = make_router("", "service")

_KEPT_SECONDS = 5.0
"""How long what the database counted serves again, so that an eager scraper costs nothing."""
_COOKIE_SECONDS = 30 * 24 * 3600


class Health(BaseModel):
    """That the service answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "healthy"}]})

    status: str


class SignIn(BaseModel):
    """The token that a browser is to be let in with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "a long random text"}]})

    token: Annotated[str, Field(max_length=4096)]


class Success(BaseModel):
    """That it was done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"success": True}]})

    success: bool = True


class About(BaseModel):
    """What answers here."""

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
    """Answers as long as the process does; needs no token and touches no database (contract A226)."""
    return Health(status="healthy")


@router.get("/api/about", summary="What answers here")
async def read_about(services: ServicesDep) -> About:
    """The version, and the model that blocks use when they name none."""
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
    """Requests, latencies, jobs, records, tokens, money, and the present limits of the models."""
    kept: tuple[float, dict[str, int], dict[str, int]] | None = getattr(request.app.state, "counted", None)
    if kept is None or time.monotonic() - kept[0] > _KEPT_SECONDS:
        kept = request.app.state.counted = (time.monotonic(), *await _count(services))
    _, job_counts, record_counts = kept
    text = services.metrics.render(job_counts, record_counts, services.client.concurrency())
    return Response(text, media_type="text/plain; version=0.0.4")


async def _count(services: Services) -> tuple[dict[str, int], dict[str, int]]:
    async with services.storage.reading() as session:
        found = await jobs.list_jobs(session, limit=None)
        counts = await jobs.count_records(session)
    states = tally((job.status.value for job in found), [status.value for status in JobStatus])
    return states, {status.value: count for status, count in counts.items()}


@router.post("/api/session", summary="Sign a browser in", responses=error_responses(422))
async def create_session(body: SignIn, request: Request, services: ServicesDep) -> Success:
    """Answers with a cookie that only this service's own pages send, and no script can read."""
    policy = Policy.of(services.settings)
    if not policy.is_token(body.token):
        raise WrongTokenError("That is not the token.")
    response = Json(Success().model_dump())
    if policy.token is not None:
        _set_cookie(response, request, body.token)
    return response  # type: ignore[return-value]  # the model describes what the answer holds


@router.delete("/api/session", summary="Sign a browser out")
async def delete_session() -> Success:
    """Takes the cookie away."""
    response = Json(Success().model_dump())
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response  # type: ignore[return-value]  # the model describes what the answer holds


@router.post("/session", include_in_schema=False)
async def sign_in(request: Request, services: ServicesDep) -> Response:
    """The sign-in page's form, which works without a script."""
    body = (await request.body()).decode("utf-8", "replace")
    token = parse_qs(body, max_num_fields=8).get("token", [""])[0]
    policy = Policy.of(services.settings)
    if not policy.is_token(token):
        return sign_in_page("That is not the token.")
    response = RedirectResponse("/", 303)
    if policy.token is not None:
        _set_cookie(response, request, token)
    return response


def _set_cookie(response: Response, request: Request, token: str) -> None:
    facts: dict[str, Any] = {"max_age": _COOKIE_SECONDS, "path": "/", "httponly": True, "samesite": "strict"}
    response.set_cookie(COOKIE, token, secure=request.url.scheme == "https", **facts)

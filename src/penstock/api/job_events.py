"""A job's progress as Server-Sent Events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Header
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response

from penstock.api.deps import Services, ServicesDep
from penstock.api.errors import error_responses
from penstock.api.job_view import view_job
from penstock.api.routing import RowId, make_router
from penstock.errors import NotFoundError
from penstock.serialization import to_json

router = make_router("/api", "jobs")

_POLL_SECONDS = 0.5
"""How often the job is looked at, unless the queue reports a change before."""
_HEARTBEAT_SECONDS = 15.0
_RETRY_MILLISECONDS = 2000
"""After how long a browser that lost the connection asks again."""
_WATCHED = ("status", "wanted", "current_seed", "records_generated", "records_failed", "error", "steps")
"""An event is sent when one of these fields has changed."""


@router.get(
    "/jobs/{job_id}/events",
    summary="Watch a job",
    response_class=Response,
    responses={
        **error_responses(404, 422),
        200: {
            "description": "Events `progress` and, as the last one, `end`; each has the job as its data.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The job has ended, and the caller has received its end."},
    },
)
async def watch_job(
    job_id: RowId,
    services: ServicesDep,
    last_event_id: Annotated[
        str | SkipJsonSchema[None], Header(description="Sent by a browser that reconnects.")
    ] = None,
) -> Response:
    """Server-Sent Events. Each has the whole present state, so a client that reconnects misses nothing. Ids
    increase, also over restarts. The stream ends when the job has; a browser that then reconnects gets a 204,
    which makes it stop."""
    job = await services.queue.read(job_id)
    last_id = _read_event_id(last_event_id)
    if job.status.ended and _is_end(last_id):
        return Response(status_code=204)
    headers = {"x-accel-buffering": "no"}
    return EventSourceResponse(_iter_events(services, job_id, last_id), headers=headers)


async def _iter_events(services: Services, job_id: int, last_id: int) -> AsyncIterator[bytes]:
    """The job's events after the one with ``last_id``, until the job or the service ends."""
    sent: Any = None
    sent_at = time.monotonic()
    yield format_sse_event(retry=_RETRY_MILLISECONDS)
    while not services.closing.is_set():
        try:
            job = await services.queue.read(job_id)
        except NotFoundError:
            return  # deleted
        view = view_job(job, services)
        current = [view[name] for name in _WATCHED]
        if current != sent or job.status.ended:
            sent, sent_at = current, time.monotonic()
            last_id = _next_event_id(last_id, ended=job.status.ended)
            kind = "end" if job.status.ended else "progress"
            yield format_sse_event(data_str=to_json(view).strip(), event=kind, id=str(last_id))
            if job.status.ended:
                return
        elif time.monotonic() - sent_at >= _HEARTBEAT_SECONDS:
            sent_at = time.monotonic()
            yield KEEPALIVE_COMMENT
        await services.queue.wait_for_change(_POLL_SECONDS)


def _next_event_id(last_id: int, *, ended: bool) -> int:
    """Larger than ``last_id`` and than any id of an earlier process; odd for a job's end."""
    return max(int(time.time() * 1000), last_id // 2 + 1) * 2 + ended


def _is_end(event_id: int) -> bool:
    return event_id % 2 == 1


def _read_event_id(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 18 else 0

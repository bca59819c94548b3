"""A job as the API shows it: the stored fields, and the live progress that only this process knows."""

from __future__ import annotations

from typing import Any

from penstock.api.deps import Services
from penstock.entities import JobStatus
from penstock.storage.entities import Job


def view_job(job: Job, services: Services) -> dict[str, Any]:
    """The job's JSON, as ``schemas.jobs.JobView`` describes it."""
    usage = dict(job.usage) if job.usage else None
    steps = usage.pop("steps", ()) if usage else ()
    view = job.to_dict() | {
        "usage": usage,
        "seeds": job.source.get("seeds") if isinstance(job.source, dict) else None,
        "wanted": job.requested,
        "records_refused": 0,
        "rate": None,
        "seconds_left": None,
        "in_flight": 0,
        "concurrency": {},
        "steps": [_view_step(number, *step) for number, step in enumerate(steps, start=1)],
        "advice": None,
    }
    running = services.queue.find_running(job.id)
    if running is None:
        return view | {"advice": _advise(job)}
    view["wanted"] = running.target_status or job.requested
    view["concurrency"] = services.client.concurrency()
    if (progress := running.progress) is not None:
        left = progress.seconds_left
        view |= {
            "records_refused": progress.refused,
            "rate": round(progress.rate, 3),
            "seconds_left": None if left is None else round(left, 1),
            "in_flight": progress.in_flight,
            "steps": [
                _view_step(number, step.block_type, step.finished, step.failed, step.started)
                for number, step in enumerate(progress.steps, start=1)
            ],
        }
    return view


def _advise(job: Job) -> str | None:
    """How to continue a job that does not run, and how to make its failed records again."""
    if job.status in (JobStatus.RUNNING, JobStatus.QUEUED):
        return None
    advice = []
    is_command = isinstance(job.options, dict) and job.options.get("origin") == "run"
    if job.error and job.status is not JobStatus.COMPLETED:
        how = "start the same `penstock run` again" if is_command else f"POST /api/jobs/{job.id}/resume"
        advice.append(f"Put right what `error` says, then {how}: it continues.")
    if job.records_failed:
        records = (
            "the failed record" if job.records_failed == 1 else f"the {job.records_failed} failed records"
        )
        if is_command:
            advice.append(f"Start the same `penstock run` again with --retry-failed to make {records} again.")
        else:
            advice.append(f"POST /api/jobs/{job.id}/retry makes {records} again.")
    return " ".join(advice) or None


def _view_step(
    number: int, block_type: str, finished: int, failed: int, started: int | None = None
) -> dict[str, Any]:
    return {
        "step": number,
        "block_type": block_type,
        "started": finished + failed if started is None else started,
        "finished": finished,
        "failed": failed,
    }

"""The states of a job."""

from __future__ import annotations

from enum import StrEnum


class JobStatus(StrEnum):
    """The state of a job (contract A172)."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"

    @property
    def ended(self) -> bool:
        """Whether the job does nothing more until a user resumes it."""
        return self not in {JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED}

"""What a record is known by, and the states of its review."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class RecordStatus(StrEnum):
    """Where a record stands: made and awaiting review, reviewed, or failed (contract A188, D16)."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EDITED = "edited"
    FAILED = "failed"


class RecordId(NamedTuple):
    """Which record of a job: its seed (from 0), repetition (from 0) and child.

    ``child`` is a path, so that pipelines which multiply more than once keep room: ``""`` for the only
    record of a seed, ``"3"`` for the fourth child.
    """

    seed: int
    repetition: int = 0
    child: str = ""

    def __str__(self) -> str:
        return f"{self.seed}.{self.repetition}" + (f".{self.child}" if self.child else "")

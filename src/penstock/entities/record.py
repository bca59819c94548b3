"""The identity of a record, and the states of its review."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class RecordStatus(StrEnum):
    """The state of a record: generated and awaiting review, reviewed, or failed (contract A188, D16)."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EDITED = "edited"
    FAILED = "failed"


class RecordId(NamedTuple):
    """The identity of a record in its job: seed (from 0), repetition (from 0) and child.

    ``child`` is ``""`` for the only record of a seed and ``"3"`` for the fourth child. It is text, so that it
    can become a path when pipelines may multiply more than once.
    """

    seed: int
    repetition: int = 0
    child: str = ""

    def __str__(self) -> str:
        return f"{self.seed}.{self.repetition}" + (f".{self.child}" if self.child else "")

"""How a job is to be run: what its caller can choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penstock.entities import Constraints, ExecutionResult
from penstock.jobs.in_flight import InFlight
from penstock.llm import JournalMode
from penstock.storage.entities import NewRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """Which of a job's records to make, and how. The defaults make every record that is missing."""

    concurrency: int | None = None
    """Records in flight at once. None: one until a model is called, then as many as its limit allows."""
    mode: JournalMode = JournalMode.NORMAL
    """Whether finished model calls are taken from the journal, ignored, or the only source of answers."""
    retry_failed: bool = False
    """Make only the failed records again, instead of those that are missing."""
    limit: int | None = None
    """How many records of the job to consider, in the order of the seeds, existing ones included."""
    constraints: Constraints | None = None
    """Limits in place of the pipeline's own, for a job whose limits were changed after it was created."""
    in_flight: InFlight | None = None
    """Where it is noted which records are in a block, for a job that is continued by itself."""
    on_new_record: Callable[[NewRecord, ExecutionResult], None] | None = None
    """Called for each record that was made, in the order in which they finished."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run a pipeline into a file."""

    output: Path | None = None
    """The file of the accepted records; failed ones go to ``NAME.failed.jsonl`` in the same folder."""
    limit: int | None = None
    """Make no more than this many records (a preview); the same run without a limit continues from there."""
    concurrency: int | None = None
    """Records in flight at once. None: one until a model is called, then as many as its limit allows."""
    mode: JournalMode = JournalMode.NORMAL
    """Whether finished model calls are taken from the journal, ignored, or the only source of answers."""
    retry_failed: bool = False
    """Make only the failed records again (``--retry-failed``)."""
    overwrite: bool = False
    """Replace an output file that was not written by a run of penstock."""

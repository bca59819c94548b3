"""The progress of a job: live counters, and the fields of the job's row."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.entities import ExecutionResult, Usage
from penstock.jobs.failures import is_refusal
from penstock.workflow import StepEvent

_UNFINISHED = 0.9999
"""The highest progress of a job that has not completed."""


@dataclass(slots=True)
class StepCount:
    """How often a step ran in this job, over all records."""

    block_type: str
    started: int = 0
    finished: int = 0
    failed: int = 0


@dataclass(slots=True)
class Progress:
    """Counters of a job, over all of its runs unless they say otherwise."""

    total: int | None = None
    """Seeds times repetitions; None when the seed file is too large to be counted first."""
    seeds_done: float = 0.0
    """How many of ``total`` are done; a multiplier's seed counts by the share of its children."""
    generated: int = 0
    failed: int = 0
    refused: int = 0
    """How many of ``failed`` this run saw refused by gates, rather than stopped by an error."""
    usage: Usage = field(default_factory=Usage)
    in_flight: int = 0
    """Records that are being made now."""
    current_block: str | None = None
    current_step: str | None = None
    started: float = field(default_factory=time.monotonic)
    earlier: int = 0
    """How many records earlier runs of the job have made."""
    made: int = 0
    """How many records this run has made, retried ones included."""
    steps: list[StepCount] = field(default_factory=list)
    """One for each step of the pipeline, in order."""

    @property
    def fraction(self) -> float:
        """From 0 to 1; 0 while the total is unknown, 1 when there is nothing to do."""
        if not self.total:
            return 0.0 if self.total is None else 1.0
        return min(1.0, self.seeds_done / self.total)

    @property
    def records(self) -> int:
        """All records so far, failed ones included."""
        return self.generated + self.failed

    @property
    def rate(self) -> float:
        """Records per second in this run."""
        seconds = time.monotonic() - self.started
        return self.made / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate, or None while there is nothing to base it on."""
        if not self.total or not self.made or not self.rate:
            return None
        return max(0.0, self.total - self.seeds_done) / self.rate

    def prepare_steps(self, block_types: Sequence[str]) -> None:
        """Start the counts of the steps anew, unless an earlier run of the same steps left some."""
        if len(self.steps) != len(block_types):
            self.steps = [StepCount(block_type) for block_type in block_types]

    def count_step(self, event: StepEvent) -> None:
        """Count a step that has started or finished."""
        count = self.steps[event.number - 1]
        if event.kind == "finished":
            count.finished += 1
        else:
            count.started += 1
            self.current_block = event.block_type
            self.current_step = f"Block {event.number}/{event.total}"

    def count_record(self, result: ExecutionResult, share: float, *, retried: bool) -> None:
        """Count a record that was made; ``share`` is the part of its seed that it stands for.

        A ``retried`` record replaces a failed one, which is counted no longer.
        """
        self.made += 1
        self.seeds_done += share
        if result.error is None:
            self.generated += 1
        else:
            self.failed += 1
            self.refused += is_refusal(result.error.detail)
            self.steps[max(len(result.trace), 1) - 1].failed += 1  # the trace ends with the failed step
        if retried:
            self.failed -= 1

    def to_job_fields(self, seconds: float, *, completed: bool) -> dict[str, Any]:
        """The fields of the job's row; ``seconds`` is how long the job has run."""
        return {
            "records_generated": self.generated,
            "records_failed": self.failed,
            "current_seed": int(self.seeds_done + 1e-6),  # shares of children may sum to just below 1
            "progress": 1.0 if completed else min(self.fraction, _UNFINISHED),
            "current_block": self.current_block,
            "current_step": self.current_step,
            "usage": {
                **self.usage.to_dict(),
                "execution_time": round(seconds, 3),
                "steps": [[step.block_type, step.finished, step.failed] for step in self.steps],
            },
        }

"""What an execution carries from step to step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from penstock import llm
from penstock.entities import Usage


class StepEvent(NamedTuple):
    """The start or the end of a step, as ``RunContext.on_step`` receives it."""

    kind: Literal["started", "finished"]
    number: int
    """From 1."""
    total: int
    block_type: str


@dataclass(slots=True)
class RunContext:
    """The identity of an execution, where its model calls are kept, what they used, and its listeners."""

    trace_id: str = ""
    sample: llm.Sample = field(default_factory=llm.Sample)
    journal: llm.Journal | None = None
    mode: llm.JournalMode = llm.JournalMode.NORMAL
    usage: Usage = field(default_factory=Usage)
    retry_from: int | None = None
    """The step whose gates refused the record before: from this step on, its calls are new samples."""
    round: int = 0
    """Which new sample, when ``retry_from`` is set."""
    on_step: Callable[[StepEvent], None] | None = None
    """Called when a step starts and when it has finished without an error."""
    on_call: Callable[[], None] | None = None
    """Called just before a model is asked."""
    on_answer: Callable[[], None] | None = None
    """Called when the model, or the journal, has answered."""

    def for_child(self, child: str, trace_id: str) -> RunContext:
        """The same for one child's execution, with a usage of its own."""
        sample = self.sample if self.sample.child == child else self.sample._replace(child=child)
        return RunContext(
            trace_id,
            sample,
            self.journal,
            self.mode,
            Usage(),
            self.retry_from,
            self.round,
            self.on_step,
            self.on_call,
            self.on_answer,
        )

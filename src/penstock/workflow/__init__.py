"""Running a pipeline: steps in order over a state, held to gates, with a trace of everything."""

from __future__ import annotations

from penstock.workflow.pipeline import Child, Pipeline
from penstock.workflow.snapshot import snapshot
from penstock.workflow.step import RunContext, Step, StepEvent
from penstock.workflow.validation import Issue, check, load_definition, required_variables

__all__ = [
    "Child",
    "Issue",
    "Pipeline",
    "RunContext",
    "Step",
    "StepEvent",
    "check",
    "load_definition",
    "required_variables",
    "snapshot",
]

"""Running a pipeline: steps in order over a state, held to gates, with a trace of everything."""

from __future__ import annotations

from penstock.workflow.check import Problem, check, load_definition, required_variables
from penstock.workflow.pipeline import Child, Pipeline
from penstock.workflow.snapshot import snapshot
from penstock.workflow.step import RunContext, Step, StepEvent

__all__ = [
    "Child",
    "Pipeline",
    "Problem",
    "RunContext",
    "Step",
    "StepEvent",
    "check",
    "load_definition",
    "required_variables",
    "snapshot",
]

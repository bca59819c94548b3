"""Running a pipeline: steps in order over a state, judged by gates, with a trace of everything."""

from __future__ import annotations

from penstock.workflow.children import Child
from penstock.workflow.definition import load_definition
from penstock.workflow.pipeline import Pipeline
from penstock.workflow.preview import Preview
from penstock.workflow.run_context import RunContext, StepEvent
from penstock.workflow.snapshot import snapshot
from penstock.workflow.step import Step
from penstock.workflow.validation import Issue, required_variables, validate

check = validate
"""The former name of ``validate``."""

__all__ = [
    "Child",
    "Issue",
    "Pipeline",
    "Preview",
    "RunContext",
    "Step",
    "StepEvent",
    "check",
    "load_definition",
    "required_variables",
    "snapshot",
    "validate",
]

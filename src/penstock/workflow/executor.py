"""Running steps over a state, one after the other. The only loop over the steps of a pipeline."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from penstock.entities import ExecutionResult
from penstock.workflow.block_errors import to_record_error
from penstock.workflow.isolation import run_apart
from penstock.workflow.run_context import RunContext, StepEvent
from penstock.workflow.snapshot import snapshot
from penstock.workflow.step import Step
from penstock.workflow.step_run import StateSource, StepRun

logger = logging.getLogger("penstock.workflow")


class Executor:
    """Runs the steps of a pipeline over the state ``outcome.result``, and adds what they make to ``outcome``.

    Templates see ``outcome.initial`` as ``metadata``.
    """

    def __init__(self, steps: Sequence[Step], outcome: ExecutionResult, context: RunContext) -> None:
        self.outcome = outcome
        self._steps = steps
        self._context = context

    async def run(self, first: int, last: int) -> None:
        """Run the steps numbered ``first`` to ``last``, until one fails: ``outcome`` then has the error.

        When the pipeline's last step has run, ``pipeline_output`` is added. Raises StorageError when the
        journal cannot be kept.
        """
        outcome = self.outcome
        started = time.time()
        for step in self._steps[first - 1 : last]:
            await self.run_step(step)
            if outcome.error is not None:
                break
        else:
            if last == len(self._steps):
                self._add_pipeline_output()
        self._context.usage.start_time, self._context.usage.end_time = started, time.time()
        outcome.result = snapshot(outcome.result)

    async def run_step(self, step: Step) -> None:
        """Run one step; if it fails, the state stays as it was before it."""
        outcome, trace_id = self.outcome, self._context.trace_id
        state = outcome.result
        on_step = self._context.on_step
        if on_step is not None:
            on_step(StepEvent("started", step.number, len(self._steps), step.type))
        logger.debug("[%s] Executing %s (%d/%d)", trace_id, step.type, step.number, len(self._steps))
        made = frozenset(name for entry in outcome.trace for name in entry["output"])
        run = StepRun(step, state, StateSource(outcome.initial, made), self._context)
        try:
            if step.runs_user_code:
                await run_apart(run.run(), step.label)
            else:
                await run.run()
        except (Exception, asyncio.CancelledError) as error:
            outcome.error = to_record_error(step, error, state)
            self.add_entry(step, run.entry, state)
            run.entry["error"] = outcome.error.message
            logger.error("[%s] step %d: %s", trace_id, step.number, outcome.error.message)
            return
        self.add_entry(step, run.entry, {**state, **run.entry["output"]})
        logger.debug("[%s] %s completed in %.3fs", trace_id, step.type, run.entry["execution_time"])
        if on_step is not None:
            on_step(StepEvent("finished", step.number, len(self._steps), step.type))

    def add_entry(self, step: Step, entry: dict[str, Any], state: dict[str, Any]) -> None:
        """Add the trace entry of ``step``, after which the state is ``state``."""
        entry["accumulated_state"] = self.outcome.result = state
        self.outcome.trace.append(entry)

    def _add_pipeline_output(self) -> None:
        """``pipeline_output``: what a block set, else ``assistant``, else the last step's first output."""
        outcome = self.outcome
        if not self._steps or any("pipeline_output" in entry["output"] for entry in outcome.trace):
            return
        state, outputs = outcome.result, self._steps[-1].outputs
        first = state.get(outputs[0], "") if outputs else ""
        outcome.result = {**state, "pipeline_output": state.get("assistant", first)}
        outcome.trace[-1]["accumulated_state"] = outcome.result

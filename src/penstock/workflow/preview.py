"""Trying out some steps of a pipeline, with the outputs of others given."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.blocks.base import BaseMultiplierBlock
from penstock.entities import ExecutionResult, Usage
from penstock.errors import BadInputError, BlockExecutionError, ValidationError
from penstock.workflow.children import multiply
from penstock.workflow.executor import Executor
from penstock.workflow.run_context import RunContext
from penstock.workflow.snapshot import snapshot
from penstock.workflow.step import Step

Pins = Mapping[int, Mapping[str, Any]]
"""The outputs of steps that need not run, by the step's number."""


@dataclass(slots=True)
class Preview:
    """Some steps of a pipeline, tried out."""

    outcome: ExecutionResult
    numbers: list[int] = field(default_factory=list)
    """The number of the step that each entry of the trace belongs to."""
    children: int | None = None
    """How many states a multiplier made; None when none was run."""


@dataclass(frozen=True, slots=True)
class PreviewPlan:
    """Which steps to try out."""

    up_to: int | None = None
    """The last step to run; None for all."""
    only: int | None = None
    """The only step to run, besides those that are pinned."""
    pins: Pins = field(default_factory=dict)
    child: int = 0
    """Which of a multiplier's children goes on, from 0."""

    def refuse_unknown(self, steps: Sequence[Step]) -> None:
        """Raise BadInputError when the pipeline has no such step, or a pinned step no such output."""
        for number in (*self.pins, self.up_to, self.only):
            if number is not None and not 1 <= number <= len(steps):
                raise BadInputError(
                    f"There is no step {number}: the pipeline has {len(steps)}.", detail={"step": number}
                )
        for number, outputs in self.pins.items():
            step = steps[number - 1]
            if unknown := [name for name in outputs if name not in step.outputs]:
                raise BadInputError(
                    f"Step {number} ({step.type}) does not make {', '.join(unknown)}; it makes "
                    f"{', '.join(step.outputs) or 'nothing'}.",
                    detail={"step": number, "outputs": step.outputs},
                )


async def preview_steps(
    steps: Sequence[Step], data: Mapping[str, Any], plan: PreviewPlan, context: RunContext | None
) -> Preview:
    """Run the steps of ``plan`` over a copy of ``data``; see ``Pipeline.preview``."""
    plan.refuse_unknown(steps)
    context = replace(context, usage=Usage()) if context else RunContext()
    context.trace_id = context.trace_id or str(uuid.uuid4())
    state: dict[str, Any] = snapshot(dict(data))
    preview = Preview(ExecutionResult(state, [], context.trace_id, context.usage, state))
    await _PreviewExecutor(steps, preview, plan, context).run(1, plan.only or plan.up_to or len(steps))
    return preview


class _PreviewExecutor(Executor):
    """Skips steps and uses pinned outputs; of a multiplier's children it goes on with one."""

    def __init__(
        self, steps: Sequence[Step], preview: Preview, plan: PreviewPlan, context: RunContext
    ) -> None:
        super().__init__(steps, preview.outcome, context)
        self._preview = preview
        self._plan = plan

    async def run_step(self, step: Step) -> None:
        if step.number in self._plan.pins:
            self._use_pinned(step)
        elif self._plan.only not in {None, step.number}:
            return
        elif step.is_multiplier:
            await self._run_multiplier(step)
        else:
            await super().run_step(step)

    def add_entry(self, step: Step, entry: dict[str, Any], state: dict[str, Any]) -> None:
        super().add_entry(step, entry, state)
        self._preview.numbers.append(step.number)

    def _use_pinned(self, step: Step) -> None:
        given = self.outcome.result
        output = snapshot(dict(self._plan.pins[step.number]))
        consumed = step.block.consumes if isinstance(step.block, BaseMultiplierBlock) else ()
        state = {**{key: value for key, value in given.items() if key not in consumed}, **output}
        entry = step.trace_entry(given, output, state)
        entry["pinned"] = True
        self.add_entry(step, entry, state)

    async def _run_multiplier(self, step: Step) -> None:
        try:
            children = await multiply(step, snapshot(self.outcome.result), self._context)
        except (BlockExecutionError, ValidationError) as error:
            self.outcome.error = error
            return
        self._preview.children = len(children)
        index = self._plan.child
        if index >= len(children):
            raise BadInputError(
                f"There is no child {index}: the multiplier made {len(children)}, counted from 0.",
                detail={"child": index, "children": len(children)},
            )
        child = children[index]
        self._context.sample = self._context.sample._replace(child=child.name)
        self.outcome.child = child.name
        self.add_entry(step, child.trace[0], child.state)

"""A pipeline: a list of steps over a state that accumulates."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from penstock import llm
from penstock.blocks.base import BaseMultiplierBlock
from penstock.blocks.registry import BlockRegistry
from penstock.blocks.registry import default_registry as default_blocks
from penstock.entities import Constraints, ExecutionResult, Usage
from penstock.errors import (
    BadInputError,
    BlockExecutionError,
    DefinitionError,
    PipelineError,
    StorageError,
    ValidationError,
)
from penstock.gates import GateRegistry
from penstock.gates import default_registry as default_gates
from penstock.template_renderer import seed_variables
from penstock.workflow.snapshot import snapshot
from penstock.workflow.step import RunContext, Step, StepEvent, StepFailure, to_failure
from penstock.workflow.validation import load_definition

logger = logging.getLogger("penstock.workflow")

_NOBODY = RunContext()
"""The context of an execution that nobody keeps, and nobody listens to."""

MULTIPLIER_FIRST = "Multiplier block must be first in pipeline"
ONE_MULTIPLIER = "Only one multiplier block allowed per pipeline"


@dataclass(slots=True)
class Child:
    """A state to run the steps over: the seed's own, or one of those that a multiplier made of it."""

    state: dict[str, Any]
    name: str = ""
    """The child's path; empty when the pipeline does not multiply."""
    initial: dict[str, Any] = field(default_factory=dict)
    """What the multiplier was given."""
    trace: tuple[dict[str, Any], ...] = ()
    """The multiplier's own entry, which the child's trace begins with."""
    usage: Usage = field(default_factory=Usage)
    """What the multiplier's own calls used, with the first of its children."""


@dataclass(slots=True)
class Preview:
    """Some steps of a pipeline, tried out."""

    outcome: ExecutionResult
    numbers: list[int]
    """Which step each entry of the trace belongs to."""
    children: int | None = None
    """How many states a multiplier made; None when none was run."""


class Pipeline:
    """Steps that run strictly in order, each seeing everything that those before it made.

    >>> pipeline = Pipeline("Shout", [{"type": "ValidatorBlock", "config": {"min_length": 1}}])
    >>> result, trace, trace_id = await pipeline.execute({"text": "hello"})  # doctest: +SKIP
    """

    def __init__(
        self,
        name: str,
        blocks: Sequence[Mapping[str, Any]],
        *,
        block_registry: BlockRegistry | None = None,
        gate_registry: GateRegistry | None = None,
        **extra: Any,
    ) -> None:
        """Build the steps; raises BlockNotFoundError, GateNotFoundError or DefinitionError if one cannot be.

        ``extra`` is whatever else the definition holds (description, constraints, layout …); it is kept.
        """
        if isinstance(blocks, str) or not isinstance(blocks, Sequence):
            raise DefinitionError("'blocks' must be a list of steps, each with a 'type'.")
        self.name = str(name)
        self._block_registry = block_registry or default_blocks()
        self._gate_registry = gate_registry or default_gates()
        self.steps = [
            Step(number, definition, self._block_registry, self._gate_registry)
            for number, definition in enumerate(blocks, start=1)
        ]
        self._definition: dict[str, Any] = snapshot({"name": name, **extra, "blocks": list(blocks)})
        multipliers = [step.number for step in self.steps if step.is_multiplier]
        if len(multipliers) > 1:
            raise DefinitionError(ONE_MULTIPLIER, detail={"steps": multipliers})
        if multipliers and multipliers != [1]:
            raise DefinitionError(MULTIPLIER_FIRST, detail={"steps": multipliers})
        if multipliers:
            _refuse_unusual(self.steps[0])
        self.constraints = Constraints.read(extra.get("constraints"))

    @classmethod
    def load_from_dict(cls, definition: Mapping[str, Any], **registries: Any) -> Pipeline:
        """The pipeline that ``definition`` (name, blocks, …) describes."""
        name, blocks = definition.get("name") or "", definition.get("blocks") or []
        pipeline = cls(name, blocks, constraints=definition.get("constraints"), **registries)
        # Whatever else stands there is kept, even under names that are arguments of ours.
        pipeline._definition = snapshot({**definition, "name": name, "blocks": blocks})
        return pipeline

    @classmethod
    def load(cls, path: str | Path, **registries: Any) -> Pipeline:
        """The pipeline in a YAML or JSON file; raises DefinitionError with the line when it is malformed."""
        definition, _ = load_definition(path)
        return cls.load_from_dict(definition, **registries)

    def to_dict(self) -> dict[str, Any]:
        """The definition; ``load_from_dict`` makes the same pipeline of it."""
        return snapshot(self._definition)  # type: ignore[no-any-return]  # a dict gives a dict

    def without_gates(self) -> Pipeline:
        """The same blocks, held to nothing: for a rehearsal, which has no real answers to judge."""
        steps = [
            {key: value for key, value in step.items() if key not in {"gates", "heal"}}
            for step in self._definition["blocks"]
        ]
        return Pipeline(
            self.name, steps, block_registry=self._block_registry, gate_registry=self._gate_registry
        )

    @property
    def is_multiplier(self) -> bool:
        """Whether one seed gives several records."""
        return bool(self.steps) and self.steps[0].is_multiplier

    async def execute(
        self, data: Mapping[str, Any], context: RunContext | None = None
    ) -> ExecutionResult | list[ExecutionResult]:
        """Run all steps over a copy of ``data``; a multiplier pipeline gives a list, one result a child.

        Raises BlockExecutionError, or ValidationError, when a step fails. A child that fails does not stop
        the others: its result carries the ``error``.
        """
        results = [result async for result in self.stream(data, context)]
        whole = results[0] if results and not results[0].child else None
        if whole is None:
            return results
        if whole.error is not None:
            raise whole.error
        return whole

    async def stream(
        self, data: Mapping[str, Any], context: RunContext | None = None
    ) -> AsyncIterator[ExecutionResult]:
        """The results one by one as they are made; a failure is a result with an ``error``."""
        context = context or RunContext()
        try:
            children = await self.expand(data, context)
        except (BlockExecutionError, ValidationError) as error:
            yield self.fail(data, error, context.usage)
            return
        for child in children:
            yield await self.run_child(child, context)

    def fail(self, data: Mapping[str, Any], error: PipelineError, usage: Usage) -> ExecutionResult:
        """The result of a seed that ``expand`` could make nothing of."""
        state: dict[str, Any] = snapshot(dict(data))
        step, trace_id = self.steps[0], str(uuid.uuid4())
        logger.error("[%s] step %d: %s", trace_id, step.number, error.message)
        entry = {
            "block_type": step.type,
            "input": state,
            "output": {},
            "accumulated_state": state,
            "execution_time": 0.0,
            "error": error.message,
        }
        return ExecutionResult(dict(state), [entry], trace_id, usage, state, "", error)

    async def expand(self, data: Mapping[str, Any], context: RunContext | None = None) -> list[Child]:
        """The states that ``data`` becomes: itself, or a multiplier's children.

        Raises BlockExecutionError, or ValidationError, when the multiplier fails.
        """
        state: dict[str, Any] = snapshot(dict(data))
        if not self.is_multiplier:
            return [Child(state)]
        step = self.steps[0]
        block = step.block
        assert isinstance(block, BaseMultiplierBlock)  # or the pipeline would not have been made
        context = context or RunContext()
        scope = llm.CallContext(
            context.sample._replace(step=1), context.journal, context.mode, on_call=context.on_call
        )
        started = time.perf_counter()
        try:
            with llm.use_call_context(scope):
                made = [snapshot(chunk) for chunk in await block.multiply(snapshot(state))]
            for chunk in made:
                step.refuse_undeclared(chunk)
        except StorageError:
            raise
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            raise _block_error(step, to_failure(error), state) from error
        finally:
            context.usage.add(scope.usage)
        seconds = time.perf_counter() - started
        kept = {key: value for key, value in state.items() if key not in block.consumes}
        children = [_make_child(step, index, state, kept, chunk, seconds) for index, chunk in enumerate(made)]
        if scope.calls and children:
            children[0].usage = scope.usage
            children[0].trace[0].update(usage=scope.usage.to_dict(), calls=scope.calls)
        return children

    async def run_child(self, child: Child, context: RunContext | None = None) -> ExecutionResult:
        """Run the steps over one state; what goes wrong in a step is the result's ``error``.

        Raises StorageError when the journal cannot be kept.
        """
        trace_id = str(uuid.uuid4())
        context = (context or _NOBODY).for_child(child.name, trace_id)
        context.usage.add(child.usage)
        started = time.time()
        logger.info("[%s] Starting pipeline '%s' with %d blocks", trace_id, self.name, len(self.steps))
        outcome = ExecutionResult(
            child.state, list(child.trace), trace_id, context.usage, child.initial or child.state, child.name
        )
        token = seed_variables.set(outcome.initial)
        try:
            for step in self.steps[len(child.trace) :]:
                if not await self._run_step(step, outcome, context):
                    break
            else:
                self._settle_output(outcome)
                seconds = time.time() - started
                logger.info("[%s] Pipeline '%s' completed in %.3fs", trace_id, self.name, seconds)
        finally:
            seed_variables.reset(token)
        context.usage.start_time, context.usage.end_time = started, time.time()
        outcome.result = snapshot(outcome.result)
        return outcome

    async def preview(
        self,
        data: Mapping[str, Any],
        *,
        up_to: int | None = None,
        only: int | None = None,
        pins: Mapping[int, Mapping[str, Any]] | None = None,
        child: int = 0,
        context: RunContext | None = None,
    ) -> Preview:
        """Run the steps up to one, or only one; a pinned step is not run and gives what it is pinned to.

        Of a multiplier's children the one with the index ``child`` goes on. A step that fails is the last one
        of the outcome, which carries the ``error``. Raises BadInputError when there is no such step, output
        or child, and StorageError when the journal cannot be kept.
        """
        pins = pins or {}
        self._refuse_unknown(pins, up_to, only)
        context = replace(context, usage=Usage()) if context else RunContext()
        context.trace_id = context.trace_id or str(uuid.uuid4())
        started = time.time()
        last = only or up_to or len(self.steps)
        wanted = {last} if only else set(range(1, last + 1))
        state: dict[str, Any] = snapshot(dict(data))
        made = Preview(ExecutionResult(state, [], context.trace_id, context.usage, state), [])
        token = seed_variables.set(state)
        try:
            for step in self.steps[:last]:
                if step.number in pins:
                    _add_pinned(step, made.outcome, pins[step.number])
                elif step.number not in wanted:
                    continue
                elif step.is_multiplier:
                    await self._preview_child(made, child, context)
                else:
                    await self._run_step(step, made.outcome, context)
                if made.outcome.error is not None and len(made.outcome.trace) == len(made.numbers):
                    break
                made.numbers.append(step.number)
                if made.outcome.error is not None:
                    break
        finally:
            seed_variables.reset(token)
        if made.outcome.error is None and made.numbers and last == len(self.steps):
            self._settle_output(made.outcome)
        context.usage.start_time, context.usage.end_time = started, time.time()
        made.outcome.result = snapshot(made.outcome.result)
        return made

    async def _preview_child(self, made: Preview, index: int, context: RunContext) -> None:
        """Run the multiplier, and go on with one of its children."""
        try:
            children = await self.expand(made.outcome.result, context)
        except (BlockExecutionError, ValidationError) as error:
            made.outcome.error = error
            return
        made.children = len(children)
        if index >= len(children):
            raise BadInputError(
                f"There is no child {index}: the multiplier made {len(children)}, counted from 0.",
                detail={"child": index, "children": len(children)},
            )
        chosen = children[index]
        context.sample = context.sample._replace(child=chosen.name)
        made.outcome.result, made.outcome.child = chosen.state, chosen.name
        made.outcome.trace.extend(chosen.trace)

    def _refuse_unknown(
        self, pins: Mapping[int, Mapping[str, Any]], up_to: int | None, only: int | None
    ) -> None:
        for number in (*pins, up_to, only):
            if number is not None and not 1 <= number <= len(self.steps):
                raise BadInputError(
                    f"There is no step {number}: the pipeline has {len(self.steps)}.", detail={"step": number}
                )
        for number, outputs in pins.items():
            step = self.steps[number - 1]
            if unknown := [name for name in outputs if name not in step.outputs]:
                raise BadInputError(
                    f"Step {number} ({step.type}) does not make {', '.join(unknown)}; it makes "
                    f"{', '.join(step.outputs) or 'nothing'}.",
                    detail={"step": number, "outputs": step.outputs},
                )

    async def _run_step(self, step: Step, outcome: ExecutionResult, context: RunContext) -> bool:
        """Run one step and add to the outcome; False when it failed and the outcome says why."""
        state = outcome.result
        self._tell(context, "started", step)
        logger.debug("[%s] Executing %s (%d/%d)", context.trace_id, step.type, step.number, len(self.steps))
        try:
            entry = await step.run(state, context)
        except StepFailure as failure:
            if isinstance(failure.cause, StorageError):
                raise failure.cause from None
            outcome.error = _block_error(step, failure.cause, state)
            entry = failure.entry
            entry["accumulated_state"] = state
            entry["error"] = outcome.error.message
            outcome.trace.append(entry)
            logger.error("[%s] step %d: %s", context.trace_id, step.number, outcome.error.message)
            return False
        entry["accumulated_state"] = outcome.result = {**state, **entry["output"]}
        outcome.trace.append(entry)
        logger.debug("[%s] %s completed in %.3fs", context.trace_id, step.type, entry["execution_time"])
        self._tell(context, "finished", step)
        return True

    def _settle_output(self, outcome: ExecutionResult) -> None:
        """``pipeline_output``: what a block set, else ``assistant``, else the last block's first output."""
        if not self.steps or any("pipeline_output" in entry["output"] for entry in outcome.trace):
            return
        state, outputs = outcome.result, self.steps[-1].outputs
        first = state.get(outputs[0], "") if outputs else ""
        chosen = state.get("assistant", first)
        outcome.result = {**state, "pipeline_output": chosen}
        outcome.trace[-1]["accumulated_state"] = outcome.result

    def _tell(self, context: RunContext, kind: Any, step: Step) -> None:
        if context.on_step is not None:
            context.on_step(StepEvent(kind, step.number, len(self.steps), step.type))

    async def run(
        self,
        seeds: Iterable[Mapping[str, Any]],
        *,
        concurrency: int = 8,
        journal: llm.Journal | None = None,
    ) -> list[ExecutionResult]:
        """Run the pipeline over seeds, ``concurrency`` at a time, and return the results in the seeds' order.

        A seed is its variables, or ``{"metadata": variables, "repetitions": n}``. Failures are results with
        an ``error``. Everything stays in memory; ``penstock.run`` streams to disk and survives being killed.
        Raises StorageError when the journal cannot be kept.
        """
        if concurrency < 1:
            raise BadInputError(f"concurrency is {concurrency}; give 1 or more.")
        items = [
            (seed, repetition)
            for seed, repetitions in map(_read_seed, seeds)
            for repetition in range(repetitions)
        ]
        results: list[list[ExecutionResult]] = [[] for _ in items]
        waiting = iter(enumerate(items))

        async def work() -> None:
            for index, (seed, repetition) in waiting:
                context = RunContext(sample=llm.Sample(llm.seed_digest(seed), repetition), journal=journal)
                results[index] = [result async for result in self.stream(seed, context)]

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(items))):
                    group.create_task(work())
        except* PipelineError as errors:
            raise errors.exceptions[0] from None
        return [result for made in results for result in made]


def _add_pinned(step: Step, outcome: ExecutionResult, outputs: Mapping[str, Any]) -> None:
    """A step that is not run, because what it gives is known."""
    given = outcome.result
    output = snapshot(dict(outputs))
    consumed = step.block.consumes if isinstance(step.block, BaseMultiplierBlock) else ()
    outcome.result = {**{key: value for key, value in given.items() if key not in consumed}, **output}
    entry = {
        "block_type": step.type,
        "input": given,
        "output": output,
        "accumulated_state": outcome.result,
        "execution_time": 0.0,
        "pinned": True,
    }
    outcome.trace.append(entry)


def _make_child(
    step: Step,
    index: int,
    given: dict[str, Any],
    kept: dict[str, Any],
    chunk: dict[str, Any],
    seconds: float,
) -> Child:
    state = {**kept, **chunk}
    entry = {
        "block_type": step.type,
        "input": given,
        "output": chunk,
        "accumulated_state": state,
        "execution_time": seconds,
    }
    return Child(state, str(index), given, (entry,))


def _block_error(step: Step, cause: Exception, state: dict[str, Any]) -> PipelineError:
    """The error of a step that failed; what it returned wrongly stays a ValidationError (contract A8-A10)."""
    if isinstance(cause, ValidationError):
        return cause
    reason = cause.message if isinstance(cause, PipelineError) else str(cause) or type(cause).__name__
    known = cause.detail if isinstance(cause, PipelineError) else {}
    error = BlockExecutionError(
        f"Block '{step.type}' failed at step {step.number}: {reason}",
        detail={**known, "block_type": step.type, "step": step.number, "error": reason, "input": state},
    )
    error.__cause__ = cause
    return error


def _refuse_unusual(step: Step) -> None:
    """A multiplier gives states, not an output that gates could judge or samples could be compared of."""
    if not isinstance(step.block, BaseMultiplierBlock):
        raise DefinitionError(f"'{step.type}' multiplies and must derive from BaseMultiplierBlock.")
    if step.gates or step.policy is not None or step.samples > 1:
        raise DefinitionError(
            f"Step 1 ({step.type}) multiplies; put its gates, heal and samples on a step after it.",
            detail={"step": 1},
        )


def _read_seed(seed: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """A seed's variables and repetitions, from either of its two forms."""
    if isinstance(seed.get("metadata"), Mapping) and seed.keys() <= {"metadata", "repetitions"}:
        repetitions = seed.get("repetitions", 1)
        return seed["metadata"], repetitions if type(repetitions) is int else 1
    return seed, 1

"""A pipeline: a list of steps over a state that accumulates."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock import llm
from penstock.blocks.base import BaseMultiplierBlock
from penstock.blocks.registry import BlockRegistry
from penstock.blocks.registry import default_registry as default_blocks
from penstock.entities import Constraints, ExecutionResult, Usage
from penstock.errors import BlockExecutionError, DefinitionError, PipelineError, ValidationError
from penstock.gates import GateRegistry
from penstock.gates import default_registry as default_gates
from penstock.workflow.batch import run_seeds
from penstock.workflow.children import Child, multiply, refuse_misplaced_multipliers
from penstock.workflow.definition import load_definition, refuse_duplicate_keys
from penstock.workflow.executor import Executor
from penstock.workflow.preview import Preview, PreviewPlan, preview_steps
from penstock.workflow.run_context import RunContext
from penstock.workflow.snapshot import snapshot
from penstock.workflow.step import Step

logger = logging.getLogger("penstock.workflow")

_DEFAULT_CONTEXT = RunContext()


class Pipeline:
    """Steps that run strictly in order, each of which sees everything that those before it made.

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

        ``extra`` are all other keys of the definition (description, constraints, layout …); they are kept.
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
        refuse_misplaced_multipliers(self.steps)
        self.constraints = Constraints.read(extra.get("constraints"))

    @classmethod
    def load_from_dict(cls, definition: Mapping[str, Any], **registries: Any) -> Pipeline:
        """The pipeline that ``definition`` (name, blocks, …) describes."""
        name, blocks = definition.get("name") or "", definition.get("blocks") or []
        pipeline = cls(name, blocks, constraints=definition.get("constraints"), **registries)
        # All other keys are kept, even those that are named like arguments of __init__.
        pipeline._definition = snapshot({**definition, "name": name, "blocks": blocks})
        return pipeline

    @classmethod
    def load(cls, path: str | Path, **registries: Any) -> Pipeline:
        """The pipeline in a YAML or JSON file; raises DefinitionError with the line when it is malformed."""
        definition, text = load_definition(path)
        refuse_duplicate_keys(text, Path(path).name)
        return cls.load_from_dict(definition, **registries)

    def to_dict(self) -> dict[str, Any]:
        """The definition; ``load_from_dict`` makes the same pipeline of it."""
        return snapshot(self._definition)  # type: ignore[no-any-return]  # a dict gives a dict

    def without_gates(self) -> Pipeline:
        """The same blocks without gates and healing, for a dry run, which has no real answers to judge."""
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

    def find_consumed(self, seed: Mapping[str, Any]) -> tuple[str, ...]:
        """The fields of ``seed`` that the pipeline's multiplier takes away from its children."""
        block = self.steps[0].block if self.steps else None
        consumes = block.consumes if isinstance(block, BaseMultiplierBlock) else ()
        return tuple(name for name in consumes if name in seed)

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

    async def expand(self, data: Mapping[str, Any], context: RunContext | None = None) -> list[Child]:
        """The states that ``data`` becomes: itself, or a multiplier's children.

        Raises BlockExecutionError, or ValidationError, when the multiplier fails.
        """
        state: dict[str, Any] = snapshot(dict(data))
        if not self.is_multiplier:
            return [Child(state)]
        return await multiply(self.steps[0], state, context or RunContext())

    def fail(self, data: Mapping[str, Any], error: PipelineError, usage: Usage) -> ExecutionResult:
        """The result of a seed for which ``expand`` raised ``error``."""
        state: dict[str, Any] = snapshot(dict(data))
        step, trace_id = self.steps[0], str(uuid.uuid4())
        logger.error("[%s] step %d: %s", trace_id, step.number, error.message)
        entry = step.trace_entry(state, {}, state)
        entry["error"] = error.message
        return ExecutionResult(dict(state), [entry], trace_id, usage, state, "", error)

    async def run_child(self, child: Child, context: RunContext | None = None) -> ExecutionResult:
        """Run the steps over one state; what goes wrong in a step is the result's ``error``.

        Raises StorageError when the journal cannot be kept.
        """
        trace_id = str(uuid.uuid4())
        context = (context or _DEFAULT_CONTEXT).for_child(child.name, trace_id)
        if child.trace:  # a multiplier made the child, and may have asked a model
            context.usage.add(child.usage)
        started = time.time()
        logger.info("[%s] Starting pipeline '%s' with %d blocks", trace_id, self.name, len(self.steps))
        outcome = ExecutionResult(
            child.state, list(child.trace), trace_id, context.usage, child.initial or child.state, child.name
        )
        await Executor(self.steps, outcome, context).run(len(child.trace) + 1, len(self.steps))
        if outcome.error is None:
            seconds = time.time() - started
            logger.info("[%s] Pipeline '%s' completed in %.3fs", trace_id, self.name, seconds)
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
        """Run the steps up to one, or only one; of a pinned step the output is given, and it does not run.

        Of a multiplier's children the one with the index ``child`` goes on. A step that fails is the last one
        of the outcome, which carries the ``error``. Raises BadInputError when there is no such step, output
        or child, and StorageError when the journal cannot be kept.
        """
        plan = PreviewPlan(up_to, only, pins or {}, child)
        return await preview_steps(self.steps, data, plan, context)

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
        return await run_seeds(self.stream, seeds, concurrency, journal)

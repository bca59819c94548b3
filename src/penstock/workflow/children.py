"""What a seed becomes before its steps run: itself, or the children that a multiplier makes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock import llm
from penstock.blocks.base import BaseMultiplierBlock
from penstock.entities import State, Usage
from penstock.errors import DefinitionError
from penstock.user_code import safe_text, to_exception
from penstock.workflow.block_errors import to_record_error
from penstock.workflow.isolation import run_apart
from penstock.workflow.run_context import RunContext
from penstock.workflow.snapshot import snapshot
from penstock.workflow.step import Step

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
    """What the multiplier's own model calls used; only its first child has it."""


async def multiply(step: Step, state: dict[str, Any], context: RunContext) -> list[Child]:
    """The children that a multiplier makes of ``state``.

    Raises BlockExecutionError or ValidationError when it fails, StorageError when the journal does.
    """
    block = step.block
    assert isinstance(block, BaseMultiplierBlock)  # refuse_misplaced_multipliers made sure of it
    calls = llm.CallContext(
        context.sample._replace(step=1), context.journal, context.mode, on_call=context.on_call
    )
    started = time.perf_counter()
    chunks: list[dict[str, Any]] = []
    work = _split(step, block, state, calls, chunks)
    try:
        if step.runs_user_code:
            await run_apart(work, step.label)
        else:
            await work
    except (Exception, asyncio.CancelledError) as error:
        raise to_record_error(step, error, state) from error
    finally:
        context.usage.add(calls.usage)
    seconds = time.perf_counter() - started
    kept = {key: value for key, value in state.items() if key not in block.consumes}
    children = []
    for index, chunk in enumerate(chunks):
        child_state = {**kept, **chunk}
        entry = step.trace_entry(state, chunk, child_state, seconds)
        children.append(Child(child_state, str(index), state, (entry,)))
    if calls.calls and children:
        children[0].usage = calls.usage
        children[0].trace[0].update(usage=calls.usage.to_dict(), calls=calls.calls)
    return children


async def _split(
    step: Step,
    block: BaseMultiplierBlock,
    state: dict[str, Any],
    calls: llm.CallContext,
    chunks: list[dict[str, Any]],
) -> None:
    """Ask the multiplier, and add what it returns to ``chunks``."""
    watched_as = step.label  # noqa: F841 (read by the watchdog)
    try:
        with llm.use_call_context(calls):
            made = await block.multiply(State(snapshot(state), state))
        if not isinstance(made, (list, tuple)):
            raise TypeError(f"multiply must return a list of dicts, not {safe_text(type(made).__name__, 60)}")
        chunks.extend(step.read_output(chunk, f"[{index}].") for index, chunk in enumerate(made))
    except Exception:
        raise
    except BaseException as error:
        raise to_exception(error, apart=step.runs_user_code) from error


def refuse_misplaced_multipliers(steps: Sequence[Step]) -> None:
    """Raise DefinitionError unless there is at most one multiplier, which comes first and has no gates.

    A multiplier gives several states, so it has no one output that gates could judge or samples could vary.
    """
    multipliers = [step for step in steps if step.is_multiplier]
    if not multipliers:
        return
    numbers = [step.number for step in multipliers]
    if len(multipliers) > 1:
        raise DefinitionError(ONE_MULTIPLIER, detail={"steps": numbers})
    if numbers != [1]:
        raise DefinitionError(MULTIPLIER_FIRST, detail={"steps": numbers})
    step = multipliers[0]
    if not isinstance(step.block, BaseMultiplierBlock):
        raise DefinitionError(f"'{step.type}' multiplies and must derive from BaseMultiplierBlock.")
    if step.gates or step.policy is not None or step.samples > 1:
        raise DefinitionError(
            f"Step 1 ({step.type}) multiplies; put its gates, heal and samples on a step after it.",
            detail={"step": 1},
        )

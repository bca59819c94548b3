"""Running one step: the only place where a block is asked, and its output judged and healed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from types import CoroutineType
from typing import Any, NamedTuple

from yaml.representer import Representer, SafeRepresenter

from penstock import llm
from penstock.entities import Attempt, Parts, State, Target, Usage
from penstock.errors import PipelineError
from penstock.gates import AttemptRecord, find_medoid, heal
from penstock.gates.whole_answer import WholeAnswerGate
from penstock.user_code import to_exception
from penstock.workflow.run_context import RunContext
from penstock.workflow.snapshot import snapshot
from penstock.workflow.step import Step

_FIRST_ATTEMPT = Attempt(1)

for _representer in (SafeRepresenter, Representer):  # a block may write its input as YAML
    _representer.add_representer(State, SafeRepresenter.represent_dict)


class StateSource(NamedTuple):
    """Where the fields of a state come from: the seed's variables, and the names that steps have returned."""

    seed: Mapping[str, Any]
    made: frozenset[str]


class StepRun:
    """One step over one state.

    ``entry`` is the step's trace entry, without ``accumulated_state``. It is complete after ``run``; when
    ``run`` raised, it holds what is known by then, with every attempt.
    """

    __slots__ = (
        "_answer_gate",
        "_attempts",
        "_calls",
        "_context",
        "_output",
        "_problems",
        "_source",
        "_state",
        "_step",
        "_usage",
        "entry",
    )

    def __init__(self, step: Step, state: dict[str, Any], source: StateSource, context: RunContext) -> None:
        self.entry: dict[str, Any] = {"block_type": step.type, "input": state, "output": {}}
        self._step = step
        self._state = state
        self._source = source
        self._context = context
        self._usage = Usage()
        self._calls: list[dict[str, Any]] = []
        self._attempts: list[AttemptRecord] = []
        self._problems: list[str] = []
        """Why answers of the last attempt were no whole answers."""
        self._answer_gate = WholeAnswerGate(self._problems, step.outputs)
        self._output: dict[str, Any] = {}
        """The output of the last attempt."""

    async def run(self) -> None:
        """Ask the block, judge its output with the gates and heal it; raises their errors."""
        started = time.perf_counter()
        entry = self.entry
        try:
            parts = await self._make(_FIRST_ATTEMPT)
            is_judged = self._step.gates or self._problems
            entry["output"] = await self._heal(parts) if is_judged else self._output
        finally:
            entry["execution_time"] = time.perf_counter() - started
            if self._calls:
                entry["usage"] = self._usage.to_dict()
                entry["calls"] = self._calls
                self._context.usage.add(self._usage)
            attempts = self._attempts
            if len(attempts) > 1 or (attempts and attempts[0].findings):
                entry["attempts"] = [attempt.to_dict() for attempt in attempts]

    async def _make(self, attempt: Attempt) -> Parts:
        """One attempt's output: of several samples the one that is most like all others."""
        self._problems.clear()
        if self._step.samples == 1:
            self._output = await self._ask_block(attempt, 0)
            return Parts(self._output)
        samples = await _gather(self._ask_block(attempt, index) for index in range(self._step.samples))
        self._output = samples[await find_medoid(samples)]
        return Parts(self._output, samples=samples)

    async def _ask_block(self, attempt: Attempt, index: int) -> dict[str, Any]:
        """One sample of one attempt; the block's model calls find their context by themselves."""
        step, context = self._step, self._context
        new_sample = context.retry_from is not None and step.number >= context.retry_from
        seed, repetition, child, *_ = context.sample
        sample = llm.Sample(
            seed,
            repetition,
            child,
            step.number,
            attempt.number,
            index,
            context.round if new_sample else 0,
        )
        watched_as = step.label  # noqa: F841 (read by the watchdog)
        given = State(snapshot(self._state), *self._source)
        call_context = llm.CallContext(
            sample,
            context.journal,
            context.mode,
            self._usage,
            self._calls,
            problems=self._problems,
            on_call=context.on_call,
            on_answer=context.on_answer,
        )
        with llm.use_call_context(call_context):
            try:
                return step.read_output(await _call(step, given, attempt))
            except Exception:
                raise
            except BaseException as error:  # SystemExit would end the process, not the record
                raise to_exception(error, apart=step.runs_user_code) from error

    async def _heal(self, parts: Parts) -> dict[str, Any]:
        """The output once every gate passes it."""
        try:
            healed = await heal(
                parts,
                self._make,
                [self._answer_gate, *self._step.gates],
                self._step.policy,
                state=self._state,
                on_attempt=self._attempts.append,
            )
        except PipelineError:
            self.entry["output"] = self._output
            raise
        self.entry["verdicts"] = [
            {"gate": verdict.gate, "passed": verdict.passed, "skipped": verdict.skipped}
            for verdict in healed.verdicts
            if verdict.gate != WholeAnswerGate.__name__
        ]
        return dict(healed.parts)


def _call(step: Step, given: State, attempt: Attempt) -> Awaitable[Any]:
    """The block's answer to one attempt, still to be awaited."""
    if attempt.number > 1:
        made: Any = step.block.regenerate(given, attempt)
    elif step.first_temperature is not None:
        target = Target(temperature=step.first_temperature)
        made = step.block.regenerate(given, Attempt(1, dict.fromkeys(step.outputs, target)))
    else:
        made = step.block.execute(given)
    if type(made) is CoroutineType or isinstance(made, Awaitable):  # asking the class alone is faster
        return made
    raise TypeError("execute gives nothing to await; write 'async def execute'")


async def _gather(samples: Iterable[Coroutine[Any, Any, dict[str, Any]]]) -> list[dict[str, Any]]:
    """All samples; when one fails, the others are waited for, since their calls are paid for."""
    made = await asyncio.gather(*samples, return_exceptions=True)
    for sample in made:
        if isinstance(sample, BaseException):
            raise sample
    return [sample for sample in made if isinstance(sample, dict)]

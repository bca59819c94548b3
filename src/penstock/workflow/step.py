"""A step: a block with its settings, its gates and its way of healing. The one place where a step runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from penstock import llm
from penstock.blocks.base import BaseMultiplierBlock
from penstock.blocks.registry import BlockRegistry
from penstock.entities import Attempt, Parts, Target, Usage
from penstock.errors import DefinitionError, HealingError, ValidationError
from penstock.gates import AttemptRecord, BaseGate, GateRegistry, HealPolicy, heal, medoid, parts_named
from penstock.workflow.snapshot import snapshot

logger = logging.getLogger("penstock.workflow")

MAX_SAMPLES = 100
"""The most samples of one step; more is a slip of the finger."""


class StepEvent(NamedTuple):
    """News of a step, for whoever listens to an execution."""

    kind: Literal["started", "finished"]
    number: int
    """From 1."""
    total: int
    block_type: str


@dataclass(slots=True)
class RunContext:
    """What an execution carries from step to step: who it is, where its calls are kept, who listens."""

    trace_id: str = ""
    sample: llm.Sample = field(default_factory=llm.Sample)
    journal: llm.Journal | None = None
    mode: llm.JournalMode = llm.JournalMode.NORMAL
    usage: Usage = field(default_factory=Usage)
    retry_from: int | None = None
    """The step whose gates refused the record before: from here on its calls are new samples."""
    round: int = 0
    """Which new sample, when ``retry_from`` is set."""
    on_step: Callable[[StepEvent], None] | None = None
    on_call: Callable[[], None] | None = None
    """Told when a model is about to be asked."""

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
        )


class StepFailure(Exception):  # noqa: N818 (never leaves this floor: it carries a step's entry past the raise)
    """A step failed; ``entry`` is its part of the trace, with every attempt."""

    def __init__(self, entry: dict[str, Any], cause: Exception) -> None:
        super().__init__(str(cause))
        self.entry = entry
        self.cause = cause


class Step:
    """One entry of a pipeline's ``blocks``, ready to run; serves many records at once."""

    def __init__(
        self, number: int, definition: Mapping[str, Any], blocks: BlockRegistry, gates: GateRegistry
    ) -> None:
        """Build the step that ``definition`` describes; raises DefinitionError, BlockNotFoundError, …"""
        _refuse_malformed(number, definition)
        self.number = number
        self.type: str = definition["type"]
        self.config: dict[str, Any] = dict(definition.get("config") or {})
        self.block = blocks.create(self.type, self.config)
        self.outputs = list(self.block.outputs)
        self.samples: int = definition.get("samples", 1)
        policy = definition.get("heal")
        self.policy = HealPolicy.from_config(policy) if policy is not None else None
        self._first_temperature = self.policy.first_temperature() if self.policy else None
        named = definition.get("gates") or []
        self.gates = [gates.create(gate["type"], dict(gate.get("config") or {})) for gate in named]
        for gate in self.gates:
            self._refuse_unmade_parts(gate)
        self._schema_gate = self._make_schema_gate(gates, already={gate["type"] for gate in named})
        if self._schema_gate is not None:
            self.gates.insert(0, self._schema_gate)
        for gate in self.gates:
            gate.bind(self.outputs[0] if self.outputs else None)
        self.gates.sort(key=lambda gate: gate.cost)
        self._declared = frozenset(self.outputs)

    @property
    def is_multiplier(self) -> bool:
        """Whether the step makes several states out of one."""
        return isinstance(self.block, BaseMultiplierBlock) or self.block.is_multiplier

    def _refuse_unmade_parts(self, gate: BaseGate) -> None:
        for part in parts_named(gate, self.outputs[0] if self.outputs else None):
            if part.split(".", 1)[0] not in self.outputs:
                raise DefinitionError(
                    f"Step {self.number} ({self.type}): {type(gate).__name__} looks at '{part}', which the "
                    f"step does not make; it makes {', '.join(self.outputs) or 'nothing'}.",
                    detail={"step": self.number, "gate": type(gate).__name__, "part": part},
                )

    def _make_schema_gate(self, gates: GateRegistry, already: set[str]) -> BaseGate | None:
        """A block that promises a schema is held to it wherever its output is judged at all."""
        schema = self.block.expects_schema(self.config)
        if schema is None or "JSONSchemaGate" in already or not (self.gates or self.policy):
            return None
        return gates.create("JSONSchemaGate", {"json_schema": schema, "part": self.outputs[0]})

    async def run(self, state: dict[str, Any], context: RunContext) -> dict[str, Any]:
        """Make, judge and heal the step's output; returns the step's trace entry without accumulated_state.

        Raises StepFailure with the entry as far as it came.
        """
        started = time.perf_counter()
        entry: dict[str, Any] = {"block_type": self.type, "input": state, "output": {}}
        usage = Usage()
        calls: list[dict[str, Any]] = []
        attempts: list[AttemptRecord] = []

        async def make(attempt: Attempt, given: dict[str, Any]) -> Parts:
            if self.samples == 1:
                return Parts(await self._make_once(attempt, given, context, usage, calls, 0))
            made = await _gather(
                self._make_once(attempt, given, context, usage, calls, index) for index in range(self.samples)
            )
            return Parts(made[medoid(made)], samples=made)

        try:
            parts = await make(Attempt(1), state)
            if self.gates:
                parts = await self._heal(parts, make, state, entry, attempts)
            entry["output"] = dict(parts)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            raise StepFailure(entry, to_failure(error)) from error
        finally:
            entry["execution_time"] = time.perf_counter() - started
            if calls:
                entry["usage"] = usage.to_dict()
                entry["calls"] = calls
                context.usage.add(usage)
            if len(attempts) > 1 or (attempts and attempts[0].findings):
                entry["attempts"] = [attempt.to_dict() for attempt in attempts]
        return entry

    async def _make_once(
        self,
        attempt: Attempt,
        state: dict[str, Any],
        context: RunContext,
        usage: Usage,
        calls: list[dict[str, Any]],
        index: int,
    ) -> dict[str, Any]:
        again = context.round if context.retry_from is not None and self.number >= context.retry_from else 0
        seed, repetition, child, *_ = context.sample
        sample = llm.Sample(seed, repetition, child, self.number, attempt.number, index, again)
        with llm.use_call_context(
            llm.CallContext(sample, context.journal, context.mode, usage, calls, context.on_call)
        ):
            if attempt.number > 1:
                made = await self.block.regenerate(snapshot(state), attempt)
            elif self._first_temperature is not None:
                target = Target(temperature=self._first_temperature)
                first = Attempt(1, dict.fromkeys(self.outputs, target))
                made = await self.block.regenerate(snapshot(state), first)
            else:
                made = await self.block.execute(snapshot(state))
        self.refuse_undeclared(made)
        return snapshot(made)  # type: ignore[no-any-return]  # a dict gives a dict

    async def _heal(
        self,
        parts: Parts,
        make: Callable[[Attempt, dict[str, Any]], Awaitable[Parts]],
        state: dict[str, Any],
        entry: dict[str, Any],
        attempts: list[AttemptRecord],
    ) -> Parts:
        last = parts

        async def remake(attempt: Attempt) -> Parts:
            nonlocal last
            last = await make(attempt, state)
            return last

        try:
            healed = await heal(
                parts, remake, self.gates, self.policy, state=state, on_attempt=attempts.append
            )
        except HealingError as error:
            entry["output"] = dict(last)
            if self._is_unread_answer(error, last):
                return last
            raise
        entry["verdicts"] = [
            {"gate": verdict.gate, "passed": verdict.passed, "skipped": verdict.skipped}
            for verdict in healed.verdicts
        ]
        return healed.parts

    def _is_unread_answer(self, error: HealingError, parts: Parts) -> bool:
        """Whether all that is left to say is that the text is no JSON, and nobody asked for a gate on it.

        Such a text is kept as ``raw_response`` rather than lost (contract A88).
        """
        if self._schema_gate is None or len(self.gates) > 1:
            return False
        answer = parts.get(self.outputs[0])
        return isinstance(answer, dict) and set(answer) == {"raw_response"} and bool(error.detail)

    def refuse_undeclared(self, made: Any) -> None:
        """Raise ValidationError when the block returned more than it declares (contract A6)."""
        if not isinstance(made, dict):
            raise TypeError(f"execute must return a dict, not {type(made).__name__}")
        if made.keys() <= self._declared:
            return
        extra = [key for key in made if key not in self._declared]
        raise ValidationError(
            f"Block '{self.type}' returned undeclared fields: {', '.join(map(str, extra))}",
            detail={
                "block_type": self.type,
                "declared_outputs": self.outputs,
                "actual_outputs": list(made),
                "extra_fields": extra,
            },
        )


def to_failure(error: BaseException) -> Exception:
    """What a block raised, as a failure of its record alone; raises ``error`` when we are to end.

    A block that calls ``sys.exit``, or lets a cancelled task of its own come through, must neither end the
    process nor make its record vanish.
    """
    if isinstance(error, Exception):
        return error
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise error
    return RuntimeError(f"it raised {type(error).__name__}")


async def _gather(samples: Iterable[Coroutine[Any, Any, dict[str, Any]]]) -> list[dict[str, Any]]:
    """All samples; when one fails, the others are waited for, since their calls are paid for."""
    made = await asyncio.gather(*samples, return_exceptions=True)
    for sample in made:
        if isinstance(sample, BaseException):
            raise sample
    return [sample for sample in made if isinstance(sample, dict)]


def _refuse_malformed(number: int, definition: Any) -> None:
    """Raise DefinitionError unless ``definition`` has the form of a step."""
    if not isinstance(definition, Mapping):
        raise DefinitionError(
            f"Step {number} is {definition!r:.60}; write a mapping such as {{type: TextGenerator}}.",
            detail={"step": number},
        )
    samples = definition.get("samples", 1)
    gates = definition.get("gates") or []
    faults = {
        "type": None if isinstance(definition.get("type"), str) else "the name of a block",
        "config": None if isinstance(definition.get("config") or {}, Mapping) else "a mapping of settings",
        "gates": None
        if isinstance(gates, list | tuple) and all(_is_gate(gate) for gate in gates)
        else "a list of gates, each {type: …, config: …}",
        "samples": None
        if type(samples) is int and 1 <= samples <= MAX_SAMPLES
        else f"a whole number from 1 to {MAX_SAMPLES}",
    }
    for key, wanted in faults.items():
        if wanted is not None:
            raise DefinitionError(
                f"Step {number}: '{key}' must be {wanted}.", detail={"step": number, "key": key}
            )


def _is_gate(gate: Any) -> bool:
    return (
        isinstance(gate, Mapping)
        and isinstance(gate.get("type"), str)
        and isinstance(gate.get("config") or {}, Mapping)
    )

"""Checks the parts of an output with gates, and asks again for only the parts with findings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from penstock.entities import Attempt, Finding, Parts, Verdict
from penstock.errors import GateError, PipelineError
from penstock.gates.attempts import AttemptHistory, AttemptRecord
from penstock.gates.base import BaseGate
from penstock.gates.heal_policy import HealPolicy
from penstock.gates.parts import merge_parts, merge_samples
from penstock.user_code import (
    UserCodeError,
    describe_exception,
    is_user_class,
    name_exception,
    safe_text,
    to_exception,
)

__all__ = ["AttemptRecord", "HealPolicy", "Healed", "Remake", "heal"]

Remake = Callable[[Attempt], Awaitable[Mapping[str, Any]]]
"""Generates the targets of an attempt again and returns them by part; any other part is ignored."""

_CHECK_ONCE = HealPolicy(max_attempts=1)
_cost = attrgetter("cost")


@dataclass(frozen=True, slots=True)
class Healed:
    """Parts that passed every gate, the verdicts on them, and the number of attempts."""

    parts: Parts
    verdicts: tuple[Verdict, ...] = ()
    attempts: int = 1


async def heal(
    parts: Mapping[str, Any],
    remake: Remake,
    gates: Sequence[BaseGate],
    policy: HealPolicy | None,
    *,
    state: Mapping[str, Any] | None = None,
    on_attempt: Callable[[AttemptRecord], None] | None = None,
) -> Healed:
    """Check ``parts`` with ``gates``, and ask ``remake`` for the parts with findings until there are none.

    Gates run in order of cost; when a cheaper one has findings, more expensive ones do not run. A part
    without findings stays as it was, whatever ``remake`` returns. Without a ``policy`` the parts are checked
    once. ``on_attempt`` receives each attempt after its check. When the attempts are used up, raises
    HealingError, or the ``error`` of the gate when only one has findings. Raises GateError when a gate cannot
    run.
    """
    policy = policy or _CHECK_ONCE
    if len(gates) > 1:
        gates = sorted(gates, key=_cost)
    history = AttemptHistory(policy, on_attempt)
    current = _to_parts(parts, parts, state)
    verdicts = await _judge(history, gates, current, parts, None)
    if verdicts is not None:
        return Healed(current, verdicts)
    for number in range(2, policy.max_attempts + 1):
        attempt = history.plan_next(number, current)
        try:
            made = await remake(attempt)
        except PipelineError as error:
            history.attach_to(error)
            raise
        named = list(attempt.targets)
        samples = merge_samples(_get_samples(current), _get_samples(made), named)
        current = _to_parts(Parts(merge_parts(current, made, named), samples=samples), current, state)
        verdicts = await _judge(history, gates, current, made, attempt)
        if verdicts is not None:
            return Healed(current, verdicts, number)
        if policy.stop_on_repeat and history.repeats():
            break
    raise history.give_up(gates)


async def _judge(
    history: AttemptHistory,
    gates: Sequence[BaseGate],
    current: Parts,
    made: Mapping[str, Any],
    attempt: Attempt | None,
) -> tuple[Verdict, ...] | None:
    """The verdicts when every gate passes, None otherwise; adds the attempt to ``history``."""
    try:
        verdicts, passed = await _run_gates(gates, current)
    except PipelineError as error:
        history.attach_to(error)
        raise
    if passed and history.on_attempt is None:  # nobody reads the record of an attempt that passed
        return verdicts
    history.add(attempt, made, current, verdicts)
    if passed:
        return verdicts
    history.count_failures(gates)
    return None


async def _run_gates(gates: Sequence[BaseGate], parts: Parts) -> tuple[tuple[Verdict, ...], bool]:
    """The verdicts, and whether all gates passed; gates above the cost of a finding do not run."""
    verdicts: list[Verdict] = []
    passed, cost = True, 0
    for gate in gates:
        if not passed and gate.cost > cost:
            break
        cost = gate.cost
        watched_as = f"Gate '{type(gate).__name__}'"  # noqa: F841 (read by the watchdog)
        try:
            verdict = await gate.check(parts) if gate.is_async else gate.look(parts)
            if not isinstance(verdict, Verdict):
                raise TypeError(f"it returned {safe_text(type(verdict).__name__, 60)}, not a Verdict")
            if verdict.findings or verdict.skipped:
                verdict = _make_safe(verdict, type(gate).__name__)
        except PipelineError:
            raise
        except BaseException as error:  # a user's gate may raise anything
            raise _to_gate_error(gate, error) from error
        verdicts.append(verdict)
        if verdict.findings:
            passed = False
    return tuple(verdicts), passed


def _make_safe(verdict: Verdict, name: str) -> Verdict:
    """The verdict with nothing but text in it, whatever a user's gate has put there."""
    findings = tuple(verdict.findings)
    for finding in findings:
        if not isinstance(finding, Finding):
            raise TypeError(f"a finding is {safe_text(type(finding).__name__, 60)}, not a Finding")
    return Verdict(
        safe_text(verdict.gate),
        tuple(
            Finding(
                safe_text(finding.part),
                safe_text(finding.message),
                safe_text(finding.gate or name),
                None if finding.expected is None else safe_text(finding.expected),
                None if finding.got is None else safe_text(finding.got),
            )
            for finding in findings
        ),
        safe_text(verdict.skipped) if verdict.skipped else None,
    )


def _to_gate_error(gate: BaseGate, error: BaseException) -> GateError:
    """What a gate raised, as the error of its record; raises a signal or our own cancellation again."""
    reason = to_exception(error, apart=is_user_class(type(gate)))
    name = type(gate).__name__
    text = str(reason) if isinstance(reason, UserCodeError) else name_exception(reason)
    return GateError(
        f"The gate {name} could not run: {text}",
        detail={"gate": name, "error": describe_exception(reason)},
    )


def _to_parts(
    values: Mapping[str, Any], fallback: Mapping[str, Any], state: Mapping[str, Any] | None
) -> Parts:
    """``values`` as gates receive them: with the state that contains them, and with their samples."""
    known = _get_state(fallback) if state is None else state
    return Parts(values, {**known, **values}, _get_samples(values))


def _get_state(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return values.state if isinstance(values, Parts) else values


def _get_samples(values: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return values.samples if isinstance(values, Parts) else ()

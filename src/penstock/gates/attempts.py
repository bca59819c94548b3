"""The attempts at one output: what each returned, what gates found, what to generate again next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.entities import Attempt, Finding, Parts, Target, Verdict
from penstock.errors import HealingError, PipelineError
from penstock.gates.base import BaseGate
from penstock.gates.entropy_state import PartEntropyState
from penstock.gates.heal_policy import HealPolicy
from penstock.gates.parts import ABSENT, Keys, find_part, is_beneath, resolve_part

_MAX_FINDINGS_IN_MESSAGE = 3


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt: what was asked for, what came back, and what the gates found."""

    number: int
    temperatures: Mapping[str, float]
    """The temperature of each part that was generated again; empty for the first generation."""
    parts: Mapping[str, Any]
    """What the block returned, including parts that were not asked for."""
    merged: Mapping[str, Any]
    """What the gates checked: the parts that were asked for as returned, all others unchanged."""
    verdicts: tuple[Verdict, ...] = ()
    temperature: float | None = None
    """The hottest of ``temperatures``; for the first generation the policy's, None when the block chose."""

    @property
    def findings(self) -> list[Finding]:
        """The findings in the order of the gates; the same message about the same part counts once."""
        found: dict[tuple[str, str], Finding] = {}
        for verdict in self.verdicts:
            for finding in verdict.findings:
                found.setdefault((finding.part, finding.message), finding)
        return list(found.values())

    def to_dict(self) -> dict[str, Any]:
        """The attempt as a trace keeps it: number, temperature, temperatures, parts, findings, skipped."""
        entry: dict[str, Any] = {"number": self.number, "temperature": self.temperature}
        if self.temperatures:
            entry["temperatures"] = dict(self.temperatures)
        entry["parts"] = dict(self.parts)
        entry["findings"] = [finding.to_dict() for finding in self.findings]
        skipped = {verdict.gate: verdict.skipped for verdict in self.verdicts if verdict.skipped}
        if skipped:
            entry["skipped"] = skipped
        return entry


@dataclass(slots=True)
class AttemptHistory:
    """The attempts so far at the output of one step."""

    policy: HealPolicy
    on_attempt: Callable[[AttemptRecord], None] | None
    records: list[AttemptRecord] = field(default_factory=list)
    entropy: PartEntropyState | None = None

    def add(
        self,
        attempt: Attempt | None,
        parts: Mapping[str, Any],
        merged: Parts,
        verdicts: tuple[Verdict, ...],
    ) -> AttemptRecord:
        """Keep an attempt and report it to ``on_attempt``; ``attempt`` is None for the first generation."""
        record = AttemptRecord(
            1 if attempt is None else attempt.number,
            {} if attempt is None else {part: to.temperature for part, to in attempt.targets.items()},
            parts,
            merged,
            verdicts,
            self.policy.first_temperature() if attempt is None else attempt.temperature,
        )
        self.records.append(record)
        if self.on_attempt is not None:
            self.on_attempt(record)
        return record

    def count_failures(self, gates: Sequence[BaseGate]) -> None:
        """Count one failure for each part that the findings of the last attempt name."""
        disagreement = {type(gate).__name__: gate.disagreement for gate in gates}
        wrong: dict[str, bool] = {}
        for verdict in self.records[-1].verdicts:
            for finding in verdict.findings:
                wrong[finding.part] = wrong.get(finding.part, False) or not disagreement.get(verdict.gate)
        if self.entropy is None:
            self.entropy = PartEntropyState(self.policy.entropy)
        for part, is_wrong in wrong.items():
            self.entropy.add_failure(part, disagreement=not is_wrong)

    def plan_next(self, number: int, parts: Parts) -> Attempt:
        """The attempt that asks for the parts with findings, each with its temperature and findings.

        A finding that names no part is about the whole output. A part inside another part with findings is
        generated together with that one.
        """
        entropy = self.entropy
        assert entropy is not None  # set by count_failures of the previous attempt
        planned: dict[Keys, _PlannedPart] = {}
        for finding in self.records[-1].findings:
            temperature = entropy.temperature(finding.part, number)
            for part in [finding.part] if finding.part else list(parts):
                planned_part = planned.setdefault(resolve_part(part, parts), _PlannedPart(part))
                planned_part.findings.append(finding)
                planned_part.temperatures.append(temperature)
        _join_nested(planned)
        return Attempt(number, {target.part: target.to_target(parts) for target in planned.values()})

    def repeats(self) -> bool:
        """Whether the last two attempts had the same findings."""
        before, last = (
            {(finding.part, finding.gate, finding.message) for finding in record.findings}
            for record in self.records[-2:]
        )
        return before == last

    def attach_to(self, error: PipelineError) -> None:
        """Add the attempts made before ``error`` to its detail."""
        if self.records:
            error.detail.setdefault("attempts", [record.to_dict() for record in self.records])

    def give_up(self, gates: Sequence[BaseGate]) -> PipelineError:
        """The error that says what is still wrong; a gate that alone has findings may choose its class."""
        last = self.records[-1]
        failing = [verdict for verdict in last.verdicts if verdict.findings]
        findings = last.findings
        messages = [f"{finding.gate}: {finding.message}" for finding in findings[:_MAX_FINDINGS_IN_MESSAGE]]
        if len(findings) > len(messages):
            messages.append(f"and {len(findings) - len(messages)} more")
        who = "1 gate still reports" if len(failing) == 1 else f"{len(failing)} gates still report"
        attempts = "1 attempt" if len(self.records) == 1 else f"{len(self.records)} attempts"
        own = {type(gate).__name__: gate.error for gate in gates}
        error = (own.get(failing[0].gate) if len(failing) == 1 else None) or HealingError
        return error(
            f"{who} issues after {attempts}: {'; '.join(messages)}",
            {
                "findings": [finding.to_dict() for finding in findings],
                "attempts": [record.to_dict() for record in self.records],
            },
        )


@dataclass(slots=True)
class _PlannedPart:
    """A part that the next attempt generates again; the hottest of ``temperatures`` is used."""

    part: str
    findings: list[Finding] = field(default_factory=list)
    temperatures: list[float] = field(default_factory=list)

    def to_target(self, parts: Parts) -> Target:
        previous = find_part(parts, self.part)
        findings = tuple(dict.fromkeys(self.findings))
        return Target(max(self.temperatures), findings, None if previous is ABSENT else previous)


def _join_nested(planned: dict[Keys, _PlannedPart]) -> None:
    """Move the findings and temperatures of a part inside another planned part to that one."""
    for keys in sorted(planned, key=len, reverse=True):
        if is_beneath(keys, planned):
            outer = next(other for other in planned if is_beneath(keys, [other]))
            inner = planned.pop(keys)
            planned[outer].findings.extend(inner.findings)
            planned[outer].temperatures.extend(inner.temperatures)

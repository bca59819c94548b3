"""Holding parts to gates, and asking again for just the parts that were found wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from penstock.entities import Attempt, Finding, Parts, Target, Verdict
from penstock.errors import DefinitionError, GateError, HealingError, PipelineError
from penstock.gates.base import BaseGate
from penstock.gates.entropy import EntropyPolicy
from penstock.gates.entropy_state import PartEntropyState
from penstock.gates.parts import ABSENT, Keys, find_part, is_beneath, merge_parts, merge_samples, resolve_part

Remake = Callable[[Attempt], Awaitable[Mapping[str, Any]]]
"""Makes again what an attempt names, and returns it by part; what it returns beyond that is ignored."""

_MOST_ATTEMPTS = 100
_FINDINGS_TOLD = 3
_cost = attrgetter("cost")


@dataclass(frozen=True, slots=True)
class HealPolicy:
    """How long to go on, and how hot.

    ``max_attempts`` counts the first making. ``entropy=None`` makes wrong parts hotter (Ramp) and parts whose
    samples disagree cooler (Decay). With ``stop_on_repeat`` the same findings twice in a row end it early.
    """

    max_attempts: int = 4
    entropy: EntropyPolicy | None = None
    stop_on_repeat: bool = False

    def __post_init__(self) -> None:
        attempts: Any = self.max_attempts
        if isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= _MOST_ATTEMPTS:
            raise DefinitionError(
                f"max_attempts is {attempts!r}; write a whole number from 1 to {_MOST_ATTEMPTS}",
                detail={"key": "heal.max_attempts"},
            )
        if not isinstance(self.stop_on_repeat, bool):
            raise DefinitionError(
                f"stop_on_repeat is {self.stop_on_repeat!r}; write true or false",
                detail={"key": "heal.stop_on_repeat"},
            )

    @classmethod
    def from_config(cls, config: Any) -> HealPolicy:
        """The policy of a step's ``heal``; raises DefinitionError, saying what to write instead."""
        if isinstance(config, HealPolicy):
            return config
        if not isinstance(config, Mapping):
            raise DefinitionError(
                f"heal must be a mapping such as {{max_attempts: 4}}, not {type(config).__name__}",
                detail={"key": "heal"},
            )
        known = ("max_attempts", "entropy", "stop_on_repeat")
        for key in config:
            if key not in known:
                raise DefinitionError(
                    f"heal has no setting '{key}'; it takes {', '.join(known)}", detail={"key": f"heal.{key}"}
                )
        settings = dict(config)
        if settings.get("entropy") is not None:
            settings["entropy"] = EntropyPolicy.from_config(settings["entropy"])
        return cls(**settings)

    def first_temperature(self) -> float | None:
        """The temperature of the first making; None leaves it to the block."""
        return None if self.entropy is None else self.entropy.first_temperature()


_ONE_LOOK = HealPolicy(max_attempts=1)


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt: what was asked for, what came back, and what the gates said of the whole."""

    number: int
    temperatures: Mapping[str, float]
    """The temperature of each part that was made again; empty for the first making."""
    parts: Mapping[str, Any]
    """What was returned, parts included that were not asked for."""
    merged: Mapping[str, Any]
    """What the gates saw: the returned parts that were asked for, and all others as they were."""
    verdicts: tuple[Verdict, ...] = ()
    temperature: float | None = None
    """The hottest of ``temperatures``; of the first making the policy's, None when the block chose."""

    @property
    def findings(self) -> list[Finding]:
        """The faults that were found, in the order of the gates; what several say of a part counts once."""
        found: dict[tuple[str, str], Finding] = {}
        for verdict in self.verdicts:
            for finding in verdict.findings:
                found.setdefault((finding.part, finding.message), finding)
        return list(found.values())

    def to_dict(self) -> dict[str, Any]:
        """The attempt as a trace keeps it: number, temperature, temperatures, parts, findings, skipped."""
        facts: dict[str, Any] = {"number": self.number, "temperature": self.temperature}
        if self.temperatures:
            facts["temperatures"] = dict(self.temperatures)
        facts["parts"] = dict(self.parts)
        facts["findings"] = [finding.to_dict() for finding in self.findings]
        skipped = {verdict.gate: verdict.skipped for verdict in self.verdicts if verdict.skipped}
        if skipped:
            facts["skipped"] = skipped
        return facts


@dataclass(frozen=True, slots=True)
class Healed:
    """Parts that every gate passed, the verdicts on them, and how many attempts it took."""

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
    """Hold ``parts`` to ``gates``, asking ``remake`` for the parts found wrong until none is.

    Gates look cheap to dear, and a dearer one does not look while a cheaper one finds fault. A part that no
    gate named is carried over untouched, whatever ``remake`` returns. Without a ``policy`` there is one look.
    ``on_attempt`` hears of each attempt once it is judged. Raises HealingError, or the class that the only
    gate still finding fault asks for, when the attempts are used up; GateError when a gate cannot look.
    """
    policy = policy or _ONE_LOOK
    if len(gates) > 1:
        gates = sorted(gates, key=_cost)
    story = _Story(policy, on_attempt)
    seen = _as_parts(parts, parts, state)
    verdicts = await story.judge(gates, seen, parts, None)
    if verdicts is not None:
        return Healed(seen, verdicts)
    for number in range(2, policy.max_attempts + 1):
        attempt = story.plan(number, seen)
        try:
            made = await remake(attempt)
        except PipelineError as error:
            story.attach(error)
            raise
        named = list(attempt.targets)
        samples = merge_samples(_samples(seen), _samples(made), named)
        seen = _as_parts(Parts(merge_parts(seen, made, named), samples=samples), seen, state)
        verdicts = await story.judge(gates, seen, made, attempt)
        if verdicts is not None:
            return Healed(seen, verdicts, number)
        if policy.stop_on_repeat and story.repeats():
            break
    raise story.give_up(gates)


@dataclass(slots=True)
class _Story:
    """What happened to one output so far."""

    policy: HealPolicy
    on_attempt: Callable[[AttemptRecord], None] | None
    records: list[AttemptRecord] = field(default_factory=list)
    entropy: PartEntropyState | None = None

    async def judge(
        self,
        gates: Sequence[BaseGate],
        seen: Parts,
        made: Mapping[str, Any],
        attempt: Attempt | None,
    ) -> tuple[Verdict, ...] | None:
        """The verdicts when all is well, and None when it is not; the attempt is kept either way."""
        try:
            verdicts, passed = await _look(gates, seen)
        except PipelineError as error:
            self.attach(error)
            raise
        if passed and self.on_attempt is None:
            return verdicts
        record = AttemptRecord(
            1 if attempt is None else attempt.number,
            {} if attempt is None else {part: to.temperature for part, to in attempt.targets.items()},
            made,
            seen,
            verdicts,
            self.policy.first_temperature() if attempt is None else attempt.temperature,
        )
        self.records.append(record)
        if self.on_attempt is not None:
            self.on_attempt(record)
        if passed:
            return verdicts
        self._count(gates, record)
        return None

    def _count(self, gates: Sequence[BaseGate], record: AttemptRecord) -> None:
        """Count a failure for each part that the attempt's gates named."""
        disagreement = {type(gate).__name__: gate.disagreement for gate in gates}
        wrong: dict[str, bool] = {}
        for verdict in record.verdicts:
            for finding in verdict.findings:
                wrong[finding.part] = wrong.get(finding.part, False) or not disagreement.get(verdict.gate)
        if self.entropy is None:
            self.entropy = PartEntropyState(self.policy.entropy)
        for part, is_wrong in wrong.items():
            self.entropy.add_failure(part, disagreement=not is_wrong)

    def plan(self, number: int, seen: Parts) -> Attempt:
        """The next attempt: the parts that were named, each with its temperature and findings.

        A part inside another one that was named as well is made with it; a finding that names no part is
        about the whole output.
        """
        entropy = self.entropy
        assert entropy is not None  # counted when the attempt before was judged
        named: dict[Keys, tuple[str, list[Finding], list[float]]] = {}
        for finding in self.records[-1].findings:
            earned = entropy.temperature(finding.part, number)
            for part in [finding.part] if finding.part else list(seen):
                _, findings, temperatures = named.setdefault(resolve_part(part, seen), (part, [], []))
                findings.append(finding)
                temperatures.append(earned)
        for keys in sorted(named, key=len, reverse=True):
            if is_beneath(keys, named):
                above = next(other for other in named if is_beneath(keys, [other]))
                _, findings, temperatures = named.pop(keys)
                named[above][1].extend(findings)
                named[above][2].extend(temperatures)
        targets = {}
        for part, findings, temperatures in named.values():
            previous = find_part(seen, part)
            kept = None if previous is ABSENT else previous
            targets[part] = Target(max(temperatures), tuple(dict.fromkeys(findings)), kept)
        return Attempt(number, targets)

    def repeats(self) -> bool:
        """Whether the last two attempts were found wrong in just the same way."""
        before, last = ({_facts(finding) for finding in record.findings} for record in self.records[-2:])
        return before == last

    def attach(self, error: PipelineError) -> None:
        """Put the attempts that were made before ``error`` into its detail."""
        if self.records:
            error.detail.setdefault("attempts", [record.to_dict() for record in self.records])

    def give_up(self, gates: Sequence[BaseGate]) -> PipelineError:
        """The error that says what is still wrong."""
        last = self.records[-1]
        failing = [verdict for verdict in last.verdicts if verdict.findings]
        findings = last.findings
        told = [f"{finding.gate}: {finding.message}" for finding in findings[:_FINDINGS_TOLD]]
        more = len(findings) - len(told)
        if more:
            told.append(f"and {more} more")
        who = "1 gate still finds" if len(failing) == 1 else f"{len(failing)} gates still find"
        tries = "1 attempt" if len(self.records) == 1 else f"{len(self.records)} attempts"
        own = {type(gate).__name__: gate.error for gate in gates}
        error = (own.get(failing[0].gate) if len(failing) == 1 else None) or HealingError
        return error(
            f"{who} fault after {tries}: {'; '.join(told)}",
            {
                "findings": [finding.to_dict() for finding in findings],
                "attempts": [record.to_dict() for record in self.records],
            },
        )


async def _look(gates: Sequence[BaseGate], seen: Parts) -> tuple[tuple[Verdict, ...], bool]:
    """The verdicts of the gates, cheap ones first, up to the dearness at which fault was found."""
    verdicts: list[Verdict] = []
    passed, level = True, 0
    for gate in gates:
        if not passed and gate.cost > level:
            break
        level = gate.cost
        try:
            verdict = gate.look(seen) if gate._looks else await gate.check(seen)  # noqa: SLF001 (same floor)
            if not isinstance(verdict, Verdict):
                raise TypeError(f"it returned {type(verdict).__name__}, not a Verdict")
        except PipelineError:
            raise
        except Exception as error:  # somebody's own gate
            kind = type(gate).__name__
            raise GateError(
                f"The gate {kind} could not look: {type(error).__name__}: {error}",
                detail={"gate": kind, "error": str(error)},
            ) from error
        verdicts.append(verdict)
        if verdict.findings:
            passed = False
    return tuple(verdicts), passed


def _as_parts(
    values: Mapping[str, Any], fallback: Mapping[str, Any], state: Mapping[str, Any] | None
) -> Parts:
    """``values`` as gates see them: over the state, and with their samples."""
    known = _state(fallback) if state is None else state
    return Parts(values, {**known, **values}, _samples(values))


def _state(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return values.state if isinstance(values, Parts) else values


def _samples(values: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return values.samples if isinstance(values, Parts) else ()


def _facts(finding: Finding) -> tuple[str, str, str]:
    return finding.part, finding.gate, finding.message

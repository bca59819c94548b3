"""What a gate is."""

from __future__ import annotations

from typing import Any, ClassVar

from penstock.entities import Finding, Parts, Verdict


class BaseGate:
    """Looks at a step's output and says which part is wrong.

    A subclass states its settings as the arguments of ``__init__`` and finds fault in ``check``. Bad content
    is a finding; raise GateError only when the gate cannot look at all. One instance serves many records at
    once, so it keeps nothing of what it saw.
    """

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""
    cost: ClassVar[int] = 0
    """How dear a look is: 0 for plain code, 1 for a subprocess, 2 for a model call. Cheap gates run first."""

    _config_enums: ClassVar[dict[str, list[Any]]] = {}
    _config_descriptions: ClassVar[dict[str, str]] = {}
    _field_references: ClassVar[list[str]] = []
    """Arguments that name fields of the state (not of the step's output)."""
    _part_references: ClassVar[list[str]] = []
    """Arguments that name a part of the step's output; None or empty means its first output."""

    async def check(self, parts: Parts) -> Verdict:
        """The verdict on ``parts``; every finding names the part that it is about."""
        raise NotImplementedError

    def verdict(self, *findings: Finding) -> Verdict:
        """A verdict of this gate, its name put on each finding."""
        name = type(self).__name__
        return Verdict(
            gate=name,
            findings=tuple(
                Finding(finding.part, finding.message, finding.gate or name, finding.expected, finding.got)
                for finding in findings
            ),
        )

    def skip(self, reason: str) -> Verdict:
        """A verdict that says there was nothing to judge, and why."""
        return Verdict(gate=type(self).__name__, skipped=reason)

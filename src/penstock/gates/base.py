"""What a gate is."""

from __future__ import annotations

from typing import Any, ClassVar

from penstock.discovery import extract_config_schema
from penstock.entities import Finding, Parts, Verdict
from penstock.errors import PipelineError


class BaseGate:
    """Looks at a step's output and says which part is wrong.

    A subclass states its settings as the arguments of ``__init__`` and finds fault in ``check``, or in
    ``look`` when it need not wait for anything. Bad content is a finding; raise GateError only when the gate
    cannot look at all. One instance serves many records at once, so it keeps nothing of what it saw.
    """

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""
    cost: ClassVar[int] = 0
    """How dear a look is: 0 for plain code, 1 for a subprocess, 2 for a model call. Cheap gates run first."""
    error: ClassVar[type[PipelineError] | None] = None
    """What is raised when healing gives up and this gate alone still finds fault; None for HealingError."""
    disagreement: ClassVar[bool] = False
    """Whether its findings say that samples disagree, which is mended by sampling cooler, not hotter."""

    _config_enums: ClassVar[dict[str, list[Any]]] = {}
    _config_descriptions: ClassVar[dict[str, str]] = {}
    _field_references: ClassVar[list[str]] = []
    """Arguments that name fields of the state (not of the step's output)."""
    _part_references: ClassVar[list[str]] = []
    """Arguments that name a part of the step's output; None or empty means its first output."""
    _looks: ClassVar[bool] = False
    """Whether ``look`` says what ``check`` would, so that nothing need be awaited; found out by itself."""
    _passed: ClassVar[Verdict]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "look" in own or "check" in own:  # the nearest definition counts, as it does for any method
            cls._looks = "look" in own
        cls._passed = Verdict(gate=cls.__name__)

    async def check(self, parts: Parts) -> Verdict:
        """The verdict on ``parts``; every finding names the part that it is about."""
        return self.look(parts)

    def look(self, parts: Parts) -> Verdict:
        """The same for a gate that need not wait: plain code, without the cost of a coroutine."""
        raise NotImplementedError(f"{type(self).__name__} must define check or look")

    def bind(self, first_output: str | None) -> None:
        """Hear, once and before the first look, which output a part that is not named stands for."""

    def verdict(self, *findings: Finding) -> Verdict:
        """A verdict of this gate, its name put on each finding."""
        if not findings:
            return self._passed
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

    @classmethod
    def get_schema(cls) -> dict[str, Any]:
        """The gate as lists show it: type, name, description, cost, config_schema."""
        return {
            "type": cls.__name__,
            "name": cls.name or cls.__name__,
            "description": cls.description,
            "cost": cls.cost,
            "config_schema": extract_config_schema(cls),
        }

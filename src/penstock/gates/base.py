"""What a gate is."""

from __future__ import annotations

from typing import Any, ClassVar

from penstock.discovery import Configurable, Contract, Method, extract_config_schema
from penstock.entities import Finding, Parts, Verdict
from penstock.errors import PipelineError


class BaseGate(Configurable):
    """Checks a step's output and says which part is wrong.

    The arguments of ``__init__`` are the gate's settings. A subclass defines ``look`` when the check is plain
    code, or ``check`` when something must be awaited. Wrong content is a finding; raise GateError only when
    the check itself cannot run. One instance serves many records at the same time, so it must not keep
    anything of a record.
    """

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""
    cost: ClassVar[int] = 0
    """0 for plain code, 1 for a subprocess, 2 for a model call. Gates run in order of cost."""
    error: ClassVar[type[PipelineError] | None] = None
    """The class raised when healing gives up and only this gate has findings; None for HealingError."""
    disagreement: ClassVar[bool] = False
    """Whether its findings say that samples disagree. The part is then generated cooler instead of hotter."""
    is_async: ClassVar[bool] = True
    """Whether ``check`` must be awaited; if not, ``look`` gives the verdict.

    Follows from which of the two methods the nearest class defines, unless that class sets it.
    """

    _contract: ClassVar[Contract] = Contract(
        names=("field_references", "part_references", "templates"),
        mappings=("config_enums", "config_descriptions", "state_templates"),
        texts=("name", "description"),
        numbers=("cost",),
        methods=(Method("check", ("parts",)), Method("look", ("parts",), is_async=False)),
        required=(("look", "check"),),
    )

    _passed: ClassVar[Verdict]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "is_async" not in own and ("look" in own or "check" in own):
            cls.is_async = "look" not in own
        cls._passed = Verdict(gate=cls.__name__)

    async def check(self, parts: Parts) -> Verdict:
        """The verdict on ``parts``; every finding names the part that it is about."""
        return self.look(parts)

    def look(self, parts: Parts) -> Verdict:
        """The same as ``check`` for a gate that awaits nothing; saves the cost of a coroutine."""
        raise NotImplementedError(f"{type(self).__name__} must define check or look")

    def bind(self, first_output: str | None) -> None:
        """Receive the step's first output, which is the part to check when none is named; called once."""

    def verdict(self, *findings: Finding) -> Verdict:
        """A verdict of this gate, whose name is set on each finding."""
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
        """A verdict that there was nothing to check, and why."""
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

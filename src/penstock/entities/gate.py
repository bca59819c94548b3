"""What a gate sees and says, and what is asked of whoever mends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: which part is wrong, and what is wrong with it in a line that a model can act on.

    A part is an output field (``answer``), a path inside one (``generated.answer``), or a file.
    """

    part: str
    message: str
    gate: str = ""
    expected: str | None = None
    got: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data, without what is absent."""
        facts = {"part": self.part, "gate": self.gate, "message": self.message}
        if self.expected is not None:
            facts["expected"] = self.expected
        if self.got is not None:
            facts["got"] = self.got
        return facts


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate says of a step's output; ``skipped`` gives the reason when there was nothing to judge."""

    gate: str
    findings: tuple[Finding, ...] = ()
    skipped: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the gate found no fault."""
        return not self.findings


class Parts(Mapping[str, Any]):
    """The parts of a step's output, as a gate sees them.

    A mapping from part to value. ``state`` is everything that the pipeline knows at this point, the parts
    included, for gates that hold an output against its source. ``samples`` holds every sample of the step
    when it was asked for more than one (the parts are then those of the medoid).
    """

    __slots__ = ("_parts", "samples", "state")

    def __init__(
        self,
        parts: Mapping[str, Any],
        state: Mapping[str, Any] | None = None,
        samples: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._parts = parts
        self.state: Mapping[str, Any] = parts if state is None else state
        self.samples = samples

    def __getitem__(self, part: str) -> Any:
        return self._parts[part]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"Parts({dict(self._parts)!r})"


@dataclass(frozen=True, slots=True)
class Target:
    """A part to make again: how hot to sample, and what was wrong with it so far."""

    temperature: float
    findings: tuple[Finding, ...] = ()
    previous: Any = None
    """What the last attempt gave for this part."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One round of healing: its number (the first making is 1) and the parts to make again."""

    number: int
    targets: Mapping[str, Target] = field(default_factory=dict)

    @property
    def temperature(self) -> float:
        """The hottest target's temperature, for blocks that make all their parts in one call."""
        return max((target.temperature for target in self.targets.values()), default=0.0)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was wrong, over all targets."""
        return tuple(finding for target in self.targets.values() for finding in target.findings)

"""What gates check and report, and what a block is asked to generate again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One issue: which part is wrong, and what is wrong with it, in one line that a model can act on.

    A part is an output field (``answer``), a path inside one (``generated.answer``), or a file.
    """

    part: str
    message: str
    gate: str = ""
    expected: str | None = None
    got: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data; ``expected`` and ``got`` only when they are known."""
        data = {"part": self.part, "gate": self.gate, "message": self.message}
        if self.expected is not None:
            data["expected"] = self.expected
        if self.got is not None:
            data["got"] = self.got
        return data


@dataclass(frozen=True, slots=True)
class Verdict:
    """The findings of one gate on an output; ``skipped`` is the reason when there was nothing to check."""

    gate: str
    findings: tuple[Finding, ...] = ()
    skipped: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the gate has no findings."""
        return not self.findings


class Parts(Mapping[str, Any]):
    """The parts of a step's output, as a gate receives them.

    A mapping from part to value. ``state`` has all fields of the pipeline at this point, including the parts,
    for gates that compare an output with its source. ``samples`` has every sample of a step with ``samples:
    2`` or more; the parts are then those of the medoid.
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
    """A part to generate again, with its temperature and the findings of the last attempt."""

    temperature: float
    findings: tuple[Finding, ...] = ()
    previous: Any = None
    """The value of the part in the last attempt."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One round of healing: its number (the first generation is 1) and the parts to generate again."""

    number: int
    targets: Mapping[str, Target] = field(default_factory=dict)

    @property
    def temperature(self) -> float:
        """The highest temperature of all targets, for blocks that generate all parts in one call."""
        return max((target.temperature for target in self.targets.values()), default=0.0)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all targets."""
        return tuple(finding for target in self.targets.values() for finding in target.findings)

"""How hot to sample a part that has to be made again."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from penstock.errors import DefinitionError

MAX_TEMPERATURE = 2.0
_MOST_TEMPERATURES = 100


class EntropyPolicy(ABC):
    """Says which temperature a part has earned.

    In a pipeline file it is a mapping with its kind: ``{kind: ramp, step: 0.1}``.
    """

    kind: ClassVar[str] = ""

    @abstractmethod
    def temperature(self, failures: int, attempt: int) -> float:
        """The temperature of a part that failed ``failures`` times, in attempt number ``attempt``."""

    def first_temperature(self) -> float | None:
        """The temperature of the first making; None leaves it to the block."""
        return None

    @staticmethod
    def from_config(config: Any) -> EntropyPolicy:
        """The policy that ``config`` describes; raises DefinitionError, saying what to write instead."""
        if isinstance(config, EntropyPolicy):
            return config
        if not isinstance(config, Mapping):
            raise DefinitionError(
                f"entropy must be a mapping such as {{kind: ramp}}, not {type(config).__name__}",
                detail={"key": "entropy"},
            )
        kind = config.get("kind")
        cls = _KINDS.get(kind) if isinstance(kind, str) else None
        if cls is None:
            said = "does not say its kind" if kind is None else f"has no kind {_show(kind)}"
            raise DefinitionError(
                f"entropy {said}; write kind: {', '.join(sorted(_KINDS))}",
                detail={"key": "entropy.kind", "kinds": sorted(_KINDS)},
            )
        known = [setting.name for setting in fields(cls)]
        for key in config:
            if key != "kind" and key not in known:
                raise DefinitionError(
                    f"The entropy kind {kind} has no setting {_show(key)}; it takes {', '.join(known)}",
                    detail={"key": f"entropy.{key}"},
                )
        return cls(**{key: value for key, value in config.items() if key != "kind"})


@dataclass(frozen=True, slots=True)
class Ramp(EntropyPolicy):
    """Hotter with each failure of the part, for output that is wrong.

    Without a ``start`` of its own it begins at 0.0 and leaves the first making to the block.
    """

    kind: ClassVar[str] = "ramp"
    start: float | None = None
    step: float = 0.05
    ceiling: float = 0.3

    def __post_init__(self) -> None:
        start = 0.0 if self.start is None else _read_temperature("start", self.start)
        _read_temperature("step", self.step)
        if _read_temperature("ceiling", self.ceiling) < start:
            _refuse("ceiling", self.ceiling, f"a temperature from start ({start:g}) on")

    def temperature(self, failures: int, attempt: int) -> float:
        """A step above the start for each failure, up to the ceiling."""
        return min(self.ceiling, round((self.start or 0.0) + failures * self.step, 6))

    def first_temperature(self) -> float | None:
        """The start, if it was given."""
        return self.start


@dataclass(frozen=True, slots=True)
class Decay(EntropyPolicy):
    """Cooler with each failure of the part, for samples that disagree.

    Without a ``start`` of its own it begins at 0.15 and leaves the first making to the block.
    """

    kind: ClassVar[str] = "decay"
    start: float | None = None
    factor: float = 0.85

    def __post_init__(self) -> None:
        if self.start is not None:
            _read_temperature("start", self.start)
        if not _is_number(self.factor) or not 0 < self.factor <= 1:
            _refuse("factor", self.factor, "a number above 0 and up to 1")

    def temperature(self, failures: int, attempt: int) -> float:
        """The start, multiplied by the factor for each failure."""
        return round((0.15 if self.start is None else self.start) * self.factor**failures, 6)

    def first_temperature(self) -> float | None:
        """The start, if it was given."""
        return self.start


@dataclass(frozen=True, slots=True)
class Schedule(EntropyPolicy):
    """One temperature an attempt, the first making included; the last one repeats."""

    kind: ClassVar[str] = "schedule"
    temperatures: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        given: Any = self.temperatures
        if not isinstance(given, list | tuple) or not 0 < len(given) <= _MOST_TEMPERATURES:
            _refuse("temperatures", given, f"a list of 1 to {_MOST_TEMPERATURES} temperatures")
        read = tuple(_read_temperature("temperatures", value) for value in given)
        object.__setattr__(self, "temperatures", read)

    def temperature(self, failures: int, attempt: int) -> float:
        """The temperature that stands at the attempt's place."""
        return self.temperatures[min(attempt, len(self.temperatures)) - 1]

    def first_temperature(self) -> float | None:
        """The first in the list."""
        return self.temperatures[0]


_KINDS: dict[str, type[Ramp | Decay | Schedule]] = {cls.kind: cls for cls in (Ramp, Decay, Schedule)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_temperature(key: str, value: Any) -> float:
    if not _is_number(value) or not 0 <= value <= MAX_TEMPERATURE:
        _refuse(key, value, f"a temperature between 0 and {MAX_TEMPERATURE:g}")
    return float(value)


def _refuse(key: str, value: Any, instead: str) -> None:
    raise DefinitionError(
        f"The entropy setting {key} is {_show(value)}; write {instead}", detail={"key": f"entropy.{key}"}
    )


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"

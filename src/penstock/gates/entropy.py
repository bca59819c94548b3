"""The sampling temperature of a part that is generated again."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NoReturn

from penstock.errors import DefinitionError

MAX_TEMPERATURE = 2.0
_MAX_TEMPERATURES = 100


class EntropyPolicy(ABC):
    """Gives the temperature at which to generate a part again.

    In a pipeline file it is a mapping with a kind: ``{kind: ramp, step: 0.1}``.
    """

    kind: ClassVar[str] = ""

    @abstractmethod
    def temperature(self, failures: int, attempt: int) -> float:
        """The temperature of a part that failed ``failures`` times; attempts are counted from 1."""

    def first_temperature(self) -> float | None:
        """The temperature of the first generation; None leaves it to the block."""
        return None

    @staticmethod
    def from_config(config: Any) -> EntropyPolicy:
        """The policy that ``config`` describes; raises DefinitionError that says what to write instead."""
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
            issue = "does not say its kind" if kind is None else f"has no kind {_show(kind)}"
            raise DefinitionError(
                f"entropy {issue}; write kind: {', '.join(sorted(_KINDS))}",
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

    Without ``start`` it begins at 0.0, and the first generation has the block's own temperature.
    """

    kind: ClassVar[str] = "ramp"
    start: float | None = None
    step: float = 0.05
    ceiling: float = 0.3

    def __post_init__(self) -> None:
        start = 0.0 if self.start is None else _read_temperature("start", self.start)
        _read_temperature("step", self.step)
        if _read_temperature("ceiling", self.ceiling) < start:
            _raise_invalid("ceiling", self.ceiling, f"a temperature not below start ({start:g})")

    def temperature(self, failures: int, attempt: int) -> float:
        """``start`` plus one ``step`` for each failure, up to ``ceiling``."""
        return min(self.ceiling, round((self.start or 0.0) + failures * self.step, 6))

    def first_temperature(self) -> float | None:
        """``start``, if it was given."""
        return self.start


@dataclass(frozen=True, slots=True)
class Decay(EntropyPolicy):
    """Cooler with each failure of the part, for samples that disagree.

    Without ``start`` it begins at 0.15, and the first generation has the block's own temperature.
    """

    kind: ClassVar[str] = "decay"
    start: float | None = None
    factor: float = 0.85

    def __post_init__(self) -> None:
        if self.start is not None:
            _read_temperature("start", self.start)
        if not _is_number(self.factor) or not 0 < self.factor <= 1:
            _raise_invalid("factor", self.factor, "a number above 0 and up to 1")

    def temperature(self, failures: int, attempt: int) -> float:
        """``start``, multiplied by ``factor`` for each failure."""
        return round((0.15 if self.start is None else self.start) * self.factor**failures, 6)

    def first_temperature(self) -> float | None:
        """``start``, if it was given."""
        return self.start


@dataclass(frozen=True, slots=True)
class Schedule(EntropyPolicy):
    """One temperature for each attempt, including the first generation; the last one repeats."""

    kind: ClassVar[str] = "schedule"
    temperatures: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        given: Any = self.temperatures
        if not isinstance(given, list | tuple) or not 0 < len(given) <= _MAX_TEMPERATURES:
            _raise_invalid("temperatures", given, f"a list of 1 to {_MAX_TEMPERATURES} temperatures")
        read = tuple(_read_temperature("temperatures", value) for value in given)
        object.__setattr__(self, "temperatures", read)

    def temperature(self, failures: int, attempt: int) -> float:
        """The temperature of the attempt, or the last one when there are more attempts than temperatures."""
        return self.temperatures[min(attempt, len(self.temperatures)) - 1]

    def first_temperature(self) -> float | None:
        """The first of ``temperatures``."""
        return self.temperatures[0]


_KINDS: dict[str, type[Ramp | Decay | Schedule]] = {cls.kind: cls for cls in (Ramp, Decay, Schedule)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_temperature(key: str, value: Any) -> float:
    if not _is_number(value) or not 0 <= value <= MAX_TEMPERATURE:
        _raise_invalid(key, value, f"a temperature between 0 and {MAX_TEMPERATURE:g}")
    return float(value)


def _raise_invalid(key: str, value: Any, instead: str) -> NoReturn:
    raise DefinitionError(
        f"The entropy setting {key} is {_show(value)}; write {instead}", detail={"key": f"entropy.{key}"}
    )


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"

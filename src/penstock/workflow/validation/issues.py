"""The issues that a validation finds, and where they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from penstock.yaml_reader import Duplicate, SourceMap

Path = tuple[str | int, ...]
"""The keys and indices that lead to a value."""
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong: where, what, and what to write instead.

    ``step`` and ``line`` count from 1; ``key`` is the path inside the step (``config.user_prompt``), or
    inside the definition when there is no step. An error keeps the pipeline from doing what it says; a
    warning is likely a mistake.
    """

    message: str
    fix: str
    step: int | None = None
    block: str | None = None
    key: str | None = None
    line: int | None = None
    severity: Severity = "error"

    def to_dict(self) -> dict[str, Any]:
        """The issue as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        place = [f"line {self.line}"] if self.line is not None else []
        if self.step is not None:
            place.append(f"step {self.step}" + (f" ({self.block})" if self.block else ""))
        where = f"{', '.join(place)}: " if place else ""
        mark = "warning: " if self.severity == "warning" else ""
        return " ".join(f"{where}{mark}{self.message} {self.fix}".split())


@dataclass(slots=True)
class StepPlace:
    """A step, as the place of an issue."""

    number: int
    """From 1."""
    block: str | None = None
    """The type of its block, once it is known."""

    @property
    def path(self) -> Path:
        """Where the step is in the definition."""
        return ("blocks", self.number - 1)


class IssueList:
    """Collects issues; knows their lines when it has the text of the definition."""

    def __init__(self, source: str | None) -> None:
        self.found: list[Issue] = []
        self._source = SourceMap(source) if source is not None else None

    def add(
        self,
        message: str,
        fix: str,
        *,
        path: Path = (),
        step: StepPlace | None = None,
        severity: Severity = "error",
    ) -> None:
        """Add an issue at ``path``, which is inside ``step`` when there is one."""
        full_path = (*step.path, *path) if step else path
        self.found.append(
            Issue(
                message,
                fix,
                step.number if step else None,
                step.block if step else None,
                show_path(path) or None,
                self._source.line(full_path) if self._source else None,
                severity,
            )
        )

    def duplicates(self) -> Iterator[Duplicate]:
        """The keys that occur twice in a mapping of the text, in the order of their lines."""
        if self._source is not None:
            yield from sorted(self._source.duplicates(), key=lambda duplicate: duplicate.line)

    def cut_texts(self) -> Iterator[tuple[Path, str]]:
        """The texts without quotes that a comment follows, with the comment, in the order of their lines."""
        if self._source is not None:
            source = self._source
            yield from sorted(source.cut_texts(), key=lambda cut: source.line(cut[0]) or 0)


def show_path(path: Path) -> str:
    """A path as messages write it: ``gates[0].config.part``."""
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else str(part)
    return shown

"""Which fields exist at each point of a pipeline, and which its seeds must bring."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from penstock.field_paths import find_keys
from penstock.workflow.validation.issues import IssueList, Path, StepPlace, show_path
from penstock.workflow.validation.messages import list_names, suggest
from penstock.workflow.validation.schema_paths import find_missing

_FROM_ENGINE = {"metadata"}
"""Fields that templates always have."""
_ANY = "*"
"""Marks, among the made fields, that there may be others which are not known."""


class FieldTracker:
    """Follows the fields through the steps, and adds an issue for each that a step reads and nothing makes.

    Without seeds, every field that no step makes is taken to come from them, and is in ``required``.
    """

    def __init__(self, issues: IssueList, seeds: Sequence[Mapping[str, Any]] | None) -> None:
        self.required: set[str] = set()
        """Fields that the seeds must have."""
        self.seeds = seeds or None
        self.schemas: dict[str, Mapping[str, Any]] = {}
        """The JSON Schemas of fields at this point, where they are known."""
        self._issues = issues
        self._made: dict[str, int] = {}
        """Fields that steps made so far, and the last step that did."""
        self._makers: dict[str, int] = {}
        """Fields that any step makes, and the first step that does."""
        self._consumed: set[str] = set()
        """Fields of the seed that a multiplier takes away."""

    def announce(self, number: int, fields: Iterable[str]) -> None:
        """Note, before the steps are checked in order, that step ``number`` makes ``fields``."""
        for field in fields:
            self._makers.setdefault(field, number)

    def add_made(self, number: int, fields: Iterable[str]) -> None:
        """From here on the state has ``fields``, which step ``number`` makes."""
        self._made.update(dict.fromkeys(fields, number))

    def add_unknown(self) -> None:
        """From here on the state may have any field: an unknown block may make it."""
        self._made.setdefault(_ANY, 0)

    def consume(self, fields: Iterable[str]) -> None:
        """From here on the state does without ``fields`` of the seed."""
        self._consumed.update(fields)

    def find_maker(self, field: str) -> int | None:
        """The last step so far that makes ``field``."""
        return self._made.get(field)

    def is_from_seed(self, field: str) -> bool:
        """Whether ``field``, if it exists at this point, still has the seed's value."""
        return field not in self._made and field not in self._consumed

    def seed_numbers(self) -> range:
        """The numbers of the seeds, from 1."""
        return range(1, len(self.seeds or ()) + 1)

    def known(self) -> list[str]:
        """Every field that is known to exist at this point, sorted."""
        seeded = {key for seed in self.seeds or () for key in seed} - self._consumed
        return sorted((seeded | self._made.keys()) - {_ANY})

    def exists(self, field: str, number: int | None = None) -> bool:
        """Whether ``field`` exists at this point, for seed ``number`` or for any."""
        if field in self._made or _ANY in self._made or field in _FROM_ENGINE:
            return True
        if field in self._consumed:
            return False
        seeds = self.seeds or ()
        chosen = seeds if number is None else seeds[number - 1 : number]
        return any(field in seed for seed in chosen)

    def require(
        self, field: str, step: StepPlace, path: Path, reader: str = "", own: Sequence[str] = ()
    ) -> None:
        """Add an issue when ``field``, which may be a path inside one, does not exist at this point.

        ``path`` is where the step names it; ``reader`` is how the message begins. ``own`` are fields that the
        step itself has made by then.
        """
        if path == ("type",):
            reader = "The block reads"
        reader = reader or f"{show_path(path[1:]) or 'The block'} reads"
        top, _, rest = field.partition(".")
        if top == "metadata" and rest:
            self.require_variable(rest.partition(".")[0], field, step, path, reader)
        elif field in self._made or field in own:
            pass
        elif top in self._made or top in own:
            self.check_schema_path(field, step, path, reader)
        elif _ANY in self._made or top in _FROM_ENGINE:
            pass
        elif self.seeds is None:
            self._require_of_all_seeds(top, step, path, reader)
        else:
            missing = [
                number
                for number in self.seed_numbers()
                if not (self.exists(top, number) or self._has_path(field, number))
            ]
            if missing:
                self._add_missing(top, missing, step, path, reader)

    def seeds_at(self, names: Collection[str]) -> Sequence[Mapping[str, Any]] | None:
        """The state of each seed at this point, if it is known as far as ``names`` go."""
        if self.seeds is None or _ANY in self._made or any(name in self._made for name in names):
            return None
        return [
            {key: value for key, value in seed.items() if key not in self._consumed} for seed in self.seeds
        ]

    def check_schema_path(self, field: str, step: StepPlace, path: Path, reader: str) -> None:
        """Add an issue when ``field`` is a path that the JSON Schema of its first part does not have."""
        top, _, rest = field.partition(".")
        if rest and top in self.schemas and (missing := find_missing(self.schemas[top], rest)):
            name, known = missing
            self._issues.add(
                f"{reader} '{field}', and the JSON schema of '{top}' has no '{name}'.",
                suggest(name, known, "It has"),
                step=step,
                path=path,
            )

    def _has_path(self, field: str, number: int) -> bool:
        keys = find_keys((self.seeds or ())[number - 1], field)
        return keys is not None and keys[0] not in self._consumed

    def _require_of_all_seeds(self, field: str, step: StepPlace, path: Path, reader: str) -> None:
        maker = self._makers.get(field)
        if maker is not None and maker > step.number:
            self._issues.add(
                f"{reader} '{field}', which step {maker} makes, later.",
                f"Move this step below step {maker}, or see that the seeds have '{field}'.",
                step=step,
                path=path,
                severity="warning",
            )
        self.required.add(field)

    def _add_missing(self, field: str, missing: list[int], step: StepPlace, path: Path, reader: str) -> None:
        maker = self._makers.get(field)
        if len(missing) < len(self.seeds or ()):
            reason, fix = f"which seed {missing[0]} does not have", "Add it to that seed."
        elif maker is not None and maker > step.number:
            reason, fix = f"which only step {maker} makes, later", f"Move this step below step {maker}."
        elif maker == step.number:
            reason = "which only this step itself makes"
            fix = suggest(field, self.known(), "At this point there are")
        elif field in self._consumed:
            reason = "which the multiplier has taken apart"
            fix = f"Use {list_names(sorted(self._made))}."
        else:
            reason = "which neither the seeds nor an earlier step have"
            fix = suggest(field, self.known(), "At this point there are")
        self._issues.add(f"{reader} '{field}', {reason}.", fix, step=step, path=path)

    def require_variable(self, name: str, field: str, step: StepPlace, path: Path, reader: str) -> None:
        """Add an issue when a seed lacks the variable ``name``, which is read as ``field``."""
        if self.seeds is None:
            self.required.add(name)
            return
        readable = [_read_metadata(seed) for seed in self.seeds]
        missing = [number for number, names in enumerate(readable, start=1) if name not in names]
        if missing:
            whose = "no seed has" if len(missing) == len(self.seeds) else f"seed {missing[0]} does not have"
            known = sorted({key for names in readable for key in names})
            self._issues.add(
                f"{reader} '{field}', which {whose}.",
                suggest(name, known, "Seeds have"),
                step=step,
                path=path,
            )


def _read_metadata(seed: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a template reads as ``metadata``: the seed's variables, or its variable of that name."""
    own = seed.get("metadata", seed)
    return own if isinstance(own, Mapping) else {}

"""The form of a definition: plain data, its keys, its limits, and the place of multipliers."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from penstock.entities import Constraints
from penstock.workflow.children import MULTIPLIER_FIRST, ONE_MULTIPLIER
from penstock.workflow.validation.context import ValidationContext
from penstock.workflow.validation.issues import IssueList, Path, StepPlace, show_path
from penstock.workflow.validation.messages import quote, suggest
from penstock.yaml_reader import MAX_DEPTH, MAX_NODES


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """The keys that a mapping may have, and other words that people write for them."""

    keys: tuple[str, ...]
    synonyms: Mapping[str, str] = field(default_factory=dict)


PIPELINE_KEYS = KnownKeys(
    ("name", "description", "blocks", "constraints", "validation_config"),
    {"steps": "blocks", "pipeline": "blocks", "limits": "constraints", "title": "name"},
)
STEP_KEYS = KnownKeys(
    ("type", "config", "gates", "heal", "samples"),
    {"block": "type", "settings": "config", "params": "config", "retry": "heal", "healing": "heal"},
)
GATE_KEYS = KnownKeys(("type", "config"), {"gate": "type", "settings": "config"})


def check_plain_data(definition: Mapping[Any, Any], issues: IssueList) -> bool:
    """Whether the definition can be written as JSON and is not too large; adds an issue where not."""
    waiting: list[tuple[Path, Any]] = [((), definition)]
    count = 0
    while waiting:
        path, value = waiting.pop()
        count += 1
        if count > MAX_NODES or len(path) > MAX_DEPTH:
            excess = f"holds more than {MAX_NODES:,} values" if count > MAX_NODES else "is nested too deep"
            issues.add(f"The pipeline {excess}.", "Make it smaller.", path=path[:4])
            return False
        if isinstance(value, Mapping):
            for key, item in value.items():
                if not isinstance(key, str):
                    issues.add(f"The key {key!r} is not text.", "Put it in quotes.", path=path)
                    return False
                waiting.append(((*path, key), item))
        elif isinstance(value, list | tuple):
            waiting.extend(((*path, index), item) for index, item in enumerate(value))
        elif not _is_json_scalar(value):
            message = f"{show_path(path)} is not a value that JSON knows."
            issues.add(message, "Write text or a number.", path=path)
            return False
    return True


def check_duplicates(issues: IssueList) -> None:
    """Add an issue for each key that occurs twice in the same mapping."""
    for duplicate in issues.duplicates():
        step, path = _split(duplicate.path)
        issues.add(
            f"The key '{path[-1]}' is there twice (line {duplicate.first_line} and line {duplicate.line}); "
            "only the last one counts.",
            "Remove one of them.",
            step=step,
            path=path,
        )


def check_cut_texts(issues: IssueList) -> None:
    """Add a warning for each text without quotes that YAML ends at a ``#``."""
    for full_path, comment in issues.cut_texts():
        step, path = _split(full_path)
        issues.add(
            f"The text ends before {quote(comment)}, which YAML takes for a comment.",
            "Put the text in quotes if that belongs to it; else put the comment in a line of its own.",
            step=step,
            path=path,
            severity="warning",
        )


def _split(path: Path) -> tuple[StepPlace | None, Path]:
    """The step of a path in the whole definition, and the path in that step."""
    index = path[1] if len(path) > 2 and path[0] == "blocks" else None
    return (StepPlace(index + 1), path[2:]) if isinstance(index, int) else (None, path)


def check_constraints(constraints: Any, issues: IssueList) -> None:
    """Check the limits of a pipeline."""
    if constraints is None:
        return
    if not isinstance(constraints, Mapping):
        issues.add("'constraints' is not a mapping.", "Write limits by name.", path=("constraints",))
        return
    known = list(Constraints.model_fields)
    for name, limit in constraints.items():
        path = ("constraints", name)
        is_integral = name.endswith("_tokens")
        if name not in known:
            issues.add(
                f"There is no limit called '{name}'.", suggest(name, known, "The limits are"), path=path
            )
        elif limit is None:
            continue
        elif not is_number(limit) or (is_integral and not float(limit).is_integer()):
            kind = "a whole number" if is_integral else "a number"
            issues.add(f"The limit {name} is {quote(limit)}, not {kind}.", f"Write {kind}.", path=path)
        elif limit < -1:
            issues.add(f"The limit {name} is {limit}.", "Write -1 for no limit.", path=path)


def check_key_names(
    given: Mapping[str, Any],
    known: KnownKeys,
    issues: IssueList,
    *,
    step: StepPlace | None = None,
    path: Path = (),
) -> None:
    """Find misspelt keys; keys that resemble no known one belong to other programs, and are kept."""
    for key in given:
        meant = known.synonyms.get(key.lower()) or next(
            iter(difflib.get_close_matches(key.lower(), known.keys, 1, 0.75)), None
        )
        if key in known.keys or meant is None or (meant in given and key.lower() != meant):
            continue
        issues.add(f"'{key}' means nothing here.", f"Write '{meant}'.", step=step, path=(*path, key))


def check_multipliers(steps: Sequence[Any], context: ValidationContext) -> None:
    """Check that there is at most one multiplier, and that it comes first."""
    places = [
        StepPlace(number, str(step["type"]))
        for number, step in enumerate(steps, start=1)
        if getattr(context.find_block(step), "is_multiplier", False)
    ]
    for order, place in enumerate(places):
        if order:
            fix = f"Keep the one of step {places[0].number}."
            context.issues.add(f"{ONE_MULTIPLIER}.", fix, step=place)
        elif place.number > 1:
            context.issues.add(f"{MULTIPLIER_FIRST}.", "Move it to the top.", step=place)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether ``value`` is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_json_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | bool | int)

"""The settings of blocks and gates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from penstock.blocks.base import BaseBlock
from penstock.discovery import find_config_issues
from penstock.errors import PipelineError
from penstock.gates import BaseGate
from penstock.workflow.validation.class_settings import properties, with_defaults
from penstock.workflow.validation.context import StepInfo, ValidationContext
from penstock.workflow.validation.issues import IssueList, Path, StepPlace
from penstock.workflow.validation.messages import sentence
from penstock.workflow.validation.models import check_model
from penstock.workflow.validation.schemas import check_schema
from penstock.workflow.validation.structure import KnownKeys, is_number

_RANGES: dict[str, tuple[float, float, str]] = {
    "temperature": (0, 2, "between 0 and 2"),
    "top_p": (0, 1, "between 0 and 1"),
    "max_tokens": (1, math.inf, "at least 1"),
    "min_length": (0, math.inf, "0 or more"),
    "max_length": (0, math.inf, "0 or more"),
}
"""Settings that have the same range in every class: least, most, and how a message says so."""
_SCHEMA_SETTINGS = ("json_schema", "schema")
"""Settings that hold a JSON Schema."""


def check_settings(
    context: ValidationContext, step: StepInfo, cls: type[Any], config: Any, path: Path
) -> BaseBlock | BaseGate | None:
    """Check the settings of a block or gate; returns the block or gate, or None when it cannot be made."""
    issues, count = context.issues, len(context.issues.found)
    is_gate = issubclass(cls, BaseGate)
    for found in find_config_issues(cls, config, f"{'Gate' if is_gate else 'Block'} '{cls.__name__}'"):
        advice = found.advice or _advice(found.kind, found.key, config)
        at = path if found.key == "config" else (*path, found.key)
        issues.add(sentence(found.message), sentence(advice), step=step, path=at)
    if not isinstance(config, Mapping):
        return None
    _check_ranges(config, issues, step, path)
    _check_bounds(with_defaults(cls, config), config, issues, step, path)
    for name in _SCHEMA_SETTINGS:
        if isinstance(config.get(name), Mapping):
            check_schema(config[name], issues, step, (*path, name))
    has_issues = len(issues.found) > count
    check_model(context, step, cls, config, path)
    if has_issues:
        return None
    registry: Any = context.gates if is_gate else context.blocks
    try:
        made: BaseBlock | BaseGate = registry.create(cls.__name__, dict(config))
    except PipelineError as error:
        fix = "Change the class." if "declarations" in error.detail else "Change its settings."
        issues.add(sentence(error.message), fix, step=step, path=path)
        return None
    return made


def check_misplaced_settings(
    given: Mapping[str, Any],
    cls: type[Any],
    known: KnownKeys,
    issues: IssueList,
    step: StepPlace,
    path: Path = (),
) -> None:
    """Find settings of a block or gate that were written beside ``config`` rather than in it."""
    kind = "gate" if issubclass(cls, BaseGate) else "block"
    settings = properties(cls)
    for key in given:
        if key in settings and key not in known.keys:
            issues.add(
                f"'{key}' is a setting of the {kind} and has no effect beside 'config'.",
                f"Move '{key}' under 'config'.",
                step=step,
                path=(*path, key),
            )


def _check_ranges(config: Mapping[str, Any], issues: IssueList, step: StepPlace, path: Path) -> None:
    for name, (least, most, words) in _RANGES.items():
        value = config.get(name)
        if is_number(value) and not least <= value <= most:
            issues.add(f"{name} is {value}.", f"Write a number {words}.", step=step, path=(*path, name))


def _check_bounds(
    settings: Mapping[str, Any], config: Mapping[str, Any], issues: IssueList, step: StepPlace, path: Path
) -> None:
    """Find pairs such as ``min_length`` and ``max_length`` that nothing can satisfy."""
    for name in config:
        low_name, high_name = f"min_{name[4:]}", f"max_{name[4:]}"
        low, high = settings.get(low_name), settings.get(high_name)
        if name not in {low_name, high_name} or (name == high_name and low_name in config):
            continue  # a pair is reported once
        if is_number(low) and is_number(high) and low > high:
            issues.add(
                f"{low_name} is {low} and {high_name} is {high}, so nothing can pass.",
                f"Make {low_name} at most {high_name}.",
                step=step,
                path=(*path, name),
            )


def _advice(kind: str, key: str, config: Any) -> str:
    value = config.get(key) if isinstance(config, Mapping) else None
    if kind == "type" and isinstance(value, str) and value:
        return f"Write '{key}: [{value}]' if a list is due, or the value without quotes"
    return "Write it in that form"

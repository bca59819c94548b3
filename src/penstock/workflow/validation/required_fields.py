"""Fields that a validator or a gate requires, compared with the JSON Schema of what it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.discovery import get_field_references, get_part_references
from penstock.workflow.validation.class_settings import names, with_defaults
from penstock.workflow.validation.context import StepInfo, ValidationContext
from penstock.workflow.validation.issues import Path
from penstock.workflow.validation.messages import suggest
from penstock.workflow.validation.schema_paths import find_missing, find_missing_key, find_schema


def check_fields_of_block(
    context: ValidationContext, step: StepInfo, schemas: Mapping[str, Mapping[str, Any]]
) -> None:
    """Check what a block requires of the field that it refers to; it takes each name as a key.

    ``schemas`` are those of the fields before the step.
    """
    settings = with_defaults(step.cls, step.config)
    fields = names(settings.get(next(iter(get_field_references(step.cls)), "")))
    schema = find_schema(schemas, fields[0]) if fields else None
    if schema is None:
        return
    for name in names(settings.get("required_fields")):
        if (known := find_missing_key(schema, name)) is not None:
            _add_missing(context, step, (name, fields[0]), (name, known), ("config", "required_fields"))


def check_fields_of_gate(
    context: ValidationContext, step: StepInfo, cls: type[Any], settings: Mapping[str, Any], path: Path
) -> None:
    """Check what a gate requires of the part that it looks at; it takes each name as a path."""
    parts = names(settings.get(next(iter(get_part_references(cls)), ""))) or list(step.outputs)
    schema = find_schema(context.fields.schemas, parts[0]) if parts else None
    if schema is None:
        return
    for name in names(settings.get("required_fields")):
        if missing := find_missing(schema, name):
            _add_missing(context, step, (name, parts[0]), missing, (*path, "required_fields"))


def _add_missing(
    context: ValidationContext,
    step: StepInfo,
    required: tuple[str, str],
    missing: tuple[str, Sequence[str]],
    path: Path,
) -> None:
    """Add an issue for a field that the schema does not have.

    ``required`` is its name and what should have it; ``missing`` is the part of the name that the schema does
    not have, and the names that it has there.
    """
    name, field = required
    context.issues.add(
        f"It requires '{name}', which the JSON schema of '{field}' does not have.",
        suggest(missing[0], missing[1], "It has"),
        step=step,
        path=path,
    )

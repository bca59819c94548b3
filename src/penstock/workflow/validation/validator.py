"""The validation of a whole definition, step by step in the order in which the pipeline would run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.blocks.base import BaseBlock
from penstock.blocks.registry import BlockRegistry
from penstock.blocks.registry import default_registry as default_blocks
from penstock.discovery import read_names
from penstock.errors import BlockNotFoundError, DefinitionError
from penstock.gates import GateRegistry
from penstock.gates import default_registry as default_gates
from penstock.settings import Settings, get_settings
from penstock.user_code import is_user_class, name_exception, to_exception
from penstock.workflow.validation.class_settings import names, properties
from penstock.workflow.validation.context import StepInfo, ValidationContext
from penstock.workflow.validation.fields import FieldTracker
from penstock.workflow.validation.gates import check_gates, check_heal
from penstock.workflow.validation.inputs import check_inputs
from penstock.workflow.validation.issues import Issue, IssueList
from penstock.workflow.validation.messages import sentence, suggest
from penstock.workflow.validation.required_fields import check_fields_of_block
from penstock.workflow.validation.settings import check_misplaced_settings, check_settings
from penstock.workflow.validation.structure import (
    PIPELINE_KEYS,
    STEP_KEYS,
    check_constraints,
    check_cut_texts,
    check_duplicates,
    check_key_names,
    check_multipliers,
    check_plain_data,
)

_CONSTANTS = {"true", "false", "none", "True", "False", "None"}
"""Names that Jinja2 reads as constants."""


def validate(
    definition: Any,
    *,
    seeds: Sequence[Mapping[str, Any]] | None = None,
    blocks: BlockRegistry | None = None,
    gates: GateRegistry | None = None,
    source: str | None = None,
    settings: Settings | None = None,
) -> list[Issue]:
    """Everything that is wrong with a pipeline, in the order of the definition; empty when nothing is.

    ``seeds`` are the variables of some seeds; without them every field that no step makes is taken to come
    from the seeds. ``source`` is the text of the definition, which gives the lines and shows duplicate keys.
    ``settings`` say which models can be asked.
    """
    context = _make_context(blocks, gates, seeds, source, settings)
    _check_definition(definition, context)
    return context.issues.found


def required_variables(
    definition: Any, *, blocks: BlockRegistry | None = None, gates: GateRegistry | None = None
) -> list[str]:
    """The fields that a pipeline needs from its seeds, sorted."""
    context = _make_context(blocks, gates, None, None, None)
    _check_definition(definition, context)
    return sorted(context.fields.required)


def _make_context(
    blocks: BlockRegistry | None,
    gates: GateRegistry | None,
    seeds: Sequence[Mapping[str, Any]] | None,
    source: str | None,
    settings: Settings | None,
) -> ValidationContext:
    issues = IssueList(source)
    return ValidationContext(
        blocks or default_blocks(),
        gates or default_gates(),
        issues,
        FieldTracker(issues, seeds),
        settings or get_settings(),
    )


def _check_definition(definition: Any, context: ValidationContext) -> None:
    issues = context.issues
    if not isinstance(definition, Mapping):
        issues.add("The pipeline is not a mapping.", "Write 'name: …' and 'blocks: […]'.")
        return
    if not check_plain_data(definition, issues):
        return
    check_duplicates(issues)
    check_cut_texts(issues)
    name = definition.get("name")
    if not isinstance(name, str) or not name.strip():
        issues.add("The pipeline has no name.", "Write 'name: …'.", path=("name",))
    check_constraints(definition.get("constraints"), issues)
    check_key_names(definition, PIPELINE_KEYS, issues)
    steps = definition.get("blocks")
    if not isinstance(steps, list | tuple):
        reason = "has no blocks" if steps is None else "does not have a list under 'blocks'"
        issues.add(f"The pipeline {reason}.", "Write 'blocks:' and the steps as a list.", path=("blocks",))
        return
    if not steps:
        issues.add("The pipeline has no blocks.", "Add at least one step to 'blocks'.", path=("blocks",))
    for number, step in enumerate(steps, start=1):
        cls = context.find_block(step) or BaseBlock
        context.fields.announce(
            number, (field for field in names(cls.outputs) if field not in names(cls.inputs))
        )
    check_multipliers(steps, context)
    _check_constants(context)
    for number, step in enumerate(steps, start=1):
        _check_step(context, number, step)


def _check_constants(context: ValidationContext) -> None:
    """Find fields of the seeds that templates cannot read by their names."""
    for name in sorted(_CONSTANTS & {name for seed in context.fields.seeds or () for name in seed}):
        context.issues.add(
            f"The seeds have a field '{name}', which is a constant in templates.",
            f"Write 'metadata[\"{name}\"]' in templates, or rename the field.",
            severity="warning",
        )


def _check_step(context: ValidationContext, number: int, definition: Any) -> None:
    step = StepInfo(number)
    issues = context.issues
    if not isinstance(definition, Mapping):
        issues.add("The step is not a mapping.", "Write 'type: …' and 'config: …'.", step=step)
        return
    check_key_names(definition, STEP_KEYS, issues, step=step)
    kind = definition.get("type")
    if not isinstance(kind, str) or not kind:
        message = "The step does not say which block it is."
        issues.add(message, "Write 'type: …'.", step=step, path=("type",))
        return
    step.block, step.definition = kind, definition
    try:
        step.cls = context.blocks.get_class(kind)
    except BlockNotFoundError as error:
        known = [str(schema.get("type")) for schema in context.blocks.list_schemas()]
        fix = suggest(kind, known, "There are")
        issues.add(sentence(error.message), fix, step=step, path=("type",))
        context.fields.add_unknown()
        return
    _check_known_step(context, step)


def _check_known_step(context: ValidationContext, step: StepInfo) -> None:
    """Check a step whose block is known, and add what it makes to the fields."""
    fields, cls = context.fields, step.cls
    config = {} if step.definition.get("config") is None else step.definition["config"]
    step.config = config if isinstance(config, Mapping) else {}
    check_misplaced_settings(step.definition, cls, STEP_KEYS, context.issues, step)
    block = check_settings(context, step, cls, config, ("config",))
    check_inputs(context, step)
    step.outputs = _read_names(context, step, block, "outputs")
    if block is not None:
        _check_methods(context, step)
    schema = _find_output_schema(context, step, block)
    schemas_before = dict(fields.schemas)
    for field in step.outputs:
        fields.schemas.pop(field, None)
    if schema is not None and step.outputs:
        fields.schemas[step.outputs[0]] = schema
    check_gates(context, step)
    check_heal(context, step, has_schema=schema is not None)
    check_fields_of_block(context, step, schemas_before)
    # An output that is also an input is passed on, and exists only if it did before.
    fields.add_made(step.number, (field for field in step.outputs if field not in names(cls.inputs)))
    if cls.is_multiplier:
        consumed = _read_names(context, step, block, "consumes")
        fields.consume(field for field in consumed if field not in step.outputs)


def _check_methods(context: ValidationContext, step: StepInfo) -> None:
    for issue in context.blocks.find_method_issues(step.block or ""):
        context.issues.add(sentence(issue), "Change the block.", step=step, path=("type",))
    if not step.outputs and is_user_class(step.cls):
        message = f"Block '{step.block}' declares no outputs, so it cannot return any field."
        fix = "Name its fields in 'outputs'."
        context.issues.add(message, fix, step=step, path=("type",), severity="warning")


def _find_output_schema(context: ValidationContext, step: StepInfo, block: Any) -> Mapping[str, Any] | None:
    """The JSON Schema that the block's first output follows, where it is known."""
    found = step.config.get("json_schema")
    expects_schema = getattr(block, "expects_schema", None)
    if expects_schema is not None:
        try:
            found = expects_schema(dict(step.config))
        except BaseException as error:  # a mistake in a user's block
            reason = sentence(f"expects_schema failed: {name_exception(to_exception(error))}")
            context.issues.add(reason, "Change the block.", step=step, path=("type",))
            found = None
    elif "json_schema" not in properties(step.cls):
        found = None
    return found if isinstance(found, Mapping) else None


def _read_names(context: ValidationContext, step: StepInfo, block: Any, attribute: str) -> list[str]:
    """The names in an attribute of the block, or of its class when the block cannot be made."""
    if block is None:
        return names(inspect.getattr_static(step.cls, attribute, ()))
    try:
        return read_names(block, attribute, f"Block '{step.block}'")
    except DefinitionError as error:
        context.issues.add(sentence(error.message), "Change the block.", step=step, path=("type",))
        return []

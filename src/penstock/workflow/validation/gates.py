"""A step's gates, samples and healing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.discovery import get_field_references, get_part_references
from penstock.errors import GateNotFoundError, PipelineError
from penstock.gates import BaseGate, HealPolicy
from penstock.workflow.validation.class_settings import names, with_defaults
from penstock.workflow.validation.context import StepInfo, ValidationContext
from penstock.workflow.validation.issues import Path
from penstock.workflow.validation.messages import quote, sentence, suggest
from penstock.workflow.validation.required_fields import check_fields_of_gate
from penstock.workflow.validation.settings import check_misplaced_settings, check_settings
from penstock.workflow.validation.structure import GATE_KEYS, check_key_names


def check_gates(context: ValidationContext, step: StepInfo) -> None:
    """Check the samples and the gates of a step."""
    issues = context.issues
    samples = step.definition.get("samples", 1)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        message = f"'samples' is {quote(samples)}."
        issues.add(message, "Write a whole number from 1 on.", step=step, path=("samples",))
    gates = step.definition.get("gates")
    if gates is None:
        return
    if not isinstance(gates, list | tuple):
        issues.add("'gates' is not a list.", "Begin each gate with '- type: …'.", step=step, path=("gates",))
        return
    if gates and step.cls.is_multiplier:
        issues.add(
            "A multiplier's chunks do not pass gates.",
            "Put the gates on a later step.",
            step=step,
            path=("gates",),
        )
    for index, gate in enumerate(gates):
        _check_gate(context, step, gate, ("gates", index))


def check_heal(context: ValidationContext, step: StepInfo, *, has_schema: bool) -> None:
    """Check the healing policy of a step; ``has_schema`` says whether its block promises a JSON Schema."""
    heal = step.definition.get("heal")
    if heal is None:
        return
    if not isinstance(heal, Mapping):
        fix = "Write 'heal: {max_attempts: 4}'."
        context.issues.add("'heal' is not a mapping.", fix, step=step, path=("heal",))
        return
    if not step.definition.get("gates") and not has_schema:
        context.issues.add(
            "There is nothing to heal: the step has no gates.",
            "Add 'gates', or remove 'heal'.",
            step=step,
            path=("heal",),
            severity="warning",
        )
    try:
        HealPolicy.from_config(heal)
    except PipelineError as error:
        reason, _, advice = error.message.partition("; ")
        key = str(error.detail.get("key", "")).removeprefix("heal").strip(".")
        path: Path = ("heal", *(part for part in key.split(".") if part))
        context.issues.add(sentence(reason), sentence(advice or "Change 'heal'"), step=step, path=path)


def _check_gate(context: ValidationContext, step: StepInfo, gate: Any, path: Path) -> None:
    if not isinstance(gate, Mapping) or not isinstance(gate.get("type"), str):
        message = "The gate does not say which it is."
        context.issues.add(message, "Write '- type: …'.", step=step, path=path)
        return
    check_key_names(gate, GATE_KEYS, context.issues, step=step, path=path)
    cls = _find_gate(context, step, gate["type"], path)
    if cls is None:
        return
    check_misplaced_settings(gate, cls, GATE_KEYS, context.issues, step, path)
    config = {} if gate.get("config") is None else gate["config"]
    at = (*path, "config")
    if check_settings(context, step, cls, config, at) is not None:
        for issue in context.gates.find_method_issues(gate["type"]):
            context.issues.add(sentence(issue), "Change the gate.", step=step, path=path)
    settings = with_defaults(cls, config if isinstance(config, Mapping) else {})
    _check_parts(context, step, cls, settings, at)
    for name in get_field_references(cls):
        for field in names(settings.get(name)):
            reader = f"{gate['type']}'s {name} reads"
            context.fields.require(field, step, (*at, name), reader, own=step.outputs)
    check_fields_of_gate(context, step, cls, settings, at)
    if gate["type"] == "SimilarityGate" and step.definition.get("samples", 1) == 1:
        context.issues.add(
            "SimilarityGate compares samples, and the step makes one, so the gate never finds anything.",
            "Write 'samples: 3' on the step.",
            step=step,
            path=path,
            severity="warning",
        )


def _find_gate(context: ValidationContext, step: StepInfo, kind: str, path: Path) -> type[BaseGate] | None:
    try:
        return context.gates.get_class(kind)
    except GateNotFoundError as error:
        known = [str(schema.get("type")) for schema in context.gates.list_schemas()]
        fix = suggest(kind, known, "There are")
        context.issues.add(sentence(error.message), fix, step=step, path=(*path, "type"))
        return None


def _check_parts(
    context: ValidationContext, step: StepInfo, cls: type[BaseGate], settings: Mapping[str, Any], path: Path
) -> None:
    """Check that the step makes the parts that a gate looks at."""
    issues, kind = context.issues, cls.__name__
    for name in get_part_references(cls):
        parts = names(settings.get(name))
        if name == "part" and not parts and not step.outputs:
            message = f"{kind} has nothing to look at: the step makes no output."
            issues.add(message, "Remove it.", step=step, path=path)
        for part in parts:
            top = part.partition(".")[0]
            if part in step.outputs:
                continue
            if top in step.outputs:
                context.fields.check_schema_path(part, step, (*path, name), f"{kind} looks at")
                continue
            maker = context.fields.find_maker(top)
            fix = f"Put the gate on step {maker}." if maker else suggest(part, step.outputs, "The step makes")
            message = f"{kind} looks at '{part}', which the step does not make."
            issues.add(message, fix, step=step, path=(*path, name))

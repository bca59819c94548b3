"""What a block reads: fields by name, and fields that its templates mention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from penstock.discovery import get_field_references, get_state_templates, get_templates
from penstock.errors import TemplateError
from penstock.template_renderer import CompiledTemplate, TemplateRenderer
from penstock.workflow.validation.class_settings import names, with_defaults
from penstock.workflow.validation.context import StepInfo, ValidationContext
from penstock.workflow.validation.issues import Path
from penstock.workflow.validation.messages import first_line, list_names

_renderer = TemplateRenderer()


def check_inputs(context: ValidationContext, step: StepInfo) -> None:
    """Check that everything that the step's block reads exists."""
    cls = step.cls
    settings = with_defaults(cls, step.config)
    state_templates = dict(get_state_templates(cls))
    for name in dict.fromkeys((*get_templates(cls), *state_templates)):
        for path, text in _texts(settings.get(name), ("config", name)):
            _check_template(context, step, text, path)
    examples = settings.get("examples")
    for index, turn in enumerate(examples if isinstance(examples, list | tuple) else ()):
        if isinstance(turn, Mapping) and isinstance(turn.get("user"), str):
            _check_template(context, step, turn["user"], ("config", "examples", index, "user"))
    if state_templates:
        _check_state_templates(context, step, settings, state_templates)
    for name in get_field_references(cls):
        for field in names(settings.get(name)):
            context.fields.require(field, step, ("config", name))
    _check_declared_inputs(context, step)


def _check_declared_inputs(context: ValidationContext, step: StepInfo) -> None:
    fields = context.fields
    consumed = names(getattr(step.cls, "consumes", ()))
    for field in consumed:
        fields.require(field, step, ("type",))
    inputs = [field for field in names(step.cls.inputs) if field not in consumed]
    if "*" in inputs or not inputs:
        return
    if len(inputs) == 1:
        fields.require(inputs[0], step, ("type",))
    elif fields.seeds is not None and not any(fields.exists(field) for field in inputs):
        context.issues.add(
            f"The block reads {' or '.join(inputs)}, and neither the seeds nor an earlier step have any.",
            f"Put one of them into the seeds; they have {list_names(fields.known())}.",
            step=step,
        )


def _check_template(
    context: ValidationContext, step: StepInfo, text: str, path: Path, seed: int | None = None
) -> None:
    """Check the names that a template reads; ``seed`` is the number of the seed that holds it, if any."""
    origin = "The template" if seed is None else f"Seed {seed}'s '{path[-1]}', a template,"
    fix = "Correct the template."
    if seed is not None:
        fix = (
            f"Correct it, or write '{{{{ {path[-1]} }}}}' as the prompt in the pipeline to send it as it is."
        )
    try:
        template = _renderer.compile(text)
        variables = template.variables - template.optional_variables
        metadata_variables = sorted(template.metadata_variables)
    except TemplateError as error:
        message = f"{origin} cannot be used: {first_line(error.message)}."
        context.issues.add(message, fix, step=step, path=path)
        return
    failure = None
    if (states := context.fields.seeds_at(template.variables)) is not None:
        failure = _try_template(template, states, context.fields.seeds or (), seed)
        if failure is None:  # it works, whatever it looks like
            return
    elif context.fields.seeds is not None:
        variables -= template.conditional_variables
    found = len(context.issues.found)
    for name in sorted(variables):
        context.fields.require(name, step, path, f"{origin} reads")
    for name in metadata_variables:
        context.fields.require_variable(name, f"metadata.{name}", step, path, f"{origin} reads")
    if failure and len(context.issues.found) == found:
        context.issues.add(f"{origin} cannot be used with {failure}.", fix, step=step, path=path)


def _try_template(
    template: CompiledTemplate,
    states: Sequence[Mapping[str, Any]],
    seeds: Sequence[Mapping[str, Any]],
    only: int | None,
) -> str | None:
    """Which seed the template fails with, and why; None when it can be rendered with all of them."""
    for number, (state, seed) in enumerate(zip(states, seeds, strict=True), start=1):
        if only not in {None, number}:
            continue
        try:
            template.render_at_once(state, seed)  # one that needs more work is tried when it is run
        except TemplateError as error:
            return f"seed {number}: {first_line(error.message)}"
    return None


def _check_state_templates(
    context: ValidationContext,
    step: StepInfo,
    settings: Mapping[str, Any],
    state_templates: Mapping[str, str],
) -> None:
    """Prompts that are left empty come from the state, and are templates there too (contract A76)."""
    fields = context.fields
    from_state = [
        field for setting, field in state_templates.items() if not str(settings.get(setting) or "").strip()
    ]
    for field in from_state:
        if fields.is_from_seed(field):
            for number, seed in enumerate(fields.seeds or (), start=1):
                if isinstance(seed.get(field), str):
                    _check_template(context, step, seed[field], (field,), number)
    if len(from_state) < len(state_templates):
        return
    if fields.seeds is None:
        if len(from_state) == 1 and not fields.exists(from_state[0]):
            fields.required.add(from_state[0])
        return
    _check_has_prompt(context, step, state_templates, from_state)


def _check_has_prompt(
    context: ValidationContext, step: StepInfo, state_templates: Mapping[str, str], from_state: Sequence[str]
) -> None:
    """Check that each seed has one of the fields that a prompt may come from."""
    fields = context.fields
    without = [
        number
        for number in fields.seed_numbers()
        if not any(fields.exists(field, number) for field in from_state)
    ]
    if without:
        which = "" if len(without) == len(fields.seed_numbers()) else f" for seed {without[0]}"
        context.issues.add(
            f"There is no prompt{which}: {' and '.join(state_templates)} are empty, and there is no field "
            f"{' or '.join(from_state)} to take their place.",
            f"Write '{list(state_templates)[-1]}: …' under 'config'.",
            step=step,
            path=("config",),
        )


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every text inside a setting, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))

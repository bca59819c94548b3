"""The models that steps and gates name: whether the settings allow to ask them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.llm.providers import find_model_problem
from penstock.workflow.validation.class_settings import properties, with_defaults
from penstock.workflow.validation.context import StepInfo, ValidationContext
from penstock.workflow.validation.issues import Path
from penstock.workflow.validation.messages import sentence

_OWN_PACKAGE = "penstock."


def check_model(
    context: ValidationContext, step: StepInfo, cls: type[Any], config: Mapping[str, Any], path: Path
) -> None:
    """Find a model that is written like an address, has no server, or needs a key that is not set."""
    if "model" not in properties(cls):
        return
    model = with_defaults(cls, config).get("model")
    if not isinstance(model, str | None):
        return
    if problem := find_model_problem(model or None, context.settings):
        # The ``model`` of somebody's own block may be something else, such as one that runs in the block.
        is_sure = cls.__module__.startswith(_OWN_PACKAGE) or not model
        context.issues.add(
            sentence(problem),
            "Or name another model.",
            step=step,
            path=(*path, "model") if "model" in config else path,
            severity="error" if is_sure else "warning",
        )

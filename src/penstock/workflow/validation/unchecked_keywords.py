"""Keywords of a JSON Schema that nothing checks, which is easily taken for a promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.workflow.validation.issues import IssueList, Path, StepPlace

_CHECKING_FORMATS = ("draft-04", "draft-06", "draft-07")
"""Versions of JSON Schema in which ``format`` is checked."""


def check_unchecked_keywords(
    schema: Mapping[str, Any], part: Mapping[str, Any], issues: IssueList, step: StepPlace, path: Path
) -> None:
    """Warn of ``format`` and of OpenAPI's ``nullable`` in a ``part`` of ``schema``."""
    version = schema.get("$schema")
    checks_formats = isinstance(version, str) and any(draft in version for draft in _CHECKING_FORMATS)
    name = part.get("format")
    if isinstance(name, str) and not checks_formats:
        issues.add(
            f"'format: {name}' is not checked; it is only a hint for the model.",
            "Write a 'pattern' as well where the form matters.",
            step=step,
            path=(*path, "format"),
            severity="warning",
        )
    if part.get("nullable") is True:
        issues.add(
            "'nullable' is OpenAPI's and has no effect in a JSON Schema.",
            "Write the type as a list with null, such as 'type: [string, \"null\"]'.",
            step=step,
            path=(*path, "nullable"),
            severity="warning",
        )

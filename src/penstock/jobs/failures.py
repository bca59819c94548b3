"""What is kept of a record's error, and which kind of error it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.errors import ConfigurationError, LLMSetupError, PipelineError


def is_refusal(detail: Mapping[str, Any]) -> bool:
    """Whether an error with this detail means that gates refused the record, rather than that it broke."""
    return "findings" in detail


def find_setup_error(error: BaseException | None) -> PipelineError | None:
    """The cause that would stop every record until somebody changes something; None when there is none."""
    while error is not None:
        if isinstance(error, LLMSetupError | ConfigurationError):
            return error
        error = error.__cause__
    return None


def describe_error(error: PipelineError, tries: int = 0) -> dict[str, Any]:
    """The error as a failed record keeps it; the trace already has its ``input`` and ``attempts``.

    ``tries`` is how often the record was retried.
    """
    kept = {key: value for key, value in error.detail.items() if key not in {"input", "attempts"}}
    cause = error.__cause__ or error
    return {"error": error.message, "type": type(cause).__name__, "detail": kept, "tries": tries}

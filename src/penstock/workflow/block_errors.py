"""What a block raised, as the error of its record."""

from __future__ import annotations

from typing import Any

from penstock.errors import (
    BlockExecutionError,
    PipelineError,
    SerializationError,
    StorageError,
    ValidationError,
)
from penstock.plain_values import NotPlainError, to_plain
from penstock.user_code import describe_exception, find_module, safe_text, to_exception
from penstock.workflow.step import Step


def to_record_error(step: Step, error: BaseException, state: dict[str, Any]) -> PipelineError:
    """The error of a record whose ``step`` raised ``error`` over ``state``.

    A field that the step did not declare stays a ValidationError; everything else becomes a
    BlockExecutionError (contract A8-A10). Raises ``error`` again when it concerns more than this record: this
    task was cancelled, a signal came, or the storage failed.
    """
    error = to_exception(error, apart=False)
    if _is_failure_of_storage(step, error):
        raise error
    _cut_circle_of_causes(error)
    known = _make_safe(error) if isinstance(error, PipelineError) else {}
    if isinstance(error, ValidationError):
        return error
    reason = describe_exception(error)
    failure = BlockExecutionError(
        f"Block '{step.type}' failed at step {step.number}: {reason}",
        detail={**known, "block_type": step.type, "step": step.number, "error": reason, "input": state},
    )
    failure.__cause__ = error
    return failure


def _is_failure_of_storage(step: Step, error: Exception) -> bool:
    """Whether the database failed, rather than that a value cannot be stored or a user's class says so."""
    if not isinstance(error, StorageError) or isinstance(error, SerializationError):
        return False
    return find_module(error) not in {type(part).__module__ for part in (step.block, *step.gates)}


def _cut_circle_of_causes(error: BaseException) -> None:
    """``raise error from error`` makes an error its own cause, and a search for the cause endless."""
    seen = {id(error)}
    while error.__cause__ is not None:
        if id(error.__cause__) in seen:
            error.__cause__ = None
            return
        error = error.__cause__
        seen.add(id(error))


def _make_safe(error: PipelineError) -> dict[str, Any]:
    """The detail of an error, whose message and detail a user's code may have set to anything."""
    detail = getattr(error, "detail", None)
    error.message = safe_text(getattr(error, "message", None) or error)
    error.detail = (
        {safe_text(key, 200): _to_plain_or_text(value) for key, value in detail.items()}
        if type(detail) is dict
        else {}
    )
    return error.detail


def _to_plain_or_text(value: Any) -> Any:
    try:
        return to_plain(value)
    except NotPlainError:
        return safe_text(value)

"""What a block raised, as the error of its record."""

from __future__ import annotations

import asyncio
from typing import Any

from penstock.errors import BlockExecutionError, PipelineError, StorageError, ValidationError
from penstock.workflow.step import Step


def to_record_error(step: Step, error: BaseException, state: dict[str, Any]) -> PipelineError:
    """The error of a record whose ``step`` raised ``error`` over ``state``.

    A field that the step did not declare stays a ValidationError; everything else becomes a
    BlockExecutionError (contract A8-A10). A block that calls ``sys.exit``, or lets the cancellation of a task
    of its own come through, must neither end the process nor make its record disappear. Raises ``error``
    again when it concerns more than this record: this task was cancelled, or the storage failed.
    """
    if isinstance(error, StorageError) or _is_own_cancellation(error):
        raise error
    if isinstance(error, ValidationError):
        return error
    if not isinstance(error, Exception):
        error = RuntimeError(f"it raised {type(error).__name__}")
    reason = error.message if isinstance(error, PipelineError) else str(error) or type(error).__name__
    known = error.detail if isinstance(error, PipelineError) else {}
    failure = BlockExecutionError(
        f"Block '{step.type}' failed at step {step.number}: {reason}",
        detail={**known, "block_type": step.type, "step": step.number, "error": reason, "input": state},
    )
    failure.__cause__ = error
    return failure


def _is_own_cancellation(error: BaseException) -> bool:
    """Whether ``error`` ends the task that runs the pipeline, rather than one that a block made."""
    if isinstance(error, Exception):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

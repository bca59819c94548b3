"""What user code lets through to the runner: it costs the record, and neither the run nor the process."""

from __future__ import annotations

import asyncio
import logging
import uuid

from penstock.entities import ExecutionResult, Usage
from penstock.errors import (
    BlockExecutionError,
    InternalError,
    PipelineError,
    SerializationError,
    StorageError,
)
from penstock.jobs.work_items import WorkItem
from penstock.lifecycle import describe_failure

logger = logging.getLogger("penstock.jobs")


def concerns_the_run(error: BaseException) -> bool:
    """Whether the error is about more than one record: the database, or a signal of the user's."""
    if isinstance(error, SerializationError):
        return False
    return isinstance(error, StorageError | KeyboardInterrupt)


def to_failed_result(item: WorkItem, error: BaseException, usage: Usage | None = None) -> ExecutionResult:
    """The result of a record that came to no result of its own."""
    if isinstance(error, PipelineError):
        failure = error
    else:
        logger.error("Record %s ended by an error that no step reported", item.identity, exc_info=error)
        reason = describe_failure(None if isinstance(error, asyncio.CancelledError) else error)
        failure = BlockExecutionError(f"The record could not be made: {reason}.", detail={"error": reason})
        failure.__cause__ = error
    state = dict(item.metadata)
    return ExecutionResult(
        state, [], str(uuid.uuid4()), usage or Usage(), state, item.identity.child, failure
    )


def find_reason(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Why a group of tasks ended, as one error with one sentence."""
    errors = list(_flatten(group))
    for error in errors:
        if isinstance(error, PipelineError):
            return error
    logger.error("Unexpected error", exc_info=group)
    reason = InternalError(f"The job ended by an unexpected error: {describe_failure(errors[0])}.")
    reason.__cause__ = errors[0]
    return reason


def clear_cancellation() -> None:
    """Let this task go on after foreign code has cancelled it."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


def _flatten(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _flatten(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found

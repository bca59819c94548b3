"""What a job saves of one execution."""

from __future__ import annotations

from penstock.entities import ExecutionResult, RecordStatus
from penstock.jobs.failures import describe_error
from penstock.jobs.work_items import WorkItem
from penstock.serialization import to_json_bytes
from penstock.storage.entities import Job, NewRecord
from penstock.workflow import Pipeline


def to_new_record(job: Job, pipeline: Pipeline, item: WorkItem, result: ExecutionResult) -> NewRecord:
    """The record of a work item that came to ``result``."""
    error = result.error
    output = result.result.get("pipeline_output", "")
    return NewRecord(
        job_id=job.id,
        pipeline_id=job.pipeline_id,
        pipeline_version=job.pipeline_version or 1,
        identity=item.identity,
        output=output if isinstance(output, str) else to_json_bytes(output).decode(),  # contract D2
        metadata=item.metadata,
        status=RecordStatus.PENDING if error is None else RecordStatus.FAILED,
        error=None if error is None else describe_error(error, item.context.round),
        trace=result.trace,
        usage=result.usage,
        attempts=result.attempts,
        consumed=pipeline.find_consumed(item.metadata) if item.identity.child else (),
    )

"""The domain types that all layers share."""

from penstock.entities.gate import Attempt, Finding, Parts, Target, Verdict
from penstock.entities.job import JobStatus
from penstock.entities.pipeline import Constraints, ExecutionResult, Usage
from penstock.entities.record import RecordId, RecordStatus
from penstock.entities.state import State

__all__ = [
    "Attempt",
    "Constraints",
    "ExecutionResult",
    "Finding",
    "JobStatus",
    "Parts",
    "RecordId",
    "RecordStatus",
    "State",
    "Target",
    "Usage",
    "Verdict",
]

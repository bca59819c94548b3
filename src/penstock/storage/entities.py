"""What storage functions return, and a record before it is saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from penstock.entities import JobStatus, RecordId, RecordStatus, Usage
from penstock.errors import DamagedRecordError
from penstock.storage.tables import to_iso8601
from penstock.storage.trace_codec import unpack_changes, unpack_trace


def _without(metadata: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    if not names:
        return dict(metadata)
    return {key: value for key, value in metadata.items() if key not in names}


def _format(time: datetime | None) -> str | None:
    return None if time is None else to_iso8601(time)


@dataclass(frozen=True, slots=True)
class StoredPipeline:
    """A pipeline's definition in one of its versions."""

    id: int
    name: str
    definition: dict[str, Any]
    created_at: datetime
    version: int = 1
    validation_config: dict[str, Any] | None = None
    updated_at: datetime | None = None
    source: str | None = None
    """The file that the definition came from, to the byte; only ``get_pipeline`` reads it."""

    def to_dict(self) -> dict[str, Any]:
        """The pipeline as the API shows it (contract A144)."""
        return {
            "id": self.id,
            "name": self.name,
            "definition": self.definition,
            "created_at": to_iso8601(self.created_at),
            "validation_config": self.validation_config,
            "version": self.version,
            "updated_at": _format(self.updated_at),
        }


@dataclass(frozen=True, slots=True)
class Job:
    """A run of a pipeline over seeds."""

    id: int
    pipeline_id: int
    status: JobStatus
    total_seeds: int
    created_at: datetime
    started_at: datetime
    current_seed: int = 0
    records_generated: int = 0
    records_failed: int = 0
    progress: float = 0.0
    current_block: str | None = None
    current_step: str | None = None
    usage: dict[str, Any] | None = None
    completed_at: datetime | None = None
    error: str | None = None
    pipeline_version: int | None = None
    run_key: str | None = None
    """Identifies the run of a file, for ``find_job``."""
    source: Any = None
    """Where the seeds come from, as the runner saved it."""
    options: Any = None
    """How it is run, as the runner saved it."""
    holder: str | None = None
    """The process that works on it, or that did when it was killed."""
    requested: str | None = None
    """The status that another process has asked the holder for."""
    deaths: Any = None
    """The records, as texts, that were in a block when the process of the job last died."""

    def to_dict(self) -> dict[str, Any]:
        """The job as the API shows it (contract A171)."""
        return {
            "id": self.id,
            "pipeline_id": self.pipeline_id,
            "pipeline_version": self.pipeline_version,
            "status": self.status.value,
            "progress": self.progress,
            "current_seed": self.current_seed,
            "total_seeds": self.total_seeds,
            "current_block": self.current_block,
            "current_step": self.current_step,
            "records_generated": self.records_generated,
            "records_failed": self.records_failed,
            "error": self.error,
            "usage": self.usage,
            "started_at": to_iso8601(self.started_at),
            "completed_at": _format(self.completed_at),
            "created_at": to_iso8601(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record before it is saved; an ``output`` that is not text is saved as JSON (D2)."""

    job_id: int
    pipeline_id: int
    identity: RecordId
    metadata: Mapping[str, Any]
    output: Any = ""
    trace: Sequence[Mapping[str, Any]] = ()
    status: RecordStatus = RecordStatus.PENDING
    usage: Usage = field(default_factory=Usage)
    error: Mapping[str, Any] | None = None
    """For a failed record: ``error`` (the sentence), ``detail``, and ``type`` (the class of the error)."""
    attempts: int = 1
    pipeline_version: int | None = None
    consumed: tuple[str, ...] = ()
    """Fields of ``metadata`` that a multiplier took apart; all children of a seed share them."""

    @property
    def own_metadata(self) -> dict[str, Any]:
        """The metadata without the fields that a multiplier took apart."""
        return _without(self.metadata, self.consumed)


@dataclass(frozen=True, slots=True)
class Record:
    """What a seed became. Records of a database's first layout have no identity."""

    id: int
    output: str
    metadata: dict[str, Any]
    status: RecordStatus
    created_at: datetime
    updated_at: datetime
    pipeline_id: int | None = None
    job_id: int | None = None
    pipeline_version: int | None = None
    identity: RecordId | None = None
    error: dict[str, Any] | None = None
    cause: str | None = None
    attempts: int = 1
    usage: Usage = field(default_factory=Usage)
    edits: dict[str, Any] = field(default_factory=dict)
    """Fields of the last state that a reviewer changed."""
    consumed: tuple[str, ...] = ()
    """Fields of ``metadata`` that a multiplier took apart."""
    packed_trace: str | None = field(default=None, repr=False)
    packed_state: str | None = field(default=None, repr=False)
    damage: DamagedRecordError | None = field(default=None, repr=False, compare=False)
    """Why the row cannot be read; the other fields are then empty."""
    _changes: tuple[dict[str, Any], list[str]] | None = field(
        default=None, init=False, repr=False, compare=False
    )
    """The last state as ``unpack_changes`` reads it, once it was needed."""

    def check(self) -> None:
        """Raise DamagedRecordError when the record, apart from its trace, cannot be read."""
        self._read_changes()

    @property
    def trace(self) -> list[dict[str, Any]]:
        """One entry a step, as the contract shows it; edits show in the last one's ``accumulated_state``.

        Empty when it is damaged.
        """
        try:
            entries = unpack_trace(self.packed_trace, self.packed_state, self.metadata, self.consumed)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return []
        if entries and self.edits:
            last = entries[-1].get("accumulated_state")
            entries[-1]["accumulated_state"] = {**(last if isinstance(last, dict) else {}), **self.edits}
        return entries

    @property
    def state(self) -> dict[str, Any]:
        """The last state, whole, edits included."""
        changed, removed = self._read_changes()
        state = {**self.own_metadata, **changed}
        for key in removed:
            state.pop(key, None)
        return {**state, **self.edits}

    @property
    def own_metadata(self) -> dict[str, Any]:
        """The metadata without the fields that a multiplier took apart, which files and lists leave out."""
        return _without(self.metadata, self.consumed)

    @property
    def accumulated_state(self) -> dict[str, Any]:
        """The last state without what is still the seed's, edits included (D8)."""
        changed, _ = self._read_changes()
        return {**changed, **self.edits}

    def _read_changes(self) -> tuple[dict[str, Any], list[str]]:
        if self.damage is not None:
            raise self.damage
        if self._changes is None:
            try:
                changes = unpack_changes(self.packed_state)
                if not all(isinstance(key, str) for key in changes[1]):
                    raise TypeError("a name is no text")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise self._to_damage(error) from error
            object.__setattr__(self, "_changes", changes)
        assert self._changes is not None
        return self._changes

    def _to_damage(self, error: Exception) -> DamagedRecordError:
        where = f" of job {self.job_id}" if self.job_id is not None else ""
        place = f" ({self.identity})" if self.identity is not None else ""
        return DamagedRecordError(
            f"Record {self.id}{where}{place} is damaged in the database and was left out.",
            detail={
                "record_id": self.id,
                "job_id": self.job_id,
                "identity": None if self.identity is None else str(self.identity),
                "error": f"malformed: {type(error).__name__}",
            },
        )

    def to_dict(self, *, trace: bool = True) -> dict[str, Any]:
        """The record as the API shows it (contract A187); with ``trace=False`` without its trace."""
        seed, repetition, child = self.identity or (None, None, None)
        values: dict[str, Any] = {
            "id": self.id,
            "output": self.output,
            "metadata": self.metadata,
            "status": self.status.value,
            "pipeline_id": self.pipeline_id,
            "pipeline_version": self.pipeline_version,
            "job_id": self.job_id,
            "seed": seed,
            "repetition": repetition,
            "child": child,
            "error": self.error,
            "attempts": self.attempts,
            "usage": self.usage.to_dict(),
            "created_at": to_iso8601(self.created_at),
            "updated_at": to_iso8601(self.updated_at),
        }
        if trace:
            values["trace"] = self.trace
        return values

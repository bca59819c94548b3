"""The tables, as the newest migration leaves them.

JSON is stored as text, times are UTC. The migrations make the same schema: a test compares.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.sqlite import REAL
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from penstock.storage.damaged_values import UNREADABLE_TIME


def to_iso8601(time: datetime) -> str:
    """A time as ISO 8601 in UTC, always of the same length, so that texts sort as times do."""
    if time.tzinfo is not UTC:
        time = time.astimezone(UTC)
    return time.isoformat(timespec="microseconds")[:-6] + "Z"


def to_datetime(value: Any) -> datetime | None:
    """The time that a database or a caller gave as text, number (seconds since the epoch) or datetime."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC)
    time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    if time.tzinfo is UTC:  # all that the database gives; the rest would take most of the time
        return time
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


class _Timestamp(UserDefinedType[Any]):
    """SQLite's side of ``UtcDateTime``: a column declared TIMESTAMP that holds text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TIMESTAMP"


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time, in UTC."""

    impl = TIMESTAMP
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, which has no type for times."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_Timestamp())
        return dialect.type_descriptor(TIMESTAMP(timezone=True))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """The value that the driver takes."""
        time = to_datetime(value)
        return to_iso8601(time) if time is not None and dialect.name == "sqlite" else time

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """The driver's value as a time in UTC; ``UNREADABLE_TIME`` for one that is damaged."""
        try:
            return to_datetime(value)
        except (TypeError, ValueError, OverflowError, OSError):
            return UNREADABLE_TIME


BigInt = BigInteger().with_variant(Integer, "sqlite")
Float: TypeEngine[float] = Double().with_variant(REAL, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

pipelines = Table(
    "pipelines",
    metadata,
    Column("id", BigInt, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("constraints", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("validation_config", Text),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("updated_at", UtcDateTime),
    sqlite_autoincrement=True,
)

pipeline_versions = Table(
    "pipeline_versions",
    metadata,
    Column("pipeline_id", BigInt, ForeignKey("pipelines.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("source", Text),
    Column("created_at", UtcDateTime, nullable=False),
)
"""``source`` is the file that the version came from, to the byte."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInt, primary_key=True, autoincrement=True),
    Column("pipeline_id", BigInt, ForeignKey("pipelines.id", ondelete="CASCADE"), nullable=False),
    Column("status", Text, nullable=False),
    Column("total_seeds", BigInt, nullable=False),
    Column("current_seed", BigInt, server_default=text("0")),
    Column("records_generated", BigInt, server_default=text("0")),
    Column("records_failed", BigInt, server_default=text("0")),
    Column("progress", Float, server_default=text("0.0")),
    Column("current_block", Text),
    Column("current_step", Text),
    Column("usage", Text),
    Column("started_at", UtcDateTime, nullable=False),
    Column("completed_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("error", Text),
    Column("pipeline_version", Integer),
    Column("run_key", Text),
    Column("source", Text),
    Column("options", Text),
    Column("holder", Text),
    Column("requested", Text),
    Column("deaths", Text),
    Index("ix_jobs_pipeline_id", "pipeline_id"),
    Index("ix_jobs_status", "status"),
    Index("ix_jobs_run_key", "run_key"),
    sqlite_autoincrement=True,
)
"""``run_key`` identifies the run of a file; ``source`` (of seeds) and ``options`` are the runner's JSON.

``holder`` is the process that works on the job, ``requested`` the status that another process wants from it.
``deaths`` names the records that were in a block when the process of the job last died.
"""

records = Table(
    "records",
    metadata,
    Column("id", BigInt, primary_key=True, autoincrement=True),
    Column("output", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("pipeline_id", BigInt, ForeignKey("pipelines.id", ondelete="CASCADE")),
    Column("job_id", BigInt, ForeignKey("jobs.id", ondelete="CASCADE")),
    Column("trace", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("seed", BigInt),
    Column("repetition", BigInt),
    Column("child", Text),
    Column("pipeline_version", Integer),
    Column("state", Text),
    Column("edits", Text),
    Column("error", Text),
    Column("cause", Text),
    Column("attempts", Integer, nullable=False, server_default=text("1")),
    Column("input_tokens", BigInt, nullable=False, server_default=text("0")),
    Column("output_tokens", BigInt, nullable=False, server_default=text("0")),
    Column("cached_tokens", BigInt, nullable=False, server_default=text("0")),
    Column("llm_calls", BigInt, nullable=False, server_default=text("0")),
    Column("journal_hits", BigInt, nullable=False, server_default=text("0")),
    Column("cost", Float),
    Column("usage_start", Float),
    Column("usage_end", Float),
    UniqueConstraint("job_id", "seed", "repetition", "child", name="uq_records_identity"),
    Index("ix_records_status", "status", "id"),
    Index("ix_records_created_at", "created_at"),
    Index("ix_records_job_id", "job_id", "id"),
    Index("ix_records_job_id_status", "job_id", "status", "id"),
    Index("ix_records_pipeline_id", "pipeline_id", "id"),
    Index("ix_records_pipeline_id_status", "pipeline_id", "status", "id"),
    sqlite_autoincrement=True,
)
"""``state`` is the last state without what is still the seed's, ``edits`` what a reviewer changed in it."""

record_history = Table(
    "record_history",
    metadata,
    Column("id", BigInt, primary_key=True, autoincrement=True),
    Column("record_id", BigInt, ForeignKey("records.id", ondelete="CASCADE"), nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("status", Text, nullable=False),
    Column("output", Text),
    Column("metadata", Text),
    Column("edits", Text),
    Index("ix_record_history_record_id", "record_id", "id"),
    sqlite_autoincrement=True,
)
"""What a record was before each edit; null for what the edit did not change, ``{}`` for no edits yet."""

seed_files = Table(
    "seed_files",
    metadata,
    Column(
        "job_id", BigInt, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("name", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""The uploaded file that a job reads: it outlives the process, and is deleted with the job."""

seed_fields = Table(
    "seed_fields",
    metadata,
    Column(
        "job_id", BigInt, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("seed", BigInt, primary_key=True, autoincrement=False),
    Column("value", Text, nullable=False),
)
"""The fields of a seed that a multiplier took apart: stored once, and not with each of its records."""

journal = Table(
    "journal",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

"""The present layout; rows of the contract's first layouts, which had no version, are moved into it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from penstock.storage.tables import BigInt, Float, UtcDateTime

revision = "0001"
down_revision = None

_TABLES = ("pipelines", "jobs", "records")


def upgrade() -> None:
    """Set older tables aside, make the new ones, move the rows over."""
    there = set(sa.inspect(op.get_bind()).get_table_names())
    old = [table for table in _TABLES if table in there]
    for table in old:
        for index in sa.inspect(op.get_bind()).get_indexes(table):
            op.drop_index(index["name"] or "", table_name=table)
        op.rename_table(table, f"old_{table}")
    _create_tables()
    for table in old:
        _move_rows(table)
    for table in reversed(old):
        op.drop_table(f"old_{table}")


def _move_rows(table: str) -> None:
    inspector = sa.inspect(op.get_bind())
    new = {column["name"] for column in inspector.get_columns(table)}
    old = [column["name"] for column in inspector.get_columns(f"old_{table}") if column["name"] in new]
    values = {name: f'"{name}"' for name in old}
    if table == "jobs":
        values.setdefault("created_at", '"started_at"')
        values.setdefault("progress", "CASE WHEN status = 'completed' THEN 1.0 ELSE 0.0 END")
        values["pipeline_version"] = "1"
    if table == "records":
        last = "json_extract(trace, '$[#-1].accumulated_state')"
        values["state"] = f"CASE WHEN json_valid(trace) AND json_type(trace) = 'array' THEN {last} END"
        for name, other in (("job_id", "jobs"), ("pipeline_id", "pipelines")):
            # A deleted job or pipeline could leave records behind, which no foreign key forbade.
            values[name] = f'CASE WHEN "{name}" IN (SELECT id FROM {other}) THEN "{name}" END'  # noqa: S608  names are ours
    columns = ", ".join(f'"{name}"' for name in values)
    chosen = ", ".join(values.values())
    op.execute(f"INSERT INTO {table} ({columns}) SELECT {chosen} FROM old_{table}")  # noqa: S608  names are ours
    if table == "pipelines":
        _replace_deleted_pipelines()
        op.execute(
            "INSERT INTO pipeline_versions (pipeline_id, version, name, definition, created_at) "
            "SELECT id, 1, name, definition, created_at FROM pipelines"
        )


def _replace_deleted_pipelines() -> None:
    """Jobs whose pipeline was deleted keep their rows: an empty pipeline takes its place."""
    if "old_jobs" not in sa.inspect(op.get_bind()).get_table_names():
        return
    deleted = "SELECT DISTINCT pipeline_id FROM old_jobs WHERE pipeline_id NOT IN (SELECT id FROM pipelines)"
    values = '\'Deleted pipeline\', \'{"name":"Deleted pipeline","blocks":[]}\', CURRENT_TIMESTAMP'
    columns = "id, name, definition, created_at"
    op.execute(
        f"INSERT INTO pipelines ({columns}) SELECT pipeline_id, {values} FROM ({deleted})"  # noqa: S608  all of it is above
    )


def _create_tables() -> None:
    _create_pipelines()
    _create_pipeline_versions()
    _create_jobs()
    _create_records()
    _create_record_history()
    _create_seed_files()
    _create_journal()


def _create_pipelines() -> None:
    op.create_table(
        "pipelines",
        sa.Column("id", BigInt, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("constraints", sa.Text()),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("validation_config", sa.Text()),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("updated_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_pipelines"),
        sqlite_autoincrement=True,
    )


def _create_pipeline_versions() -> None:
    op.create_table(
        "pipeline_versions",
        sa.Column("pipeline_id", BigInt, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("source", sa.Text()),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["pipeline_id"],
            ["pipelines.id"],
            name="fk_pipeline_versions_pipeline_id_pipelines",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pipeline_id", "version", name="pk_pipeline_versions"),
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", BigInt, autoincrement=True, nullable=False),
        sa.Column("pipeline_id", BigInt, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("total_seeds", BigInt, nullable=False),
        sa.Column("current_seed", BigInt, server_default=sa.text("0")),
        sa.Column("records_generated", BigInt, server_default=sa.text("0")),
        sa.Column("records_failed", BigInt, server_default=sa.text("0")),
        sa.Column("progress", Float, server_default=sa.text("0.0")),
        sa.Column("current_block", sa.Text()),
        sa.Column("current_step", sa.Text()),
        sa.Column("usage", sa.Text()),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("completed_at", UtcDateTime),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("pipeline_version", sa.Integer()),
        sa.Column("run_key", sa.Text()),
        sa.Column("source", sa.Text()),
        sa.Column("options", sa.Text()),
        sa.ForeignKeyConstraint(
            ["pipeline_id"], ["pipelines.id"], name="fk_jobs_pipeline_id_pipelines", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_pipeline_id", "jobs", ["pipeline_id"])
    op.create_index("ix_jobs_run_key", "jobs", ["run_key"])
    op.create_index("ix_jobs_status", "jobs", ["status"])


def _create_records() -> None:
    op.create_table(
        "records",
        sa.Column("id", BigInt, autoincrement=True, nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("pipeline_id", BigInt),
        sa.Column("job_id", BigInt),
        sa.Column("trace", sa.Text()),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("seed", BigInt),
        sa.Column("repetition", BigInt),
        sa.Column("child", sa.Text()),
        sa.Column("pipeline_version", sa.Integer()),
        sa.Column("state", sa.Text()),
        sa.Column("edits", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("cause", sa.Text()),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("input_tokens", BigInt, server_default=sa.text("0"), nullable=False),
        sa.Column("output_tokens", BigInt, server_default=sa.text("0"), nullable=False),
        sa.Column("cached_tokens", BigInt, server_default=sa.text("0"), nullable=False),
        sa.Column("llm_calls", BigInt, server_default=sa.text("0"), nullable=False),
        sa.Column("journal_hits", BigInt, server_default=sa.text("0"), nullable=False),
        sa.Column("cost", Float),
        sa.Column("usage_start", Float),
        sa.Column("usage_end", Float),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_records_job_id_jobs", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["pipeline_id"], ["pipelines.id"], name="fk_records_pipeline_id_pipelines", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_records"),
        sa.UniqueConstraint("job_id", "seed", "repetition", "child", name="uq_records_identity"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_records_created_at", "records", ["created_at"])
    op.create_index("ix_records_job_id", "records", ["job_id", "id"])
    op.create_index("ix_records_job_id_status", "records", ["job_id", "status", "id"])
    op.create_index("ix_records_pipeline_id", "records", ["pipeline_id", "id"])
    op.create_index("ix_records_pipeline_id_status", "records", ["pipeline_id", "status", "id"])
    op.create_index("ix_records_status", "records", ["status", "id"])


def _create_record_history() -> None:
    op.create_table(
        "record_history",
        sa.Column("id", BigInt, autoincrement=True, nullable=False),
        sa.Column("record_id", BigInt, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("output", sa.Text()),
        sa.Column("metadata", sa.Text()),
        sa.Column("edits", sa.Text()),
        sa.ForeignKeyConstraint(
            ["record_id"], ["records.id"], name="fk_record_history_record_id_records", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_record_history"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_record_history_record_id", "record_history", ["record_id", "id"])


def _create_seed_files() -> None:
    op.create_table(
        "seed_files",
        sa.Column("job_id", BigInt, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_seed_files_job_id_jobs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name="pk_seed_files"),
    )


def _create_journal() -> None:
    op.create_table(
        "journal",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_journal"),
    )

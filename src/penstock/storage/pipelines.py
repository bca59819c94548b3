"""Pipelines and their versions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from penstock.errors import NotFoundError, StorageError
from penstock.serialization import from_json, to_json
from penstock.storage.entities import StoredPipeline
from penstock.storage.session import Session
from penstock.storage.tables import pipeline_versions, pipelines
from penstock.storage.text_escapes import escape_text, unescape_text


async def save_pipeline(
    session: Session, name: str, definition: Mapping[str, Any], *, source: str | None = None
) -> int:
    """Save a new pipeline as its version 1 and return its id; ``source`` is the file it came from."""
    now = datetime.now(UTC)
    statement = insert(pipelines).values(
        name=escape_text(name),
        definition=to_json(definition),
        constraints=_find_constraints(definition),
        created_at=now,
        updated_at=now,
        version=1,
    )
    pipeline_id = int(await session.fetch_value(statement.returning(pipelines.c.id)))
    await _save_version(session, pipeline_id, 1, name, definition, source, now)
    return pipeline_id


async def update_pipeline(
    session: Session,
    pipeline_id: int,
    name: str,
    definition: Mapping[str, Any],
    *,
    source: str | None = None,
) -> int:
    """Make a new version and return its number (D15); raises NotFoundError."""
    present = await get_pipeline(session, pipeline_id)
    version = present.version + 1
    now = datetime.now(UTC)
    await session.execute(
        update(pipelines)
        .where(pipelines.c.id == pipeline_id)
        .values(
            name=escape_text(name),
            definition=to_json(definition),
            constraints=_find_constraints(definition),
            version=version,
            updated_at=now,
        )
    )
    await _save_version(session, pipeline_id, version, name, definition, source, now)
    return version


async def get_pipeline(session: Session, pipeline_id: int, version: int | None = None) -> StoredPipeline:
    """Return the pipeline, as it is now or as it was in ``version``; raises NotFoundError."""
    number = pipelines.c.version if version is None else version
    query = (
        select(pipelines, *_VERSION_COLUMNS)
        .select_from(_WITH_VERSIONS)
        .where(pipelines.c.id == pipeline_id, pipeline_versions.c.version == number)
    )
    row = await session.fetch_first(query)
    if row is None:
        raise NotFoundError("pipeline not found", detail={"pipeline_id": pipeline_id})
    return _to_version(row)


async def list_pipelines(session: Session) -> list[StoredPipeline]:
    """All pipelines, the newest first; a damaged one has an empty definition."""
    rows = await session.fetch_all(select(pipelines).order_by(pipelines.c.id.desc()))
    return [_to_pipeline(row) for row in rows]


async def list_versions(session: Session, pipeline_id: int) -> list[StoredPipeline]:
    """All versions of a pipeline, the newest first; raises NotFoundError."""
    rows = await session.fetch_all(
        select(pipelines, *_VERSION_COLUMNS)
        .select_from(_WITH_VERSIONS)
        .where(pipelines.c.id == pipeline_id)
        .order_by(pipeline_versions.c.version.desc())
    )
    if not rows:
        raise NotFoundError("pipeline not found", detail={"pipeline_id": pipeline_id})
    return [_to_version(row) for row in rows]


async def save_validation_config(
    session: Session, pipeline_id: int, validation_config: Mapping[str, Any]
) -> None:
    """Save how the review page lays out this pipeline's fields; raises NotFoundError."""
    statement = update(pipelines).where(pipelines.c.id == pipeline_id)
    if not await session.execute(statement.values(validation_config=to_json(validation_config))):
        raise NotFoundError("pipeline not found", detail={"pipeline_id": pipeline_id})


async def delete_pipeline(session: Session, pipeline_id: int) -> None:
    """Delete the pipeline with its versions, jobs and records; raises NotFoundError."""
    if not await session.execute(delete(pipelines).where(pipelines.c.id == pipeline_id)):
        raise NotFoundError("pipeline not found", detail={"pipeline_id": pipeline_id})


_WITH_VERSIONS = pipelines.join(pipeline_versions, pipeline_versions.c.pipeline_id == pipelines.c.id)
_VERSION_COLUMNS = (
    pipeline_versions.c.version.label("version_number"),
    pipeline_versions.c.name.label("version_name"),
    pipeline_versions.c.definition.label("version_definition"),
    pipeline_versions.c.created_at.label("version_created_at"),
    pipeline_versions.c.source,
)


async def _save_version(
    session: Session,
    pipeline_id: int,
    version: int,
    name: str,
    definition: Mapping[str, Any],
    source: str | None,
    now: datetime,
) -> None:
    await session.execute(
        insert(pipeline_versions).values(
            pipeline_id=pipeline_id,
            version=version,
            name=escape_text(name),
            definition=to_json(definition),
            source=source,
            created_at=now,
        )
    )


def _find_constraints(definition: Mapping[str, Any]) -> str | None:
    """The column repeats a part of the definition, which is the source (D4)."""
    constraints = definition.get("constraints")
    return None if constraints is None else to_json(constraints)


def _to_pipeline(row: Row[Any]) -> StoredPipeline:
    return StoredPipeline(
        id=row.id,
        name=unescape_text(row.name),
        definition=_read_json(row.definition) or {},
        created_at=row.created_at,
        version=row.version,
        validation_config=_read_json(row.validation_config),
        updated_at=row.updated_at,
    )


def _to_version(row: Row[Any]) -> StoredPipeline:
    definition = _read_json(row.version_definition)
    if definition is None:
        raise StorageError(
            f"Version {row.version_number} of pipeline {row.id} is damaged in the database; save it anew.",
            detail={"pipeline_id": row.id, "version": row.version_number},
        )
    return StoredPipeline(
        id=row.id,
        name=unescape_text(row.version_name),
        definition=definition,
        created_at=row.created_at,
        version=row.version_number,
        validation_config=_read_json(row.validation_config),
        updated_at=row.version_created_at,
        source=row.source,
    )


def _read_json(text: str | None) -> dict[str, Any] | None:
    """The object in a column; None when there is none, or it cannot be read."""
    try:
        value = from_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

"""Pipelines and their versions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from penstock.errors import NotFoundError
from penstock.serialization import from_json, to_json
from penstock.storage.database import Session
from penstock.storage.entities import StoredPipeline
from penstock.storage.tables import pipeline_versions, pipelines


async def save_pipeline(
    session: Session, name: str, definition: Mapping[str, Any], *, source: str | None = None
) -> int:
    """Keep a new pipeline as its version 1 and return its id; ``source`` is the file it came from."""
    now = datetime.now(UTC)
    result = await session.execute(
        insert(pipelines)
        .returning(pipelines.c.id)
        .values(
            name=name,
            definition=to_json(definition),
            constraints=_find_constraints(definition),
            created_at=now,
            updated_at=now,
            version=1,
        )
    )
    pipeline_id = int(result.scalar_one())
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
            name=name,
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
    if found := await find_pipeline(session, pipeline_id, version):
        return found
    raise NotFoundError("pipeline not found", detail={"pipeline_id": pipeline_id})


async def find_pipeline(
    session: Session, pipeline_id: int, version: int | None = None
) -> StoredPipeline | None:
    """Return the pipeline, as it is now or as it was in ``version``, or None."""
    wanted = pipelines.c.version if version is None else version
    both = pipelines.join(pipeline_versions, pipeline_versions.c.pipeline_id == pipelines.c.id)
    row = (
        await session.execute(
            select(pipelines, *_VERSION_COLUMNS)
            .select_from(both)
            .where(pipelines.c.id == pipeline_id, pipeline_versions.c.version == wanted)
        )
    ).first()
    return _to_version(row) if row else None


async def list_pipelines(session: Session) -> list[StoredPipeline]:
    """All pipelines, the newest first."""
    rows = await session.execute(select(pipelines).order_by(pipelines.c.id.desc()))
    return [_to_pipeline(row) for row in rows]


async def list_versions(session: Session, pipeline_id: int) -> list[StoredPipeline]:
    """All versions of a pipeline, the newest first; raises NotFoundError."""
    both = pipelines.join(pipeline_versions, pipeline_versions.c.pipeline_id == pipelines.c.id)
    rows = (
        await session.execute(
            select(pipelines, *_VERSION_COLUMNS)
            .select_from(both)
            .where(pipelines.c.id == pipeline_id)
            .order_by(pipeline_versions.c.version.desc())
        )
    ).all()
    if not rows:
        raise NotFoundError("pipeline not found", detail={"pipeline_id": pipeline_id})
    return [_to_version(row) for row in rows]


async def save_validation_config(
    session: Session, pipeline_id: int, validation_config: Mapping[str, Any]
) -> None:
    """Keep how the review page lays out this pipeline's fields; raises NotFoundError."""
    result = await session.execute(
        update(pipelines)
        .where(pipelines.c.id == pipeline_id)
        .values(validation_config=to_json(validation_config))
    )
    if not result.rowcount:
        raise NotFoundError("pipeline not found", detail={"pipeline_id": pipeline_id})


async def delete_pipeline(session: Session, pipeline_id: int) -> None:
    """Delete the pipeline with its versions, jobs and records; raises NotFoundError."""
    result = await session.execute(delete(pipelines).where(pipelines.c.id == pipeline_id))
    if not result.rowcount:
        raise NotFoundError("pipeline not found", detail={"pipeline_id": pipeline_id})


_VERSION_COLUMNS = (
    pipeline_versions.c.version.label("their_version"),
    pipeline_versions.c.name.label("their_name"),
    pipeline_versions.c.definition.label("their_definition"),
    pipeline_versions.c.created_at.label("their_time"),
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
            name=name,
            definition=to_json(definition),
            source=source,
            created_at=now,
        )
    )


def _find_constraints(definition: Mapping[str, Any]) -> str | None:
    """The column mirrors the definition, which is the source (D4)."""
    constraints = definition.get("constraints")
    return None if constraints is None else to_json(constraints)


def _to_pipeline(row: Row[Any]) -> StoredPipeline:
    return StoredPipeline(
        id=row.id,
        name=row.name,
        definition=from_json(row.definition),
        created_at=row.created_at,
        version=row.version,
        validation_config=from_json(row.validation_config),
        updated_at=row.updated_at,
    )


def _to_version(row: Row[Any]) -> StoredPipeline:
    return StoredPipeline(
        id=row.id,
        name=row.their_name,
        definition=from_json(row.their_definition),
        created_at=row.created_at,
        version=row.their_version,
        validation_config=from_json(row.validation_config),
        updated_at=row.their_time,
        source=row.source,
    )

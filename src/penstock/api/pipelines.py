"""Routes that create, change, list and delete pipelines, and that import and export them as files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Any

import yaml
from fastapi import Body, Query, Request
from pydantic import Field
from pydantic import ValidationError as InvalidModelError
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response

from penstock.api.deps import ReadingDep, Services, ServicesDep, SessionDep, TemplateDep
from penstock.api.errors import InvalidBodyError, error_responses
from penstock.api.pipeline_checks import check_definition
from penstock.api.routing import Json, RowId, make_router
from penstock.api.schemas.messages import Success
from penstock.api.schemas.pipelines import (
    FieldOrder,
    PipelineBody,
    PipelineView,
    SavedFromTemplate,
    SavedPipeline,
    VersionView,
)
from penstock.errors import BadInputError, BlockNotFoundError
from penstock.storage import pipelines
from penstock.storage.entities import StoredPipeline
from penstock.storage.tables import to_iso8601
from penstock.workflow import load_definition

router = make_router("/api/pipelines", "pipelines")

_UNKNOWN = error_responses(404, 422)


@router.post(
    "",
    summary="Create a pipeline",
    response_model=SavedPipeline,
    response_model_exclude_none=True,
    responses=error_responses(422),
)
async def create_pipeline(body: PipelineBody, services: ServicesDep) -> Json:
    """Unknown blocks are accepted with a warning; running the pipeline refuses them."""
    return Json(await _save(services, body.to_definition()))


@router.get("", summary="All pipelines, newest first", response_model=list[PipelineView])
async def list_pipelines(services: ServicesDep, session: ReadingDep) -> Json:
    """Each in its present version."""
    return Json([_view(stored, services) for stored in await pipelines.list_pipelines(session)])


@router.post(
    "/import",
    summary="Create a pipeline from a YAML or JSON file",
    response_model=SavedPipeline,
    response_model_exclude_none=True,
    responses=error_responses(404, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/yaml": {"schema": {"type": "string"}},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def import_pipeline(
    request: Request,
    services: ServicesDep,
    pipeline_id: Annotated[
        Annotated[int, Field(ge=0, lt=2**63)] | SkipJsonSchema[None],
        Query(description="Make it a new version of this pipeline."),
    ] = None,
) -> Json:
    """The body is the file's text. `export` returns the same file, byte for byte."""
    source = _decode(await request.body())
    return Json(await _save(services, _read_file(source), pipeline_id, source))


# It is described under /api/templates/{template_id}/pipelines, because OpenAPI cannot tell this address from
# /api/pipelines/{pipeline_id}/versions.
@router.post("/from_template/{template_id}", response_model=SavedFromTemplate, include_in_schema=False)
async def create_from_template(template_id: str, definition: TemplateDep, session: SessionDep) -> Json:
    """A new pipeline each time."""
    name = str(definition["name"])
    pipeline_id = await pipelines.save_pipeline(session, name, definition)
    return Json({"id": pipeline_id, "name": name, "template_id": template_id})


@router.get("/{pipeline_id}", summary="One pipeline", response_model=PipelineView, responses=_UNKNOWN)
async def read_pipeline(pipeline_id: RowId, services: ServicesDep, session: ReadingDep) -> Json:
    """The pipeline in its present version."""
    return Json(_view(await pipelines.get_pipeline(session, pipeline_id), services))


@router.put(
    "/{pipeline_id}",
    summary="Change a pipeline: a new version",
    response_model=SavedPipeline,
    response_model_exclude_none=True,
    responses=_UNKNOWN,
)
async def update_pipeline(pipeline_id: RowId, body: PipelineBody, services: ServicesDep) -> Json:
    """Takes the whole definition. Jobs and records keep the version that they ran with (D15)."""
    return Json(await _save(services, body.to_definition(), pipeline_id))


@router.delete(
    "/{pipeline_id}",
    summary="Delete a pipeline",
    response_model=Success,
    responses=error_responses(404, 409, 422),
)
async def delete_pipeline(pipeline_id: RowId, services: ServicesDep) -> Json:
    """Also deletes its versions, jobs and records; a running job is cancelled first. A job that another
    process works on (`penstock run`, another service) is a 409, and nothing is deleted."""
    async with AsyncExitStack() as stack:
        for prepare in services.before_delete:
            await stack.enter_async_context(prepare(pipeline_id))
        session = await stack.enter_async_context(services.storage.session())
        await pipelines.delete_pipeline(session, pipeline_id)
    return Json({"success": True})


@router.get(
    "/{pipeline_id}/versions",
    summary="All versions of a pipeline, newest first",
    response_model=list[VersionView],
    responses=_UNKNOWN,
)
async def list_versions(pipeline_id: RowId, session: ReadingDep) -> Json:
    """Each change made one."""
    return Json(
        [
            {
                "version": stored.version,
                "name": stored.name,
                "created_at": to_iso8601(stored.updated_at or stored.created_at),
            }
            for stored in await pipelines.list_versions(session, pipeline_id)
        ]
    )


@router.get(
    "/{pipeline_id}/versions/{version}",
    summary="A pipeline in one of its versions",
    response_model=PipelineView,
    responses=_UNKNOWN,
)
async def read_version(
    pipeline_id: RowId, version: RowId, services: ServicesDep, session: ReadingDep
) -> Json:
    """`PUT` its definition to return to it."""
    return Json(_view(await _get_version(session, pipeline_id, version), services))


@router.get(
    "/{pipeline_id}/export",
    summary="A pipeline as a YAML file",
    response_class=Response,
    responses={**_UNKNOWN, 200: {"content": {"application/yaml": {"schema": {}}}}},
)
async def export_pipeline(
    pipeline_id: RowId,
    session: ReadingDep,
    version: Annotated[
        Annotated[int, Field(ge=0, lt=2**31)] | SkipJsonSchema[None],
        Query(description="This version instead of the present one."),
    ] = None,
) -> Response:
    """A version that was imported is returned as that file, byte for byte; any other is written as YAML."""
    stored = await _get_version(session, pipeline_id, version)
    text = stored.source
    if text is None:
        text = yaml.safe_dump(stored.definition, sort_keys=False, allow_unicode=True, width=100)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", stored.name).strip("._")[:80] or "pipeline"
    headers = {"content-disposition": f'attachment; filename="{name}.yaml"'}
    return Response(text.encode(), headers=headers, media_type="application/yaml")


@router.put(
    "/{pipeline_id}/validation_config",
    summary="Set how the review page lays out a pipeline's fields",
    response_model=Success,
    responses=_UNKNOWN,
)
async def update_validation_config(
    pipeline_id: RowId,
    body: Annotated[
        dict[str, Any],
        Body(examples=[{"field_order": {"primary": ["assistant"], "secondary": [], "hidden": ["system"]}}]),
    ],
    session: SessionDep,
) -> Json:
    """Takes `{field_order: {primary, secondary, hidden}}`, each a list of fields."""
    try:
        FieldOrder.model_validate(body.get("field_order"), strict=True)
    except InvalidModelError as error:
        raise BadInputError(
            "field_order must have the lists primary, secondary and hidden.",
            detail={"errors": [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]},
        ) from error
    await pipelines.save_validation_config(session, pipeline_id, body)
    return Json({"success": True})


async def _get_version(session: ReadingDep, pipeline_id: int, version: int | None) -> StoredPipeline:
    if version is not None and not 0 <= version < 2**31:
        version = 0  # no version has this number, and not every database accepts a larger one
    return await pipelines.get_pipeline(session, pipeline_id, version)


def _view(stored: StoredPipeline, services: Services) -> dict[str, Any]:
    return {**stored.to_dict(), "first_block_is_multiplier": _multiplies(stored.definition, services)}


def _multiplies(definition: Mapping[str, Any], services: Services) -> bool:
    try:
        return bool(services.blocks.get_class(definition["blocks"][0]["type"]).is_multiplier)
    except (BlockNotFoundError, LookupError, TypeError):
        return False


async def _save(
    services: Services,
    definition: Mapping[str, Any],
    pipeline_id: int | None = None,
    source: str | None = None,
) -> dict[str, Any]:
    """Store a new pipeline, or a new version of one, whatever the static check finds (A142)."""
    name = definition["name"]
    problems = (await asyncio.to_thread(check_definition, definition, services, source))["problems"]
    async with services.storage.session() as session:
        if pipeline_id is None:
            pipeline_id = await pipelines.save_pipeline(session, name, definition, source=source)
        else:
            await pipelines.update_pipeline(session, pipeline_id, name, definition, source=source)
    saved: dict[str, Any] = {"id": pipeline_id, "name": name}
    return {**saved, "warnings": problems} if problems else saved


def _decode(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadInputError("The file is not UTF-8 text.", detail={"position": error.start}) from error


def _read_file(source: str) -> dict[str, Any]:
    """The definition in a file's text; raises DefinitionError, or BadInputError when it is no pipeline."""
    # The line break makes sure that the text is read as YAML and never as the name of a file on this machine.
    definition, _ = load_definition(source.removeprefix("\ufeff") + "\n")
    try:
        return PipelineBody.model_validate(definition).to_definition()
    except InvalidModelError as error:
        raise InvalidBodyError(error) from error

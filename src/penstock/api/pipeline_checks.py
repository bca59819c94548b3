"""Routes that look at a pipeline without running it: the static check, and the fields it makes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Body

from penstock.api.deps import ReadingDep, Services, ServicesDep
from penstock.api.errors import error_responses
from penstock.api.routing import Json, RowId, make_router
from penstock.api.schemas.examples import DEFINITION
from penstock.api.schemas.pipelines import Check, Fields
from penstock.errors import BlockNotFoundError
from penstock.storage import pipelines
from penstock.workflow import validate

router = make_router("/api/pipelines", "pipelines")

_UNKNOWN = error_responses(404, 422)


@router.post("/validate", summary="Check a definition", response_model=Check, responses=error_responses(422))
async def validate_definition(
    definition: Annotated[dict[str, Any], Body(examples=[DEFINITION])], services: ServicesDep
) -> Json:
    """The static check; it calls no model and stores nothing. It finds unknown blocks and settings, missing
    variables, fields that are read before they are made, gates on fields that no step makes, bad limits."""
    return Json(await asyncio.to_thread(check_definition, definition, services))


@router.post(
    "/{pipeline_id}/validate", summary="Check a stored pipeline", response_model=Check, responses=_UNKNOWN
)
async def validate_pipeline(pipeline_id: RowId, services: ServicesDep, session: ReadingDep) -> Json:
    """The static check of the present version."""
    stored = await pipelines.get_pipeline(session, pipeline_id)
    return Json(await asyncio.to_thread(check_definition, stored.definition, services, stored.source))


@router.get(
    "/{pipeline_id}/accumulated_state_schema",
    summary="The fields that a pipeline makes",
    response_model=Fields,
    responses=_UNKNOWN,
)
async def read_state_schema(pipeline_id: RowId, services: ServicesDep, session: ReadingDep) -> Json:
    """The outputs of all steps, sorted; the seed's fields are not among them."""
    stored = await pipelines.get_pipeline(session, pipeline_id)
    fields: set[str] = set()
    for block in stored.definition.get("blocks", ()):
        try:
            fields.update(services.blocks.get_class(block["type"]).outputs)
        except BlockNotFoundError:
            continue
    return Json({"fields": sorted(fields)})


def check_definition(definition: Any, services: Services, source: str | None = None) -> dict[str, Any]:
    """The result of the static check as the API shows it; ``source`` is the file's text, for line numbers."""
    issues = validate(
        definition,
        blocks=services.blocks,
        gates=services.gates,
        source=source,
        settings=services.settings,
    )
    return {
        "valid": not any(issue.severity == "error" for issue in issues),
        "problems": [issue.to_dict() for issue in issues],
    }

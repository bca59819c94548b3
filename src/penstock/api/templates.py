"""Routes of ready-made pipelines."""

from __future__ import annotations

from typing import Any

from penstock.api.deps import ServicesDep, TemplateDep
from penstock.api.errors import error_responses
from penstock.api.pipelines import create_from_template
from penstock.api.routing import Json, make_router
from penstock.api.schemas.blocks import LoadError
from penstock.api.schemas.pipelines import SavedFromTemplate
from penstock.api.schemas.templates import Template

router = make_router("/api/templates", "templates")


@router.get("", summary="All templates", response_model=list[Template])
async def list_templates(services: ServicesDep) -> Json:
    """The templates that are part of penstock and yours in `user_templates/`, each with example seeds."""
    return Json(services.templates.list_templates())


@router.get("/errors", summary="Templates that failed to load", response_model=list[LoadError])
async def list_template_errors(services: ServicesDep) -> Json:
    """Files of templates and seeds that were left out, and why."""
    return Json(services.templates.errors)


@router.get(
    "/{template_id}",
    summary="One template's definition",
    response_model=dict[str, Any],
    responses=error_responses(404, 422),
)
async def read_template(definition: TemplateDep) -> Json:
    """The definition, as `POST /api/pipelines` takes it."""
    return Json(definition)


router.add_api_route(
    "/{template_id}/pipelines",
    create_from_template,
    methods=["POST"],
    summary="Create a pipeline from a template",
    response_model=SavedFromTemplate,
    responses=error_responses(404, 422),
)

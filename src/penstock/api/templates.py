"""Ready-made pipelines."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from penstock.api.blocks import LoadError
from penstock.api.deps import ServicesDep
from penstock.api.errors import error_responses
from penstock.api.routing import Json, make_router
from penstock.errors import NotFoundError

router = make_router("/api/templates", "templates")


class Template(BaseModel):
    """A ready-made pipeline, and seeds to try it with."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "id": "json_generation",
                    "name": "JSON Generation",
                    "description": "Title and description of a text, as JSON.",
                    "example_seed": [{"repetitions": 1, "metadata": {"content": "Bees dance."}}],
                }
            ]
        },
    )

    id: str = Field(description="The file's name without `.yaml`.")
    name: str
    description: str
    example_seed: list[dict[str, Any]] | None = Field(default=None, description="A seed file's content.")


def find_template(services: ServicesDep, template_id: str) -> dict[str, Any]:
    """The template's definition; raises NotFoundError."""
    definition = services.templates.get_template(template_id)
    if definition is None:
        raise NotFoundError(
            "template not found",
            detail={
                "template_id": template_id,
                "available_templates": [one["id"] for one in services.templates.list_templates()],
            },
        )
    return definition


@router.get("", summary="All templates", response_model=list[Template])
async def list_templates(services: ServicesDep) -> Json:
    """The templates that ship with penstock and yours in `user_templates/`, each with example seeds."""
    return Json(services.templates.list_templates())


@router.get("/errors", summary="Templates that could not be used", response_model=list[LoadError])
async def list_template_errors(services: ServicesDep) -> Json:
    """Files of templates and seeds that were left out, and why."""
    return Json(services.templates.errors)


@router.get(
    "/{template_id}",
    summary="One template's definition",
    response_model=dict[str, Any],
    responses=error_responses(404, 422),
)
async def read_template(template_id: str, services: ServicesDep) -> Json:
    """The definition, as `POST /api/pipelines` takes it."""
    return Json(find_template(services, template_id))

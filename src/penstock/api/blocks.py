"""What pipelines can be made of: blocks and gates, and what could not be loaded."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from penstock.api.deps import ServicesDep
from penstock.api.routing import Json, make_router

router = make_router("/api", "blocks")


class ConfigSchema(BaseModel):
    """The settings of a block or gate, as JSON Schema; what the editor makes its form of."""

    model_config = ConfigDict(extra="allow")

    type: str = "object"
    properties: dict[str, dict[str, Any]] = Field(
        description="Each with type, default, description, enum, items; `isFieldReference` names a field."
    )
    required: list[str]


class BlockSchema(BaseModel):
    """A block, as the editor needs to know it."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "DiversityScore",
                    "name": "Diversity score",
                    "description": "How much texts differ, from 0 to 1.",
                    "inputs": [],
                    "outputs": ["diversity_score"],
                    "is_multiplier": False,
                    "config_schema": {
                        "type": "object",
                        "properties": {
                            "field_name": {"type": "string", "default": "assistant", "isFieldReference": True}
                        },
                        "required": [],
                    },
                }
            ]
        },
    )

    type: str = Field(description="The class name, which pipelines use.")
    name: str
    description: str
    inputs: list[str] = Field(description="Fields that it reads; `*` for any.")
    outputs: list[str] = Field(description="Fields that it may add to the state.")
    is_multiplier: bool = Field(description="Whether it makes several states out of one.")
    config_schema: ConfigSchema


class GateSchema(BaseModel):
    """A gate, as the editor needs to know it."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="The class name, which pipelines use.")
    name: str
    description: str
    config_schema: ConfigSchema


class LoadError(BaseModel):
    """A file or class that could not be loaded."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"file": "user_blocks/my_block.py", "error": "SyntaxError: invalid syntax (line 3)"}]
        }
    )

    file: str
    error: str


@router.get("/blocks", summary="All blocks with their settings", response_model=list[BlockSchema])
async def list_blocks(services: ServicesDep) -> Json:
    """The built-in blocks, those of installed packages, and yours in `user_blocks/`."""
    return Json(services.blocks.list_schemas())


@router.get("/blocks/errors", summary="What could not be loaded", response_model=list[LoadError])
async def list_block_errors(services: ServicesDep) -> Json:
    """Files with blocks or gates that failed to import, and why; the others work all the same."""
    services.blocks.list_schemas()  # a block whose schema cannot be made is found out here
    errors: list[dict[str, str]] = []
    for error in [*services.blocks.errors, *services.gates.errors]:
        if error not in errors:
            errors.append(error)
    return Json(errors)


@router.get("/gates", summary="All gates with their settings", response_model=list[GateSchema])
async def list_gates(services: ServicesDep) -> Json:
    """The gates that a step's output can be held to."""
    return Json(services.gates.list_schemas())

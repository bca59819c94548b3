"""Blocks and gates as the editor needs them, and files that could not be loaded."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ConfigSchema(BaseModel):
    """The settings of a block or gate as JSON Schema, from which the editor builds its form."""

    model_config = ConfigDict(extra="allow")

    type: str = "object"
    properties: dict[str, dict[str, Any]] = Field(
        description="Each with type, default, description, enum, items; `isFieldReference` names a field."
    )
    required: list[str]


class BlockSchema(BaseModel):
    """A block: its fields and its settings."""

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
    """A gate and its settings."""

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

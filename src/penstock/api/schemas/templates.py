"""Ready-made pipelines."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


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

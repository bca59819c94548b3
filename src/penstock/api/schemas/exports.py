"""Previews of exports."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ExportPreview(BaseModel):
    """How many records an export has, and its first rows."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "count": 240,
                    "skipped": 0,
                    "rows": [
                        {
                            "messages": [
                                {"role": "user", "content": "Explain gravity."},
                                {"role": "assistant", "content": "Things fall."},
                            ]
                        }
                    ],
                }
            ]
        }
    )

    count: int = Field(description="Records that match the filters.")
    skipped: int = Field(description="How many were left out of these rows: they lack a field of the format.")
    rows: list[dict[str, Any]]

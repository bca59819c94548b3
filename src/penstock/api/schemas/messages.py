"""Short answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Success(BaseModel):
    """The request was carried out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"success": True}]})

    success: bool = True


class Message(BaseModel):
    """The request was carried out; the message says what was done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "Job cancelled"}]})

    message: str

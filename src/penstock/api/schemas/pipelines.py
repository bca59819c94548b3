"""Pipelines as they are sent, stored and checked."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from penstock.api.schemas.examples import DEFINITION, TIME
from penstock.entities import Constraints
from penstock.errors import BadInputError

NAME_AND_BLOCKS: Final = "name and blocks required"
"""The message for a definition without them, fixed by the contract (A139)."""

_CONSTRAINTS: Any = {"anyOf": [Constraints.model_json_schema(), {"type": "null"}]}


def _describe_required(schema: dict[str, Any]) -> None:
    """Declare in the schema what the model does not require, because a missing name is a 400 (A139)."""
    schema["required"] = ["name", "blocks"]
    schema["examples"] = [DEFINITION]
    schema["properties"]["name"] |= {"minLength": 1, "pattern": r"[^\s\x00]"}
    schema["properties"]["blocks"] |= {"minItems": 1}
    for name in ("name", "blocks"):
        schema["properties"][name].pop("default", None)


def _refuse_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the character NUL")
    return text


Name = Annotated[str, Field(max_length=200), AfterValidator(_refuse_nul)]


class StepBody(BaseModel):
    """One step of a pipeline; keys that are not named here are kept."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(max_length=200)] = Field(description="A block's type, from `GET /api/blocks`.")
    config: dict[str, Any] | None = Field(default=None, description="The block's settings.")
    gates: list[dict[str, Any]] | None = Field(
        default=None, description="The gates that check its output: `{type, config}` each."
    )
    heal: dict[str, Any] | None = Field(
        default=None,
        description="How to ask again when a gate refuses the output: `max_attempts`, `entropy`, …",
    )
    samples: Any = Field(default=None, description="How often to ask, for gates that compare samples.")


class PipelineBody(BaseModel):
    """A pipeline's definition; keys that are not named here (layout, …) are kept."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_describe_required)

    name: Name | SkipJsonSchema[None] = None
    blocks: Annotated[list[StepBody], Field(max_length=500)] | SkipJsonSchema[None] = None
    constraints: Annotated[Any, WithJsonSchema(_CONSTRAINTS)] = Field(
        default=None, description="Limits on what a job may use; -1 or null is no limit."
    )

    def to_definition(self) -> dict[str, Any]:
        """The definition to store; raises BadInputError without a name, without blocks or with bad limits."""
        if not (self.name and self.name.strip() and self.blocks):
            raise BadInputError(NAME_AND_BLOCKS)
        definition = self.model_dump(exclude_unset=True)
        if isinstance(limits := definition.get("constraints"), dict):
            definition["constraints"] = {name: _to_integer(limit) for name, limit in limits.items()}
        Constraints.read(definition.get("constraints"))
        return definition


def _to_integer(limit: Any) -> Any:
    """``limit`` as an integer when it is a float without a fraction: JSON has one kind of number."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


class Issue(BaseModel):
    """What the static check found: where, what, and what to write instead."""

    message: str
    fix: str
    step: int | None = Field(description="From 1; null when it is not about one step.")
    block: str | None
    key: str | None = Field(description="The path inside the step, or inside the definition.")
    line: int | None = Field(description="The line in the file, where there is one.")
    severity: str = Field(description="`error` or `warning`.")


class Check(BaseModel):
    """The result of the static check: valid when it found no error; there may still be warnings."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"valid": True, "problems": []}]})

    valid: bool
    problems: list[Issue]


class SavedPipeline(BaseModel):
    """A pipeline was stored; `warnings` is present when the static check found something."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": 1, "name": "Explain"}]})

    id: int
    name: str
    warnings: list[Issue] | None = None


class SavedFromTemplate(BaseModel):
    """A pipeline was made from a template."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": 1, "name": "JSON Generation", "template_id": "json_generation"}]
        }
    )

    id: int
    name: str
    template_id: str


class PipelineView(BaseModel):
    """A stored pipeline."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "id": 1,
                    "name": "Explain",
                    "definition": DEFINITION,
                    "created_at": TIME,
                    "validation_config": None,
                    "version": 1,
                    "updated_at": TIME,
                    "first_block_is_multiplier": False,
                }
            ]
        },
    )

    id: int
    name: str
    definition: dict[str, Any]
    created_at: str = Field(description="UTC, ISO 8601.")
    validation_config: dict[str, Any] | None = Field(description="How the review page lays out the fields.")
    version: int = Field(description="From 1; each change makes another.")
    updated_at: str | None
    first_block_is_multiplier: bool = Field(description="Whether one seed gives several records.")


class VersionView(BaseModel):
    """One version of a pipeline, in a list of them."""

    version: int
    name: str
    created_at: str


class Fields(BaseModel):
    """The fields that a pipeline's steps add to the state, sorted."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"fields": ["assistant", "system", "user", "valid"]}]}
    )

    fields: list[str]


class FieldOrder(BaseModel):
    """Which fields the review page shows large, which small, and which it hides."""

    model_config = ConfigDict(extra="allow")

    primary: list[str]
    secondary: list[str]
    hidden: list[str]

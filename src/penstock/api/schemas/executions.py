"""Executions and previews of pipelines."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from penstock.api.numbers import JsonNumber
from penstock.api.schemas.pipelines import PipelineBody
from penstock.api.schemas.usage import UsageView

_Step = Annotated[int, Field(ge=1, le=500)]


class Execution(BaseModel):
    """The result of one execution. `error` is present when a multiplier's child failed."""

    result: dict[str, Any] = Field(description="The state after the last step.")
    trace: list[dict[str, Any]] = Field(
        description="One entry a step: block_type, input, output, accumulated_state, execution_time, …"
    )
    trace_id: str
    usage: UsageView
    error: dict[str, Any] | None = None


class Executions(BaseModel):
    """The results of a multiplier pipeline: one execution a child (D6)."""

    results: list[Execution]


class PreviewBody(BaseModel):
    """Which steps to run, and on what."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"seed": {"topic": "gravity"}, "up_to": 1},
                {"seed": {"topic": "gravity"}, "only": 2, "pins": {"1": {"assistant": "Things fall."}}},
            ]
        },
    )

    seed: dict[str, Any] = Field(
        default_factory=dict, description="A seed's variables, or `{metadata: variables}` as in a seed file."
    )
    up_to: JsonNumber[_Step] | None = Field(default=None, description="The last step to run.")
    only: JsonNumber[_Step] | None = Field(default=None, description="The one step to run.")
    pins: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Step number → outputs: the step is not run, and these are its outputs.",
    )
    child: JsonNumber[Annotated[int, Field(ge=0, le=1_000_000)]] = Field(
        default=0, description="Which of a multiplier's children to continue with, from 0."
    )
    definition: PipelineBody | None = Field(
        default=None, description="Run this, instead of what is stored: changes that are not saved yet."
    )


class PreviewStep(BaseModel):
    """What one step did."""

    model_config = ConfigDict(extra="allow")

    step: int
    block_type: str
    output: dict[str, Any]
    execution_time: float
    pinned: bool
    error: str | None


class Preview(BaseModel):
    """The results of the steps. A step that fails is the last one, and `error` says why."""

    steps: list[PreviewStep]
    result: dict[str, Any]
    trace: list[dict[str, Any]]
    trace_id: str
    usage: UsageView
    children: int | None = Field(description="How many states a multiplier made; null without one.")
    error: dict[str, Any] | None = Field(description="`{error, detail}`, or null.")

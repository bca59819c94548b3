"""Pipelines: made, changed by versions, checked, tried out, and taken in and out as files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from fastapi import Body, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic import ValidationError as InvalidModelError
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response

from penstock import llm
from penstock.api.deps import ReadingDep, Services, ServicesDep, SessionDep
from penstock.api.errors import InvalidBodyError, error_responses
from penstock.api.routing import Json, RowId, make_router
from penstock.api.templates import find_template
from penstock.entities import Constraints
from penstock.errors import BadInputError, BlockNotFoundError, DefinitionError, PipelineError
from penstock.redaction import redact_known
from penstock.storage import pipelines
from penstock.storage.entities import StoredPipeline
from penstock.storage.tables import to_text
from penstock.workflow import Pipeline, check, load_definition

router = make_router("/api/pipelines", "pipelines")

NAME_AND_BLOCKS = "name and blocks required"
_FAULTS = error_responses(404, 422)

_DEFINITION: Any = {
    "name": "Explain",
    "blocks": [
        {"type": "TextGenerator", "config": {"user_prompt": "Explain {{ topic }} in one sentence."}},
        {"type": "ValidatorBlock", "config": {"min_length": 20}},
    ],
    "constraints": {"max_total_tokens": 10000},
}
_TIME = "2026-01-31T12:00:00.000000Z"


_CONSTRAINTS: Any = {"anyOf": [Constraints.model_json_schema(), {"type": "null"}]}


def _describe_required(schema: dict[str, Any]) -> None:
    """What is missing is a 400 by the contract (A139), so the model leaves out what its schema says."""
    schema["required"] = ["name", "blocks"]
    schema["examples"] = [_DEFINITION]
    schema["properties"]["name"] |= {"minLength": 1, "pattern": r"[^\s\x00]"}
    schema["properties"]["blocks"] |= {"minItems": 1}
    for name in ("name", "blocks"):
        schema["properties"][name].pop("default", None)


def _refuse_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold the character NUL")
    return text


Name = Annotated[str, Field(max_length=200), AfterValidator(_refuse_nul)]


class StepBody(BaseModel):
    """One step of a pipeline; keys that are not named here are kept."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(max_length=200)] = Field(description="A block's type, from `GET /api/blocks`.")
    config: dict[str, Any] | None = Field(default=None, description="The block's settings.")
    gates: list[dict[str, Any]] | None = Field(
        default=None, description="What its output is held to: `{type, config}` each."
    )
    heal: dict[str, Any] | None = Field(
        default=None, description="How to ask again when a gate finds fault: `max_attempts`, `entropy`, …"
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
        """What is kept; raises BadInputError when it is no pipeline at all."""
        if not (self.name and self.name.strip() and self.blocks):
            raise BadInputError(NAME_AND_BLOCKS)
        definition = self.model_dump(exclude_unset=True)
        if isinstance(limits := definition.get("constraints"), dict):
            definition["constraints"] = {name: _whole(limit) for name, limit in limits.items()}
        Constraints.read(definition.get("constraints"))
        return definition


class Issue(BaseModel):
    """What the static check found: where, what, and what to write instead."""

    message: str
    fix: str
    step: int | None = Field(description="From 1; null when it is not about one step.")
    block: str | None
    key: str | None = Field(description="The path inside the step, or inside the definition.")
    line: int | None = Field(description="The line in the file, where there is one.")
    severity: str = Field(description="`error` or `warning`.")


class SavedPipeline(BaseModel):
    """That a pipeline was kept; `warnings` is there when the static check has something to say."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": 1, "name": "Explain"}]})

    id: int
    name: str
    warnings: list[Issue] | None = None


class SavedFromTemplate(BaseModel):
    """That a pipeline was made of a template."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": 1, "name": "JSON Generation", "template_id": "json_generation"}]
        }
    )

    id: int
    name: str
    template_id: str


class PipelineView(BaseModel):
    """A pipeline as it is kept."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "id": 1,
                    "name": "Explain",
                    "definition": _DEFINITION,
                    "created_at": _TIME,
                    "validation_config": None,
                    "version": 1,
                    "updated_at": _TIME,
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


class Success(BaseModel):
    """That it was done."""

    success: bool = True


class Check(BaseModel):
    """What the static check says: valid when it found no error; warnings may be there all the same."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"valid": True, "problems": []}]})

    valid: bool
    problems: list[Issue]


class Fields(BaseModel):
    """The fields that a pipeline's steps add to the state, sorted."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"fields": ["assistant", "system", "user", "valid"]}]}
    )

    fields: list[str]


class FieldOrder(BaseModel):
    """Which fields the review page shows large, small, and not at all."""

    model_config = ConfigDict(extra="allow")

    primary: list[str]
    secondary: list[str]
    hidden: list[str]


class UsageView(BaseModel):
    """Tokens, calls, money and time (D5)."""

    model_config = ConfigDict(extra="allow")

    total_tokens: int
    total_input_tokens: int
    total_output_tokens: int
    total_cached_tokens: int
    start_time: float | None = Field(description="Seconds since the epoch.")
    end_time: float | None
    total_cost: float | None = Field(description="US dollars; null when a price is unknown.")
    llm_calls: int


class Execution(BaseModel):
    """What one execution gave. `error` is there when a multiplier's child failed."""

    result: dict[str, Any] = Field(description="The state after the last step.")
    trace: list[dict[str, Any]] = Field(
        description="One entry a step: block_type, input, output, accumulated_state, execution_time, …"
    )
    trace_id: str
    usage: UsageView
    error: dict[str, Any] | None = None


class Executions(BaseModel):
    """What a multiplier pipeline gave: one execution a child (D6)."""

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
    up_to: Annotated[int, Field(ge=1, le=500)] | None = Field(
        default=None, description="The last step to run."
    )
    only: Annotated[int, Field(ge=1, le=500)] | None = Field(default=None, description="The one step to run.")
    pins: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Step number → outputs: the step is not run, and gives what is pinned.",
    )
    child: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="Which of a multiplier's children to go on with, from 0."
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
    """What the steps gave. A step that fails is the last one, and `error` says why."""

    steps: list[PreviewStep]
    result: dict[str, Any]
    trace: list[dict[str, Any]]
    trace_id: str
    usage: UsageView
    children: int | None = Field(description="How many states a multiplier made; null without one.")
    error: dict[str, Any] | None = Field(description="`{error, detail}`, or null.")


@router.post(
    "",
    summary="Make a pipeline",
    response_model=SavedPipeline,
    response_model_exclude_none=True,
    responses=error_responses(422),
)
async def create_pipeline(body: PipelineBody, services: ServicesDep) -> Json:
    """Blocks that do not exist (yet) are taken, with a warning; running the pipeline refuses them."""
    return Json(await _save(services, body.to_definition()))


@router.get("", summary="All pipelines, newest first", response_model=list[PipelineView])
async def list_pipelines(services: ServicesDep, session: ReadingDep) -> Json:
    """Each as it is now."""
    return Json([_view(stored, services) for stored in await pipelines.list_pipelines(session)])


@router.post("/validate", summary="Check a definition", response_model=Check, responses=error_responses(422))
async def validate_definition(
    definition: Annotated[dict[str, Any], Body(examples=[_DEFINITION])], services: ServicesDep
) -> Json:
    """The static check, without a model call and without keeping anything: unknown blocks and settings,
    missing variables, fields read before they are made, gates on what no step makes, impossible limits."""
    return Json(_check(definition, services))


@router.post(
    "/import",
    summary="Make a pipeline from a YAML or JSON file",
    response_model=SavedPipeline,
    response_model_exclude_none=True,
    responses=error_responses(404, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/yaml": {"schema": {"type": "string"}}},
        }
    },
)
async def import_pipeline(
    request: Request,
    services: ServicesDep,
    pipeline_id: Annotated[
        Annotated[int, Field(ge=0, lt=2**63)] | SkipJsonSchema[None],
        Query(description="Make it a new version of this pipeline."),
    ] = None,
) -> Json:
    """The body is the file's text. `export` gives the same file back, byte for byte."""
    source = _decode(await request.body())
    return Json(await _save(services, _read_file(source), pipeline_id, source))


@router.post(
    "/from_template/{template_id}",
    summary="Make a pipeline from a template",
    response_model=SavedFromTemplate,
    responses=_FAULTS,
)
async def create_from_template(template_id: str, services: ServicesDep, session: SessionDep) -> Json:
    """A new pipeline each time."""
    definition = find_template(services, template_id)
    name = str(definition["name"])
    pipeline_id = await pipelines.save_pipeline(session, name, definition)
    return Json({"id": pipeline_id, "name": name, "template_id": template_id})


@router.get("/{pipeline_id}", summary="One pipeline", response_model=PipelineView, responses=_FAULTS)
async def read_pipeline(pipeline_id: RowId, services: ServicesDep, session: ReadingDep) -> Json:
    """The pipeline as it is now."""
    return Json(_view(await pipelines.get_pipeline(session, pipeline_id), services))


@router.put(
    "/{pipeline_id}",
    summary="Change a pipeline: a new version",
    response_model=SavedPipeline,
    response_model_exclude_none=True,
    responses=_FAULTS,
)
async def update_pipeline(pipeline_id: RowId, body: PipelineBody, services: ServicesDep) -> Json:
    """Takes the whole definition. Jobs and records keep the version that they ran with (D15)."""
    return Json(await _save(services, body.to_definition(), pipeline_id))


@router.delete("/{pipeline_id}", summary="Delete a pipeline", response_model=Success, responses=_FAULTS)
async def delete_pipeline(pipeline_id: RowId, services: ServicesDep) -> Json:
    """Its versions, jobs and records go with it; a job that is running is cancelled first."""
    for prepare in services.before_delete:
        await prepare(pipeline_id)
    async with services.storage.session() as session:
        await pipelines.delete_pipeline(session, pipeline_id)
    return Json({"success": True})


@router.get(
    "/{pipeline_id}/versions",
    summary="All versions of a pipeline, newest first",
    response_model=list[VersionView],
    responses=_FAULTS,
)
async def list_versions(pipeline_id: RowId, session: ReadingDep) -> Json:
    """Each change made one."""
    return Json(
        [
            {
                "version": stored.version,
                "name": stored.name,
                "created_at": to_text(stored.updated_at or stored.created_at),
            }
            for stored in await pipelines.list_versions(session, pipeline_id)
        ]
    )


@router.get(
    "/{pipeline_id}/versions/{version}",
    summary="A pipeline as it was in one version",
    response_model=PipelineView,
    responses=_FAULTS,
)
async def read_version(
    pipeline_id: RowId, version: RowId, services: ServicesDep, session: ReadingDep
) -> Json:
    """`PUT` its definition to go back to it."""
    return Json(_view(await _get_version(session, pipeline_id, version), services))


@router.get(
    "/{pipeline_id}/export",
    summary="A pipeline as a YAML file",
    response_class=Response,
    responses={**_FAULTS, 200: {"content": {"application/yaml": {"schema": {}}}}},
)
async def export_pipeline(
    pipeline_id: RowId,
    session: ReadingDep,
    version: Annotated[
        Annotated[int, Field(ge=0, lt=2**31)] | SkipJsonSchema[None],
        Query(description="Not the present version."),
    ] = None,
) -> Response:
    """A version that came from a file is that file, byte for byte; another is written out as YAML."""
    stored = await _get_version(session, pipeline_id, version)
    text = stored.source
    if text is None:
        text = yaml.safe_dump(stored.definition, sort_keys=False, allow_unicode=True, width=100)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", stored.name).strip("._")[:80] or "pipeline"
    headers = {"content-disposition": f'attachment; filename="{name}.yaml"'}
    return Response(text.encode(), headers=headers, media_type="application/yaml")


@router.post(
    "/{pipeline_id}/validate", summary="Check a stored pipeline", response_model=Check, responses=_FAULTS
)
async def validate_pipeline(pipeline_id: RowId, services: ServicesDep, session: ReadingDep) -> Json:
    """The static check of the present version."""
    stored = await pipelines.get_pipeline(session, pipeline_id)
    return Json(_check(stored.definition, services, stored.source))


@router.post(
    "/{pipeline_id}/execute",
    summary="Run a pipeline once",
    response_model=Execution | Executions,
    responses=_FAULTS,
)
async def execute_pipeline(
    pipeline_id: RowId,
    initial_state: Annotated[dict[str, Any], Body(examples=[{"topic": "gravity"}])],
    services: ServicesDep,
) -> Response:
    """The body is the initial state. Nothing is kept: no job, no record, no journal. A multiplier pipeline
    answers `{results: […]}`. What a step raises is a 400 whose `detail` names the block and the step."""
    stored = await _load(services, pipeline_id)
    pipeline = _build(stored.definition, services)
    with llm.use_client(services.client):
        made = [result async for result in pipeline.stream(initial_state)]
    for result in made:
        services.observed.note(stored.name, result)
    whole = made[0] if made and not made[0].child else None  # a multiplier that failed made no child
    if whole is None:
        return _Outcome({"results": [result.to_dict() for result in made]})
    if whole.error is not None:
        raise whole.error
    return _Outcome(whole.to_dict())


@router.post(
    "/{pipeline_id}/preview",
    summary="Run one step, or up to a step",
    response_model=Preview,
    responses=_FAULTS,
)
async def preview_pipeline(pipeline_id: RowId, body: PreviewBody, services: ServicesDep) -> Response:
    """Tries steps out on a seed and keeps nothing. Pin what steps above gave before, and they are not run
    again. A step that fails is no error of the request: what came before it is there, with its reason."""
    stored = await _load(services, pipeline_id)
    definition = body.definition.to_definition() if body.definition else stored.definition
    pipeline = _build(definition, services)
    if body.only is not None and body.up_to is not None:
        raise BadInputError("Say either 'only' or 'up_to', not both.")
    with llm.use_client(services.client):
        made = await pipeline.preview(
            _variables(body.seed),
            up_to=body.up_to,
            only=body.only,
            pins=_read_pins(body.pins),
            child=body.child,
        )
    services.observed.note(stored.name, made.outcome)
    facts = made.outcome.to_dict()
    steps = [
        {
            "step": number,
            "block_type": entry["block_type"],
            "output": entry["output"],
            "execution_time": entry["execution_time"],
            "pinned": entry.get("pinned", False),
            "error": entry.get("error"),
        }
        for number, entry in zip(made.numbers, made.outcome.trace, strict=True)
    ]
    return _Outcome({"steps": steps, "children": made.children, "error": None, **facts})


@router.get(
    "/{pipeline_id}/accumulated_state_schema",
    summary="The fields that a pipeline makes",
    response_model=Fields,
    responses=_FAULTS,
)
async def read_state_schema(pipeline_id: RowId, services: ServicesDep, session: ReadingDep) -> Json:
    """The outputs of all steps, sorted; what comes from the seed is not among them."""
    stored = await pipelines.get_pipeline(session, pipeline_id)
    fields: set[str] = set()
    for block in stored.definition.get("blocks", ()):
        try:
            fields.update(services.blocks.get_class(block["type"]).outputs)
        except BlockNotFoundError:
            continue
    return Json({"fields": sorted(fields)})


@router.put(
    "/{pipeline_id}/validation_config",
    summary="How the review page lays out a pipeline's fields",
    response_model=Success,
    responses=_FAULTS,
)
async def update_validation_config(
    pipeline_id: RowId,
    body: Annotated[
        dict[str, Any],
        Body(examples=[{"field_order": {"primary": ["assistant"], "secondary": [], "hidden": ["system"]}}]),
    ],
    session: SessionDep,
) -> Json:
    """Takes `{field_order: {primary, secondary, hidden}}`, each a list of fields."""
    try:
        FieldOrder.model_validate(body.get("field_order"), strict=True)
    except InvalidModelError as error:
        raise BadInputError(
            "field_order must have the lists primary, secondary and hidden.",
            detail={"errors": [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]},
        ) from error
    await pipelines.save_validation_config(session, pipeline_id, body)
    return Json({"success": True})


class _Outcome(Json):
    """What an execution gave, without the secrets that an answer of a provider may have repeated."""

    def render(self, content: Any) -> bytes:
        return redact_known(super().render(content).decode()).encode()


async def _load(services: Services, pipeline_id: int) -> StoredPipeline:
    """The pipeline, read in a moment: no transaction stays open while models are asked."""
    async with services.storage.reading() as session:
        return await pipelines.get_pipeline(session, pipeline_id)


async def _get_version(session: ReadingDep, pipeline_id: int, version: int | None) -> StoredPipeline:
    if version is not None and not 0 <= version < 2**31:
        version = 0  # no version has that number, and not every database can be asked for a larger one
    return await pipelines.get_pipeline(session, pipeline_id, version)


def _build(definition: Mapping[str, Any], services: Services) -> Pipeline:
    try:
        return Pipeline.load_from_dict(
            definition, block_registry=services.blocks, gate_registry=services.gates
        )
    except PipelineError:
        raise
    except Exception as error:  # a definition can hold anything
        raise DefinitionError(
            f"The pipeline cannot be built as it is written ({error}); validate it to see what is wrong."
        ) from error


def _view(stored: StoredPipeline, services: Services) -> dict[str, Any]:
    return {**stored.to_dict(), "first_block_is_multiplier": _multiplies(stored.definition, services)}


def _multiplies(definition: Mapping[str, Any], services: Services) -> bool:
    try:
        return bool(services.blocks.get_class(definition["blocks"][0]["type"]).is_multiplier)
    except (BlockNotFoundError, LookupError, TypeError):
        return False


def _check(definition: Any, services: Services, source: str | None = None) -> dict[str, Any]:
    problems = check(definition, blocks=services.blocks, gates=services.gates, source=source)
    return {
        "valid": not any(problem.severity == "error" for problem in problems),
        "problems": [problem.to_dict() for problem in problems],
    }


async def _save(
    services: Services,
    definition: Mapping[str, Any],
    pipeline_id: int | None = None,
    source: str | None = None,
) -> dict[str, Any]:
    """Keep a new pipeline, or a new version of one; what the check says is no reason not to (A142)."""
    name = definition["name"]
    problems = _check(definition, services, source)["problems"]
    async with services.storage.session() as session:
        if pipeline_id is None:
            pipeline_id = await pipelines.save_pipeline(session, name, definition, source=source)
        else:
            await pipelines.update_pipeline(session, pipeline_id, name, definition, source=source)
    facts: dict[str, Any] = {"id": pipeline_id, "name": name}
    return {**facts, "warnings": problems} if problems else facts


def _decode(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadInputError("The file is not UTF-8 text.", detail={"position": error.start}) from error


def _read_file(source: str) -> dict[str, Any]:
    """The definition in a file's text; raises DefinitionError, or BadInputError when it is no pipeline."""
    # With a line's end it can only be a text, and never the name of a file here.
    definition, _ = load_definition(source.removeprefix("\ufeff") + "\n")
    try:
        return PipelineBody.model_validate(definition).to_definition()
    except InvalidModelError as error:
        raise InvalidBodyError(error) from error


def _whole(limit: Any) -> Any:
    """JSON knows one kind of number: a whole one may come as 100.0, and is 100."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _variables(seed: dict[str, Any]) -> dict[str, Any]:
    """A seed's variables, from either of its two forms."""
    inner = seed.get("metadata")
    return inner if isinstance(inner, dict) and seed.keys() <= {"metadata", "repetitions"} else seed


def _read_pins(pins: Mapping[str, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    if wrong := [number for number in pins if not (number.isascii() and number.isdigit())]:
        raise BadInputError("Pins go by the number of the step.", detail={"pins": wrong})
    return {int(number): outputs for number, outputs in pins.items()}

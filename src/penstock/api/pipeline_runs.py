"""Routes that run a pipeline once, or a few of its steps, and store nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Body, Request
from starlette.responses import Response

from penstock import llm
from penstock.api.deps import Services, ServicesDep
from penstock.api.errors import error_responses
from penstock.api.routing import Json, RowId, make_router
from penstock.api.schemas.executions import Execution, Executions, Preview, PreviewBody
from penstock.entities import ExecutionResult
from penstock.errors import BadInputError, DefinitionError, PipelineError
from penstock.redaction import redact_known
from penstock.seeds.model import split_seed
from penstock.serialization import to_json, to_text
from penstock.storage import pipelines
from penstock.storage.entities import StoredPipeline
from penstock.workflow import Pipeline

router = make_router("/api/pipelines", "pipelines")

_MAX_REPEATED = 4 * 1024 * 1024
"""How much the children of a multiplier may repeat of its document, in characters."""
_UNKNOWN = error_responses(404, 422)


@router.post(
    "/{pipeline_id}/execute",
    summary="Run a pipeline once",
    response_model=Execution | Executions,
    responses=_UNKNOWN,
)
async def execute_pipeline(
    request: Request,
    pipeline_id: RowId,
    initial_state: Annotated[dict[str, Any], Body(examples=[{"topic": "gravity"}])],
    services: ServicesDep,
) -> Response:
    """The body is the initial state. Nothing is stored: no job, no record, no journal. A multiplier pipeline
    answers `{results: […]}`; a long document that it took apart is in the first trace only. An error of a
    step is a 400 whose `detail` names the block and the step."""
    stored = await _load(services, pipeline_id)
    pipeline = _build(stored.definition, services)
    with llm.use_client(services.client):
        results = [result async for result in pipeline.stream(initial_state)]
    for result in results:
        services.observer.observe(stored.name, result, request.headers)
    single = results[0] if results and not results[0].child else None  # a multiplier that failed has no child
    if single is None:
        consumed = pipeline.find_consumed(initial_state)
        body = await asyncio.to_thread(_to_bytes, results, consumed)
        return Response(body, media_type="application/json")
    if single.error is not None:
        raise single.error
    return _MaskedJson(single.to_dict())


@router.post(
    "/{pipeline_id}/preview",
    summary="Run one step, or up to a step",
    response_model=Preview,
    responses=_UNKNOWN,
)
async def preview_pipeline(
    request: Request, pipeline_id: RowId, body: PreviewBody, services: ServicesDep
) -> Response:
    """Tries steps on a seed and stores nothing. Pin the outputs of earlier steps, and these are not run
    again. A step that fails is no error of the request: the answer has the steps before it and the reason."""
    stored = await _load(services, pipeline_id)
    definition = body.definition.to_definition() if body.definition else stored.definition
    pipeline = _build(definition, services)
    if body.only is not None and body.up_to is not None:
        raise BadInputError("Give either 'only' or 'up_to', not both.")
    variables, _ = split_seed(body.seed)
    with llm.use_client(services.client):
        preview = await pipeline.preview(
            variables,
            up_to=body.up_to,
            only=body.only,
            pins=_read_pins(body.pins),
            child=body.child,
        )
    services.observer.observe(stored.name, preview.outcome, request.headers)
    steps = [
        {
            "step": number,
            "block_type": entry["block_type"],
            "output": entry["output"],
            "execution_time": entry["execution_time"],
            "pinned": entry.get("pinned", False),
            "error": entry.get("error"),
        }
        for number, entry in zip(preview.numbers, preview.outcome.trace, strict=True)
    ]
    return _MaskedJson(
        {"steps": steps, "children": preview.children, "error": None, **preview.outcome.to_dict()}
    )


def _to_bytes(results: Sequence[ExecutionResult], consumed: Collection[str]) -> bytes:
    """The children of a multiplier as JSON, one by one, so that a thread lets others run between two.

    A long document that was taken apart is only in the first one's trace, and not repeated by each child.
    """
    document = sum(len(to_text(results[0].initial.get(name))) for name in consumed) if results else 0
    is_repeated = document * len(results) <= _MAX_REPEATED
    texts = []
    for number, result in enumerate(results):
        view = result.to_dict()
        if number and not is_repeated and view["trace"]:
            entry = view["trace"][0]
            seen = {key: value for key, value in entry["input"].items() if key not in consumed}
            view["trace"] = [{**entry, "input": seen}, *view["trace"][1:]]
        texts.append(redact_known(to_json(view).lstrip()))
    return f'{{"results":[{",".join(texts)}]}}'.encode()


class _MaskedJson(Json):
    """An execution's result, in which the secrets of the settings are masked: a provider may repeat them."""

    def render(self, content: Any) -> bytes:
        return redact_known(super().render(content).decode()).encode()


async def _load(services: Services, pipeline_id: int) -> StoredPipeline:
    """The pipeline, in a transaction of its own: none may stay open while models answer."""
    async with services.storage.reading() as session:
        return await pipelines.get_pipeline(session, pipeline_id)


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


def _read_pins(pins: Mapping[str, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    if wrong := [number for number in pins if not (number.isascii() and number.isdigit())]:
        raise BadInputError("Each pin needs the number of its step as the key.", detail={"pins": wrong})
    return {int(number): outputs for number, outputs in pins.items()}

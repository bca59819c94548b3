"""Routes of blocks and gates."""

from __future__ import annotations

from penstock.api.deps import ServicesDep
from penstock.api.routing import Json, make_router
from penstock.api.schemas.blocks import BlockSchema, GateSchema, LoadError

router = make_router("/api", "blocks")


@router.get("/blocks", summary="All blocks with their settings", response_model=list[BlockSchema])
async def list_blocks(services: ServicesDep) -> Json:
    """The built-in blocks, those of installed packages, and yours in `user_blocks/`."""
    return Json(services.blocks.list_schemas())


@router.get("/blocks/errors", summary="Blocks and gates that failed to load", response_model=list[LoadError])
async def list_block_errors(services: ServicesDep) -> Json:
    """Files with blocks or gates that failed to import, and why. The others are available."""
    services.blocks.list_schemas()  # finds blocks whose schema cannot be made
    errors: list[dict[str, str]] = []
    for error in [*services.blocks.errors, *services.gates.errors]:
        if error not in errors:
            errors.append(error)
    return Json(errors)


@router.get("/gates", summary="All gates with their settings", response_model=list[GateSchema])
async def list_gates(services: ServicesDep) -> Json:
    """The gates that can check a step's output."""
    return Json(services.gates.list_schemas())

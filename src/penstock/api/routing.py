"""Makes routers whose routes read bodies, answer and describe errors in the same way."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.routing import APIRoute

from penstock.api.errors import error_responses
from penstock.serialization import parse_json, to_json

MAX_DEPTH = 100
"""The limit of nesting in the JSON of a request."""

RowId = Annotated[int, Path(ge=-(2**63), lt=2**63, description="The number that it got when it was created.")]
"""The number of a pipeline, job, record or version in an address."""


class _JsonRequest(Request):
    """Reads JSON strictly and limits its depth, because later code walks through a body recursively."""

    async def json(self) -> Any:
        if not hasattr(self, "_value"):
            body = await self.body()
            value = parse_json(body)
            if _is_deeper(value, MAX_DEPTH):
                raise json.JSONDecodeError(f"nested more than {MAX_DEPTH} levels deep", "", 0)
            self._value = value
        return self._value


def _is_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


class _Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handle_strictly


class Json(Response):
    """Any value as JSON; results of pipelines can contain types that FastAPI cannot serialize."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The value's text."""
        return to_json(content).encode()


def make_router(prefix: str, tag: str, *statuses: int) -> APIRouter:
    """A router whose routes may all answer with the error ``statuses``, besides the common ones."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=_Route, responses=error_responses(*statuses))

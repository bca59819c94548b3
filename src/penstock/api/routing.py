"""What a router is made with, so that all routes read bodies, answer and describe themselves alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request, Response
from fastapi.routing import APIRoute

from penstock.api.errors import error_responses
from penstock.serialization import to_json

MAX_DEPTH = 100
"""The deepest that the JSON of a request may be nested."""

RowId = Annotated[
    int, Path(ge=-(2**63), lt=2**63, description="The number that it was given when it was made.")
]
"""The number of a pipeline, a job or a record in an address."""


class _JsonRequest(Request):
    """Reads JSON strictly, and not too deep: what else walks a body does so recursively."""

    async def json(self) -> Any:
        if not hasattr(self, "_value"):
            body = await self.body()
            value = orjson.loads(body)
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
    """A value as JSON, whatever is in it; for results of pipelines, which can hold anything."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The value's text."""
        return to_json(content).encode()


def make_router(prefix: str, tag: str, *statuses: int) -> APIRouter:
    """A router whose routes may all answer with ``statuses``, besides those that any route may."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=_Route, responses=error_responses(*statuses))

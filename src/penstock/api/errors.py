"""Errors as answers: every error has one shape on every route (D1), and one status by its class."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic import ValidationError as InvalidModelError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.errors import (
    BadInputError,
    ConfigurationError,
    ConflictError,
    DamagedRecordError,
    InternalError,
    LLMError,
    NotFoundError,
    PipelineError,
    StorageError,
    TooLargeError,
)
from penstock.redaction import redact
from penstock.serialization import to_json

logger = logging.getLogger("penstock.api")


class WrongTokenError(BadInputError):
    """No token was given, or not the right one."""


class ForeignRequestError(BadInputError):
    """The request comes from another web site."""


STATUSES: Mapping[type[PipelineError], int] = {
    PipelineError: 400,
    WrongTokenError: 401,
    ForeignRequestError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    TooLargeError: 413,
    InternalError: 500,
    LLMError: 502,
    StorageError: 503,
    DamagedRecordError: 500,
    ConfigurationError: 503,
}
"""The status of an error is that of its nearest base class here; errors of steps are a 400 (A152)."""

_SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not support that method.",
}


class ErrorBody(BaseModel):
    """An error: one sentence, and details for programs."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"error": "pipeline not found", "detail": {"pipeline_id": 7}}],
        }
    )

    error: str = Field(description="One sentence that says what is wrong.")
    detail: dict[str, Any] = Field(description="Details; 422 has `errors`, one a field.")


_MEANINGS = {
    400: "The request cannot be carried out as it is.",
    401: "No token, or a wrong one.",
    403: "The request comes from another web site.",
    404: "Nothing is stored under that name or number.",
    409: "The present state does not allow it.",
    413: "The request is too large.",
    422: "A field has the wrong type; `detail.errors` lists them.",
    500: "An unexpected error; the log has it under `detail.error_id`.",
    503: "The database cannot be used at present.",
}
COMMON_STATUSES = (400, 401, 403, 413, 500, 503)
"""Error statuses that any route may answer with."""


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for its OpenAPI description."""
    return {status: {"model": ErrorBody, "description": _MEANINGS[status]} for status in statuses}


def status_of(error: PipelineError) -> int:
    """The status of the answer to an error."""
    return next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)


def error_response(
    status: int, error: str, detail: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer for an error, with secrets masked."""
    body = redact(to_json({"error": error, "detail": detail or {}}))
    return Response(body, status, dict(headers or {}), media_type="application/json")


def field_errors(errors: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Pydantic's errors as ``detail.errors``: field, message and type, without the values that were sent."""
    return {
        "errors": [
            {
                "field": ".".join(str(part) for part in error["loc"]),
                "message": error["msg"],
                "type": error["type"],
            }
            for error in errors
        ]
    }


def invalid_response(errors: Iterable[Mapping[str, Any]]) -> Response:
    """The answer to a request whose fields have the wrong types."""
    detail = field_errors(errors)
    first = detail["errors"][0] if detail["errors"] else {"field": "body", "message": "cannot be read"}
    return error_response(
        422, f"The request has a field that cannot be used: {first['field']}: {first['message']}", detail
    )


def unexpected_response(error: BaseException, where: str) -> Response:
    """The answer to an unexpected error; the log has the details under the same id."""
    error_id = str(uuid.uuid4())
    logger.error("[%s] Unexpected error at %s", error_id, where, exc_info=error)
    return error_response(500, f"Unexpected error: {type(error).__name__}", {"error_id": error_id})


def add_error_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Register the handlers that answer all errors of ``app``, which has ``routes``, in the common shape."""

    async def answer_http_exception(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405 and (methods := _find_methods(routes, request.scope["path"])):
            headers["Allow"] = ", ".join(methods)
        detail = {"method": request.method, "path": request.url.path}
        sentence = _SENTENCES.get(error.status_code, str(error.detail))
        return error_response(error.status_code, sentence, detail, headers)

    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        PipelineError: _answer_pipeline_error,
        RequestValidationError: _answer_invalid,
        InvalidBodyError: _answer_invalid_body,
        HTTPException: answer_http_exception,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


class InvalidBodyError(Exception):
    """A body that a route parsed itself does not fit its model."""

    def __init__(self, cause: InvalidModelError) -> None:
        super().__init__(str(cause))
        self.cause = cause


async def _answer_pipeline_error(request: Request, error: PipelineError) -> Response:
    status = status_of(error)
    if status >= 500:
        logger.error("%s at %s %s", error.message, request.method, request.url.path)
    return error_response(status, error.message, error.detail)


async def _answer_invalid(_: Request, error: RequestValidationError) -> Response:
    return invalid_response(error.errors())


async def _answer_invalid_body(_: Request, error: InvalidBodyError) -> Response:
    return invalid_response(error.cause.errors())


def _find_methods(routes: Sequence[BaseRoute], path: str) -> list[str]:
    """The methods of all routes at ``path``; Starlette's own answer names those of one route only."""
    found = [route for route in routes if isinstance(route, Route) and route.path_regex.match(path)]
    return sorted({method for route in found for method in route.methods or ()})


class ErrorShield:
    """Answers unexpected exceptions with a 500 in the common shape; none leaves the application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_observed(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, send_observed)
        except Exception as error:
            response = unexpected_response(error, f"{scope['method']} {scope['path']}")
            if (
                started
            ):  # part of the answer was sent: only closing the connection shows that it is incomplete
                raise
            await response(scope, receive, send)

"""Routes that sign a browser in and out: they set and delete the cookie with the token."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from penstock.api.deps import ServicesDep
from penstock.api.errors import WrongTokenError, error_responses
from penstock.api.routing import Json, make_router
from penstock.api.schemas.messages import Success
from penstock.api.security import COOKIE, Policy, sign_in_page

router = make_router("", "service")

_COOKIE_SECONDS = 30 * 24 * 3600
_WRONG_TOKEN = "That is not the token."  # noqa: S105 - a message


class SignIn(BaseModel):
    """The token of the service."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "a long random text"}]})

    token: Annotated[str, Field(max_length=4096)]


@router.post("/api/session", summary="Sign a browser in", responses=error_responses(422))
async def create_session(body: SignIn, request: Request, services: ServicesDep) -> Success:
    """Sets a cookie that only this service's own pages send, and that no script can read."""
    policy = Policy.of(services.settings)
    if not policy.is_token(body.token):
        raise WrongTokenError(_WRONG_TOKEN)
    response = Json(Success().model_dump())
    if policy.token is not None:
        _set_cookie(response, request, body.token)
    return response  # type: ignore[return-value]  # the model describes the response's content


@router.delete("/api/session", summary="Sign a browser out")
async def delete_session() -> Success:
    """Deletes the cookie."""
    response = Json(Success().model_dump())
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response  # type: ignore[return-value]  # the model describes the response's content


@router.post("/session", include_in_schema=False)
async def sign_in(request: Request, services: ServicesDep) -> Response:
    """The sign-in page's form, which works without a script."""
    body = (await request.body()).decode("utf-8", "replace")
    token = parse_qs(body, max_num_fields=8).get("token", [""])[0]
    policy = Policy.of(services.settings)
    if not policy.is_token(token):
        return sign_in_page(_WRONG_TOKEN)
    response = RedirectResponse("/", 303)
    if policy.token is not None:
        _set_cookie(response, request, token)
    return response


def _set_cookie(response: Response, request: Request, token: str) -> None:
    response.set_cookie(
        COOKIE,
        token,
        max_age=_COOKIE_SECONDS,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )

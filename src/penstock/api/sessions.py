"""Routes that sign a browser in and out: they set and delete its cookie."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from penstock.api.browser_sessions import SESSION_SECONDS
from penstock.api.deps import ServicesDep
from penstock.api.errors import WrongTokenError, error_responses
from penstock.api.routing import Json, make_router
from penstock.api.schemas.messages import Success
from penstock.api.security import COOKIE, Policy, sign_in_page

router = make_router("", "service")

_WRONG_TOKEN = "That is not the token."  # noqa: S105 - a message


class SignIn(BaseModel):
    """The token of the service."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "a long random text"}]})

    token: Annotated[str, Field(max_length=4096)]


@router.post("/api/session", summary="Sign a browser in", responses=error_responses(422))
async def create_session(body: SignIn, request: Request, services: ServicesDep) -> Success:
    """Sets a cookie that only this service's own pages send, and that no script can read. Its value is not
    the token; it ends after 30 days, or when the token changes."""
    policy = Policy.of(services.settings)
    if not await _is_token(body.token, policy, request):
        raise WrongTokenError(_WRONG_TOKEN)
    response = Json(Success().model_dump())
    _set_cookie(response, request, policy)
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
    if not await _is_token(token, policy, request):
        return sign_in_page(_WRONG_TOKEN)
    response = RedirectResponse("/", 303)
    _set_cookie(response, request, policy)
    return response


async def _is_token(given: str, policy: Policy, request: Request) -> bool:
    """Whether ``given`` is the token; a wrong one is counted, and answered later and later."""
    if policy.is_token(given):
        return True
    address = policy.proxies.find_address(request.scope, request.headers)
    await request.app.state.wrong_tokens.slow_down(address)
    return False


def _set_cookie(response: Response, request: Request, policy: Policy) -> None:
    if policy.sessions is None:
        return
    response.set_cookie(
        COOKIE,
        policy.sessions.create(),
        max_age=SESSION_SECONDS,
        path="/",
        httponly=True,
        samesite="strict",
        secure=policy.secure_cookie or policy.proxies.is_https(request.scope, request.headers),
    )

"""Checks of host name, origin, token and size."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from httpx import ASGITransport, AsyncClient, Response
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from penstock.api.browser_sessions import BrowserSessions
from penstock.api.security import MAX_BODY_BYTES, Guard, Policy, is_loopback, require_token_for_public_bind
from penstock.app import create_app, open_services
from penstock.errors import ConfigurationError
from penstock.settings import Settings

TOKEN = "open-sesame-42"


async def _read_all(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def _ask(
    method: str = "GET", path: str = "/api/x", policy: Policy | None = None, **options: object
) -> Response:
    transport = ASGITransport(app=Guard(_read_all, policy or Policy()))
    async with AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        return await client.request(method, path, **options)  # type: ignore[arg-type]  # httpx's many options


def _policy(**changes: object) -> Policy:
    return Policy.of(Settings.model_validate(changes))


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:99", "127.8.9.1", "[::1]:8000", "localhost."]
)
async def test_loopback_names_are_accepted_with_any_port(host: str) -> None:
    answer = await _ask(headers={"host": host})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8000",
        "",
        "[::2]",
        "10.0.0.1",
    ],
)
async def test_a_rebound_host_name_is_refused(host: str) -> None:
    answer = await _ask(headers={"host": host})

    assert answer.status_code == 400
    assert answer.json()["detail"] == {"host": host}


async def test_host_names_in_allowed_hosts_are_accepted() -> None:
    policy = _policy(allowed_hosts="data.example, other.example:443")

    answers = [
        await _ask(policy=policy, headers={"host": name})
        for name in ("Data.Example", "other.example", "x.example")
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 400]


async def test_on_a_wildcard_address_any_host_name_is_accepted_with_the_token() -> None:
    policy = _policy(host="0.0.0.0", api_token=TOKEN)

    with_token = await _ask(policy=policy, headers={"host": "box.lan", "x-api-token": TOKEN})
    without = await _ask(policy=policy, headers={"host": "box.lan"})

    assert (with_token.status_code, without.status_code) == (200, 401)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer {TOKEN}"},
        {"X-API-Token": TOKEN},
        {"cookie": f"other=1; penstock_token={BrowserSessions(TOKEN).create()}"},
    ],
)
async def test_the_token_is_accepted_in_a_header_or_a_cookie(headers: dict[str, str]) -> None:
    answer = await _ask(policy=_policy(api_token=TOKEN), headers=headers)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {TOKEN}x"},
        {"X-API-Token": TOKEN[:-1]},
        {"X-API-Token": "\u00ff\u00fe"},
        {"cookie": "penstock_token="},
        {"cookie": f"penstock_token={TOKEN}"},
        {"cookie": f"penstock_token={BrowserSessions('open-sesame-41').create()}"},
        {"cookie": f"penstock_token={BrowserSessions(TOKEN).create()[:-1]}x"},
        {"cookie": f"penstock_token={BrowserSessions(TOKEN, lambda: 1e9).create()}"},
        {"cookie": f"penstock_token={BrowserSessions(TOKEN, lambda: 1e11).create()}"},
        {"authorization": f"Bearer {BrowserSessions(TOKEN).create()}"},
        {"cookie": 'penstock_token="\\777; ]['},
        {"cookie": f"penstock_token2={TOKEN}"},
    ],
)
async def test_other_values_are_not_accepted_as_the_token(headers: dict[str, str]) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}

    answer = await _ask(policy=_policy(api_token=TOKEN), headers=raw)

    assert answer.status_code == 401
    assert answer.json().keys() == {"error", "detail"}
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


async def test_health_and_signing_in_need_no_token() -> None:
    policy = _policy(api_token=TOKEN)

    answers = [await _ask("GET", "/health", policy), await _ask("POST", "/api/session", policy)]

    assert [answer.status_code for answer in answers] == [200, 200]


async def test_a_browser_without_a_token_gets_the_sign_in_page() -> None:
    answer = await _ask(path="/review", policy=_policy(api_token=TOKEN), headers={"accept": "text/html,*/*"})

    assert answer.status_code == 401
    assert 'type="password"' in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:8000"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost:5173"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://localhost:5173"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:99999999"}, 403),
        ({"origin": "http://[bad"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://localhost:8000"}, 403),
    ],
)
async def test_only_own_pages_may_send_changes(headers: dict[str, str], status: int) -> None:
    answer = await _ask("POST", headers=headers)

    assert answer.status_code == status


async def test_answers_have_no_cors_headers() -> None:
    answer = await _ask(headers={"origin": "https://evil.example"})

    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_a_body_with_too_large_a_content_length_is_refused_unread() -> None:
    answer = await _ask("POST", content=b"x" * (MAX_BODY_BYTES + 1))

    assert answer.status_code == 413
    assert answer.json()["detail"] == {"limit_bytes": MAX_BODY_BYTES}


async def test_a_chunked_body_is_counted_as_it_arrives() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 10

    fitting = await _ask("POST", policy=Policy(max_body=300), content=chunks())
    too_large = await _ask("POST", policy=Policy(max_body=299), content=chunks())

    assert (fitting.status_code, fitting.text) == (200, "300")
    assert too_large.status_code == 413
    assert too_large.json()["detail"] == {"limit_bytes": 299}


@pytest.mark.row("A220")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "box.lan", "10.0.0.1"])
def test_a_public_address_without_a_token_is_refused_with_the_reason(host: str) -> None:
    with pytest.raises(ConfigurationError, match="API_TOKEN"):
        require_token_for_public_bind(Settings(host=host))

    require_token_for_public_bind(Settings(host=host, api_token=SecretStr(TOKEN)))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.0.0.2"])
def test_loopback_needs_no_token(host: str) -> None:
    require_token_for_public_bind(Settings(host=host))

    assert is_loopback(host)


async def test_signing_in_sets_a_cookie_that_no_script_can_read(guarded: AsyncClient) -> None:
    refused = await guarded.get("/api/pipelines")
    wrong = await guarded.post("/api/session", json={"token": "wrong"})

    signed_in = await guarded.post("/api/session", json={"token": TOKEN})
    let_in = await guarded.get("/api/pipelines")
    signed_out = await guarded.delete("/api/session")
    again = await guarded.get("/api/pipelines")

    assert (refused.status_code, wrong.status_code, signed_in.status_code) == (401, 401, 200)
    cookie = signed_in.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert TOKEN not in cookie
    assert (let_in.status_code, signed_out.status_code, again.status_code) == (200, 200, 401)


async def test_the_sign_in_form_works_without_a_script(guarded: AsyncClient) -> None:
    wrong = await guarded.post("/session", data={"token": "wrong"})

    right = await guarded.post("/session", data={"token": TOKEN})

    assert wrong.status_code == 401
    assert "not the token" in wrong.text
    assert (right.status_code, right.headers["location"]) == (303, "/")
    assert (await guarded.get("/api/pipelines")).status_code == 200


async def test_a_cookie_ends_when_the_token_changes() -> None:
    cookie = {"cookie": f"penstock_token={BrowserSessions(TOKEN).create()}"}

    before = await _ask(policy=_policy(api_token=TOKEN), headers=cookie)
    after = await _ask(policy=_policy(api_token="another-token-43"), headers=cookie)

    assert (before.status_code, after.status_code) == (200, 401)
    assert BrowserSessions(TOKEN).create() != BrowserSessions(TOKEN).create()


@pytest.mark.parametrize(
    ("changes", "headers", "secure"),
    [
        ({}, {}, False),
        ({}, {"x-forwarded-proto": "https"}, False),
        ({"secure_cookie": "true"}, {}, True),
        ({"trusted_proxies": "127.0.0.1"}, {"x-forwarded-proto": "https"}, True),
        ({"trusted_proxies": "10.0.0.0/8, 127.0.0.0/8"}, {"x-forwarded-proto": "http, HTTPS"}, True),
        ({"trusted_proxies": "127.0.0.1"}, {"x-forwarded-proto": "https, http"}, False),
        ({"trusted_proxies": "127.0.0.1"}, {}, False),
        ({"trusted_proxies": "10.0.0.1"}, {"x-forwarded-proto": "https"}, False),
    ],
)
async def test_the_cookie_is_secure_by_a_setting_or_behind_a_trusted_proxy_with_https(
    settings: Settings, changes: dict[str, str], headers: dict[str, str], secure: bool
) -> None:
    locked = Settings.model_validate({**settings.model_dump(), "api_token": TOKEN, **changes})
    app = create_app(locked)
    async with open_services(locked, app.state.metrics) as services:
        app.state.services = services
        async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost:8000") as client:
            by_json = await client.post("/api/session", json={"token": TOKEN}, headers=headers)
            by_form = await client.post("/session", data={"token": TOKEN}, headers=headers)

    assert ["secure" in answer.headers["set-cookie"].lower() for answer in (by_json, by_form)] == [secure] * 2


async def test_pages_behind_a_trusted_proxy_with_https_are_of_the_same_origin() -> None:
    policy = _policy(api_token=TOKEN, allowed_hosts="data.example.org", trusted_proxies="127.0.0.1")
    headers = {
        "host": "data.example.org",
        "origin": "https://data.example.org",
        "x-forwarded-proto": "https",
        "authorization": f"Bearer {TOKEN}",
    }

    assert (await _ask("POST", policy=policy, headers=headers)).status_code == 200
    assert (await _ask("POST", policy=_policy(), headers={**headers, "host": "localhost"})).status_code == 403


def test_a_trusted_proxy_that_is_no_address_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigurationError, match="TRUSTED_PROXIES must list addresses"):
        _policy(trusted_proxies="proxy.example.org")

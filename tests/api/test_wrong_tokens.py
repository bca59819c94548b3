"""Wrong tokens are logged with address and count, and answered later and later."""

from __future__ import annotations

import logging

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.responses import PlainTextResponse

from penstock.api.security import Guard, Policy
from penstock.api.wrong_tokens import WrongTokens
from penstock.settings import Settings

TOKEN = "open-sesame-42"
WRONG = "swordfish-99-of-somebody"


class Clock:
    """Time that passes only while something sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> WrongTokens:
    return WrongTokens(clock, clock.sleep)


async def test_the_delay_of_an_address_grows_up_to_a_limit(clock: Clock, table: WrongTokens) -> None:
    for _ in range(12):
        await table.slow_down("203.0.113.5")

    assert clock.slept == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])


async def test_other_addresses_are_not_slowed(clock: Clock, table: WrongTokens) -> None:
    for _ in range(10):
        await table.slow_down("203.0.113.5")
    clock.slept.clear()

    await table.slow_down("203.0.113.6")

    assert clock.slept == []


async def test_guesses_at_the_same_time_wait_one_after_the_other() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(round(seconds, 3))

    table = WrongTokens(lambda: 0.0, sleep)
    for _ in range(20):
        await table.slow_down("203.0.113.5")

    assert waits == [0.1, 0.3, 0.7, 1.5, 3.1, 6.3, *[10.0] * 11]


async def test_the_addresses_of_one_ipv6_network_count_as_one(clock: Clock, table: WrongTokens) -> None:
    for number in range(10):
        await table.slow_down(f"2001:db8::{number:x}")
    await table.slow_down("::ffff:203.0.113.5")

    assert (len(clock.slept), len(table)) == (7, 2)


async def test_an_address_is_forgotten_after_a_quarter_of_an_hour(clock: Clock, table: WrongTokens) -> None:
    for _ in range(10):
        await table.slow_down("203.0.113.5")
    clock.slept.clear()
    clock.now += 1000

    await table.slow_down("203.0.113.5")

    assert clock.slept == []


async def test_the_table_has_a_bounded_size(table: WrongTokens) -> None:
    for number in range(12_000):
        await table.slow_down(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")

    assert len(table) == 10_000


async def test_a_flood_of_guesses_is_no_flood_of_lines(
    caplog: pytest.LogCaptureFixture, table: WrongTokens
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            await table.slow_down("203.0.113.5")

    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 28
    assert lines[-1] == "Wrong token from 203.0.113.5: 1000 so far"


async def test_wrong_tokens_are_logged_with_the_address_and_right_ones_are_never_slowed(
    caplog: pytest.LogCaptureFixture, clock: Clock, table: WrongTokens
) -> None:
    policy = Policy.of(Settings.model_validate({"api_token": TOKEN, "trusted_proxies": "127.0.0.1"}))
    app = Guard(PlainTextResponse("yes"), policy, table)
    by = {"x-forwarded-for": "203.0.113.5, 127.0.0.1"}
    async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost:8000") as client:
        with caplog.at_level(logging.WARNING):
            wrong = [
                await client.get("/api/x", headers={**by, "authorization": f"Bearer {WRONG}"})
                for _ in range(5)
            ]
        slept = list(clock.slept)
        right = await client.get("/api/x", headers={**by, "x-api-token": TOKEN})
        none = await client.get("/api/x", headers=by)

    assert [answer.status_code for answer in (*wrong, right, none)] == [401] * 5 + [200, 401]
    assert "Wrong token from 203.0.113.5: 5 so far" in caplog.text
    assert WRONG not in caplog.text
    assert clock.slept == slept == pytest.approx([0.1, 0.2])


async def test_an_address_is_not_believed_from_a_client_that_is_no_trusted_proxy(
    caplog: pytest.LogCaptureFixture, table: WrongTokens
) -> None:
    policy = Policy.of(Settings.model_validate({"api_token": TOKEN}))
    app = Guard(PlainTextResponse("yes"), policy, table)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost:8000") as client:
        await client.get("/api/x", headers={"x-forwarded-for": "203.0.113.5", "x-api-token": WRONG})

    assert "Wrong token from 127.0.0.1: 1 so far" in caplog.text


async def test_wrong_tokens_of_the_sign_in_page_are_counted(
    guarded: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await guarded.post("/api/session", json={"token": WRONG})
    await guarded.post("/session", data={"token": WRONG})

    assert "Wrong token from 127.0.0.1: 2 so far" in caplog.text

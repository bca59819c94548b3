"""How many requests are sent at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

import pytest

from penstock.llm.limiter import Limiter
from support.virtual_time import run_in_virtual_time


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def fill(limiter: Limiter) -> int:
    while limiter.try_acquire():
        pass
    return limiter.in_flight


def test_the_maximum_is_sent_from_the_start() -> None:
    assert fill(Limiter(256)) == 256


def test_a_rate_limit_shrinks_the_limit_once_a_round_trip() -> None:
    limiter = Limiter(100)
    fill(limiter)
    sent_at = monotonic()

    limiter.on_rate_limit(sent_at)
    after_one = limiter.limit
    limiter.on_rate_limit(sent_at)

    assert after_one == limiter.limit == 60
    limiter.on_rate_limit(monotonic())
    assert limiter.limit < 60


def test_a_request_sent_at_the_time_of_the_last_shrinking_counts_again() -> None:
    clock = SetClock()
    limiter = Limiter(100, clock)
    fill(limiter)

    limiter.on_rate_limit(clock())
    limiter.on_rate_limit(clock())
    clock.now += 1.0
    limiter.on_rate_limit(clock() - 1.5)

    assert limiter.limit == pytest.approx(36)


def test_the_limit_falls_to_a_share_of_what_was_in_flight() -> None:
    limiter = Limiter(100)
    for _ in range(50):
        limiter.try_acquire()

    limiter.on_rate_limit(monotonic())

    assert limiter.limit == 30


def test_an_error_shrinks_the_limit_slightly_and_never_below_one() -> None:
    limiter = Limiter(10)
    fill(limiter)

    limiter.on_error(monotonic())

    assert limiter.limit == 9
    for _ in range(100):
        limiter.on_rate_limit(monotonic())
    assert limiter.limit == 1
    assert fill(Limiter(1)) == 1


def test_the_limit_grows_again_while_answers_come() -> None:
    limiter = Limiter(20)
    fill(limiter)
    limiter.on_rate_limit(monotonic())

    for _ in range(2000):
        limiter.on_answer()

    assert limiter.limit == 20
    assert limiter.answers == 2000


@pytest.mark.parametrize(("seconds", "step"), [(0.0, 1.0), (0.5, 1.0), (3.0, 3.0)])
def test_a_round_trip_of_answers_grows_the_limit_by_one_or_by_the_seconds_since_it_shrank(
    seconds: float, step: float
) -> None:
    clock = SetClock()
    limiter = Limiter(100, clock)
    fill(limiter)
    limiter.on_rate_limit(clock())
    clock.now += seconds

    limiter.on_answer()

    assert limiter.limit == pytest.approx(60 + step / 60)


def test_a_limit_that_is_just_used_up_grows() -> None:
    limiter = Limiter(10)
    fill(limiter)
    limiter.on_rate_limit(monotonic())
    while limiter.in_flight > 6:
        limiter.release()

    limiter.on_answer()

    assert limiter.limit > 6


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    limiter = Limiter(20)
    fill(limiter)
    limiter.on_rate_limit(monotonic())
    while limiter.in_flight:
        limiter.release()

    limiter.on_answer()

    assert limiter.limit == 12


async def test_permits_are_given_in_the_order_of_asking() -> None:
    limiter = Limiter(1)
    limiter.try_acquire()
    order: list[int] = []

    async def ask(number: int) -> None:
        await limiter.acquire()
        order.append(number)
        limiter.release()

    tasks = [asyncio.create_task(ask(number)) for number in range(5)]
    await asyncio.sleep(0)
    waiting = limiter.waiting
    limiter.release()
    await asyncio.gather(*tasks)

    assert waiting == 5
    assert order == [0, 1, 2, 3, 4]
    assert limiter.in_flight == limiter.waiting == 0


async def test_nobody_overtakes_a_call_that_waits() -> None:
    limiter = Limiter(2)
    fill(limiter)
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    limiter.limit = 3.0

    assert not limiter.try_acquire()
    limiter.release()
    await waiting
    assert limiter.in_flight == 2


async def test_a_call_that_is_cancelled_while_it_waits_loses_no_permit() -> None:
    limiter = Limiter(1)
    limiter.try_acquire()
    first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await asyncio.sleep(0)

    limiter.release()  # the permit is first's now
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    await asyncio.wait_for(second, 5)
    assert limiter.in_flight == 1


async def test_a_call_that_is_cancelled_before_its_permit_comes_gets_none() -> None:
    limiter = Limiter(1)
    limiter.try_acquire()
    first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert limiter.in_flight == 1
    limiter.release()

    await asyncio.wait_for(second, 5)
    assert limiter.in_flight == 1


async def test_a_pause_delays_every_call_and_ends() -> None:
    limiter = Limiter(4)

    limiter.on_rate_limit(monotonic(), retry_after=0.05)

    assert not limiter.try_acquire()
    assert limiter.pause > 0
    await asyncio.wait_for(limiter.acquire(), 5)
    assert limiter.pause == 0


def test_the_longest_of_several_pauses_counts() -> None:
    async def story(clock: Callable[[], float]) -> None:
        limiter = Limiter(4, clock)
        fill(limiter)

        limiter.on_rate_limit(clock(), retry_after=30.0)
        limiter.on_rate_limit(clock() - 1.0, retry_after=29.5)
        for _ in range(4):
            limiter.release()
        assert limiter.pause == 30.0
        await limiter.acquire()

        assert clock() == 30.0
        assert limiter.try_acquire()

    run_in_virtual_time(story)


def test_after_a_pause_as_many_calls_go_on_as_the_limit_allows() -> None:
    async def story(clock: Callable[[], float]) -> None:
        limiter = Limiter(10, clock)
        fill(limiter)
        limiter.on_rate_limit(clock(), retry_after=30.0)
        for _ in range(10):
            limiter.release()
        tasks = [asyncio.create_task(limiter.acquire()) for _ in range(10)]

        await asyncio.sleep(29.0)
        before = limiter.in_flight
        await asyncio.sleep(2.0)

        assert (before, limiter.in_flight, limiter.waiting) == (0, 6, 4)
        for _ in range(4):
            limiter.release()
        await asyncio.gather(*tasks)

    run_in_virtual_time(story)

"""Time limits count the seconds in which the process ran."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from penstock.llm.time_limits import TimeLimit, running_clock, time_limit
from support.virtual_time import VirtualTimeLoop, run_in_virtual_time

Clock = Callable[[], float]


def stand_still(seconds: float) -> None:
    """Let the loop's clock jump, as it does when the process was stopped and continued."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.jump(seconds)


async def _expiry(seconds: float, clock: Clock) -> float:
    expired = asyncio.get_running_loop().create_future()
    TimeLimit(seconds, lambda: expired.set_result(clock()))
    return float(await expired)


def test_a_limit_ends_after_its_seconds() -> None:
    async def story(clock: Clock) -> None:
        assert await _expiry(5.0, clock) == pytest.approx(5.0, abs=0.01)

    run_in_virtual_time(story)


@pytest.mark.parametrize("at", [0.0, 0.1, 2.0, 4.4])
def test_a_standstill_is_left_out(at: float) -> None:
    async def story(clock: Clock) -> None:
        limit = asyncio.ensure_future(_expiry(5.0, clock))
        await asyncio.sleep(at)
        stand_still(600.0)

        assert 604.4 <= await limit <= 605.5

    run_in_virtual_time(story)


def test_several_standstills_are_left_out() -> None:
    async def story(clock: Clock) -> None:
        limit = asyncio.ensure_future(_expiry(30.0, clock))
        for _ in range(3):
            await asyncio.sleep(2.0)
            stand_still(100.0)

        assert 328.0 <= await limit <= 330.1

    run_in_virtual_time(story)


def test_after_a_standstill_there_is_time_to_read_once() -> None:
    async def story(clock: Clock) -> None:
        limit = asyncio.ensure_future(_expiry(5.0, clock))
        await asyncio.sleep(4.95)
        stand_still(600.0)
        read_until = await limit

        assert 605.5 <= read_until <= 606.0

    run_in_virtual_time(story)


def test_a_loop_that_is_held_again_and_again_does_not_keep_a_limit_for_ever() -> None:
    async def story(clock: Clock) -> None:
        limit = asyncio.ensure_future(_expiry(5.0, clock))
        for _ in range(100):
            await asyncio.sleep(0.1)
            stand_still(2.0)

        assert limit.done()

    run_in_virtual_time(story)


def test_the_clock_goes_on_between_limits() -> None:
    async def story(clock: Clock) -> None:
        running = running_clock()
        begin = running.time()
        await _expiry(1.0, clock)
        await asyncio.sleep(100.0)
        await _expiry(1.0, clock)

        assert running.time() - begin == pytest.approx(102.0, abs=0.1)

    run_in_virtual_time(story)


def test_a_limit_around_a_wait_raises_timeout_error_and_one_in_time_does_not() -> None:
    async def story(clock: Clock) -> None:
        async with time_limit(5.0):
            await asyncio.sleep(4.0)
        with pytest.raises(TimeoutError):
            async with time_limit(5.0):
                await asyncio.sleep(6.0)

        assert clock() == pytest.approx(9.0, abs=0.01)

    run_in_virtual_time(story)


def test_a_cancellation_inside_a_limit_stays_a_cancellation() -> None:
    async def story(clock: Clock) -> None:
        async def wait() -> None:
            async with time_limit(5.0):
                await asyncio.sleep(60.0)

        task = asyncio.create_task(wait())
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert clock() == pytest.approx(1.0, abs=0.01)

    run_in_virtual_time(story)

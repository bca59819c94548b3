"""How many requests go out at once."""

from __future__ import annotations

import asyncio
from time import monotonic

from penstock.llm.limiter import Limiter


def fill(limiter: Limiter) -> int:
    while limiter.try_acquire():
        pass
    return limiter.in_flight


def test_the_most_that_is_allowed_goes_out_from_the_start() -> None:
    assert fill(Limiter(256)) == 256


def test_a_refusal_shrinks_the_limit_once_a_round_trip() -> None:
    limiter = Limiter(100)
    fill(limiter)
    sent_at = monotonic()

    limiter.on_refusal(sent_at)
    after_one = limiter.limit
    limiter.on_refusal(sent_at)

    assert after_one == limiter.limit == 60
    limiter.on_refusal(monotonic())
    assert limiter.limit < 60


def test_a_fault_shrinks_the_limit_gently_and_never_below_one() -> None:
    limiter = Limiter(10)
    fill(limiter)

    limiter.on_fault(monotonic())

    assert limiter.limit == 9
    for _ in range(100):
        limiter.on_refusal(monotonic())
    assert limiter.limit == 1


def test_the_limit_grows_again_while_answers_come() -> None:
    limiter = Limiter(20)
    fill(limiter)
    limiter.on_refusal(monotonic())

    for _ in range(2000):
        limiter.on_answer()

    assert limiter.limit == 20


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    limiter = Limiter(20)
    fill(limiter)
    limiter.on_refusal(monotonic())
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
    limiter.release()
    await asyncio.gather(*tasks)

    assert order == [0, 1, 2, 3, 4]
    assert limiter.in_flight == 0


async def test_whoever_is_cancelled_while_waiting_loses_no_permit() -> None:
    limiter = Limiter(1)
    limiter.try_acquire()
    first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await asyncio.sleep(0)

    limiter.release()  # the permit is first's now
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    await asyncio.wait_for(second, 5)
    assert limiter.in_flight == 1


async def test_a_pause_holds_everybody_back_and_ends() -> None:
    limiter = Limiter(4)

    limiter.on_refusal(monotonic(), retry_after=0.05)

    assert not limiter.try_acquire()
    assert limiter.pause > 0
    await asyncio.wait_for(limiter.acquire(), 5)
    assert limiter.pause == 0

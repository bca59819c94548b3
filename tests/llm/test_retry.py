"""Retries, in virtual time: how often, after how long, and until when."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from penstock.errors import LLMRefusedError, LLMSetupError, LLMUnavailableError
from penstock.llm.limiter import Limiter
from penstock.llm.retry import send_with_retries
from penstock.llm.transports.base import Answer, Failure, Kind, Timeouts
from support.virtual_time import run_in_virtual_time

Clock = Callable[[], float]

ANSWER = Answer("fine", "stop", 1, 1, 0)
TIMEOUTS = Timeouts(request=120.0, call=600.0)


def failure(kind: Kind, retry_after: float | None = None) -> Failure:
    return Failure(kind, "out of order", 503, "the body", retry_after)


def failure_without_status() -> Failure:
    return Failure(Kind.TRANSIENT, "no answer")


class Provider:
    """Fails with the scripted failures in turn, then answers; with ``always`` the first one is repeated."""

    def __init__(self, clock: Clock, *failures: Failure, seconds: float = 0.0, always: bool = False) -> None:
        self._clock = clock
        self._left = list(failures)
        self._seconds = seconds
        self._always = always
        self.limiter = Limiter(4, clock)
        self.sent_at: list[float] = []
        self.limits: list[float] = []
        """The seconds that each request was given."""
        self.label = "openai/x"

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        self.sent_at.append(self._clock())
        self.limits.append(seconds)
        await asyncio.sleep(self._seconds)
        if self._left:
            raise self._left[0] if self._always else self._left.pop(0)
        return ANSWER

    async def ask(self, timeouts: Timeouts = TIMEOUTS) -> tuple[Answer, int]:
        return await send_with_retries(
            self.send, {}, limiter=self.limiter, timeouts=timeouts, label=self.label
        )


def test_an_answer_is_returned_with_the_number_of_retries() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(Kind.TRANSIENT), failure(Kind.RATE_LIMITED))

        answer, retries = await provider.ask()

        assert (answer, retries) == (ANSWER, 2)
        assert provider.limiter.in_flight == 0
        assert provider.limiter.answers == 1

    run_in_virtual_time(story)


def test_a_refusal_is_an_error_at_once() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(Kind.REFUSED))

        with pytest.raises(
            LLMRefusedError, match=r"^openai/x refused the request \(out of order\)$"
        ) as caught:
            await provider.ask()

        assert caught.value.detail == {"model": "openai/x", "status": 503, "body": "the body"}
        assert len(provider.sent_at) == 1
        assert provider.limiter.in_flight == 0

    run_in_virtual_time(story)


@pytest.mark.parametrize("kind", [Kind.RATE_LIMITED, Kind.TRANSIENT])
def test_retry_after_is_waited_for_in_full(kind: Kind) -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(kind, retry_after=45.0))

        await provider.ask()

        assert provider.sent_at == [0.0, 45.0]

    run_in_virtual_time(story)


def test_a_rate_limit_with_retry_after_pauses_other_calls_too_and_another_failure_does_not() -> None:
    async def story(clock: Clock) -> None:
        limited = Provider(clock, failure(Kind.RATE_LIMITED, retry_after=45.0))
        unavailable = Provider(clock, failure(Kind.TRANSIENT, retry_after=45.0))

        await asyncio.gather(limited.ask(), _ask_a_second_later(limited))
        assert limited.sent_at[:2] == [0.0, 45.0]
        assert 45.0 <= limited.sent_at[2] < 46.0  # the rate begins low
        start = clock()
        await asyncio.gather(unavailable.ask(), _ask_a_second_later(unavailable))
        assert [at - start for at in unavailable.sent_at] == [0.0, 1.0, 45.0]

    run_in_virtual_time(story)


async def _ask_a_second_later(provider: Provider) -> None:
    await asyncio.sleep(1.0)
    await provider.ask()


@pytest.mark.parametrize("kind", [Kind.RATE_LIMITED, Kind.TRANSIENT])
def test_waits_double_from_half_a_second_to_half_a_minute_with_jitter(kind: Kind) -> None:
    longest = [0.0] * 12

    async def story(clock: Clock) -> None:
        provider = Provider(clock, *[failure(kind)] * 12)

        await provider.ask(Timeouts(120.0, 100_000.0))

        for number, (before, after) in enumerate(zip(provider.sent_at, provider.sent_at[1:], strict=False)):
            longest[number] = max(longest[number], after - before)

    for _ in range(200):
        run_in_virtual_time(story)

    bounds = [min(30.0, 0.5 * 2**number) for number in range(12)]
    assert all(wait <= bound for wait, bound in zip(longest, bounds, strict=True))
    # Of 200 waits drawn evenly from 0 to the bound, the longest is over four fifths of it.
    assert all(wait > 0.8 * bound for wait, bound in zip(longest, bounds, strict=True))


def test_the_waits_for_rate_limits_and_for_failures_grow_separately() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, *[failure(Kind.RATE_LIMITED)] * 8, failure(Kind.TRANSIENT))

        await provider.ask()

        assert provider.sent_at[9] - provider.sent_at[8] <= 0.5

    for _ in range(20):
        run_in_virtual_time(story)


def test_a_call_ends_at_its_deadline_with_its_waits_counted() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(Kind.TRANSIENT, retry_after=50.0), seconds=10.0, always=True)

        with pytest.raises(LLMUnavailableError) as caught:
            await provider.ask(Timeouts(120.0, 180.0))

        # Each try takes ten seconds and is followed by a wait of fifty: the third reaches 180 seconds.
        assert provider.sent_at == [0.0, 60.0, 120.0]
        assert clock() == 130.0
        assert caught.value.message == "openai/x did not answer in 3 tries (out of order)"
        assert caught.value.detail == {"model": "openai/x", "status": 503, "body": "the body", "tries": 3}

    run_in_virtual_time(story)


def test_the_message_after_one_try_is_in_the_singular() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(Kind.TRANSIENT), seconds=10.0)

        with pytest.raises(LLMUnavailableError, match="did not answer in 1 try "):
            await provider.ask(Timeouts(10.0, 10.0))

    run_in_virtual_time(story)


def test_rate_limits_do_not_count_towards_the_deadline() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, *[failure(Kind.RATE_LIMITED, retry_after=3600.0)] * 50, seconds=1.0)

        _, retries = await provider.ask(Timeouts(1.0, 5.0))

        assert retries == 50
        assert clock() > 50 * 3600.0
        assert provider.limits == [1.0] * 51

    run_in_virtual_time(story)


def test_the_last_request_gets_only_the_seconds_that_are_left() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(Kind.TRANSIENT, retry_after=40.0), seconds=10.0)

        await provider.ask(Timeouts(60.0, 100.0))

        assert provider.limits == [60.0, 50.0]

    run_in_virtual_time(story)


@pytest.mark.parametrize(("wait", "tries"), [(5.0, 2), (4.9, 3)])
def test_a_server_that_never_answered_and_cannot_be_reached_is_absent_after_ten_seconds(
    wait: float, tries: int
) -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(Kind.UNREACHABLE, retry_after=wait), always=True)

        with pytest.raises(LLMSetupError, match=r"is its server running\?$"):
            await provider.ask()

        assert len(provider.sent_at) == tries
        assert clock() == wait * (tries - 1)

    run_in_virtual_time(story)


def test_a_server_that_answered_before_is_waited_for_until_the_deadline() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(Kind.UNREACHABLE, retry_after=60.0), always=True)
        provider.limiter.on_answer()

        with pytest.raises(LLMSetupError, match=r"is its server running\?$"):
            await provider.ask()

        assert len(provider.sent_at) == 10
        assert clock() == 540.0

    run_in_virtual_time(story)


def test_a_server_that_is_reached_but_silent_is_waited_for_until_the_deadline() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(Kind.TRANSIENT, retry_after=60.0), always=True)

        with pytest.raises(LLMUnavailableError, match="10 tries"):
            await provider.ask()

    run_in_virtual_time(story)


def test_a_deadline_of_less_than_ten_seconds_also_holds_for_an_absent_server() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(Kind.UNREACHABLE, retry_after=1.5), always=True)

        with pytest.raises(LLMSetupError, match="2 tries"):
            await provider.ask(Timeouts(120.0, 3.0))

    run_in_virtual_time(story)


def test_a_call_that_waits_for_its_retry_holds_no_permit() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(Kind.TRANSIENT, retry_after=45.0))
        provider.limiter = Limiter(1, clock)

        await asyncio.gather(provider.ask(), _ask_a_second_later(provider))

        assert provider.sent_at == [0.0, 1.0, 45.0]

    run_in_virtual_time(story)


def test_retries_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "penstock.llm.retry")

    async def story(clock: Clock) -> None:
        await Provider(clock, failure(Kind.TRANSIENT, retry_after=4.0)).ask()

    run_in_virtual_time(story)

    assert caplog.messages == ["openai/x: out of order; retrying in 4.00 s"]


def test_silence_of_a_provider_that_never_answers_late_is_given_up_early_once_a_call() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, *(failure_without_status() for _ in range(3)))
        provider.limiter.on_answer(clock() - 0.05)
        for _ in range(3):
            provider.limiter.on_error(clock() - 30.0, is_silent=True)

        await provider.ask()

        assert provider.limits[0] == 5.0
        assert min(provider.limits[1:]) > 100.0

    run_in_virtual_time(story)


def test_silence_is_waited_for_where_a_late_answer_ever_came() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock)
        provider.limiter.on_answer(clock() - 0.05)
        for _ in range(3):
            provider.limiter.on_error(clock() - 30.0, is_silent=True)
        provider.limiter.on_answer(clock() - 20.0)

        await provider.ask()

        assert provider.limits == [TIMEOUTS.request]

    run_in_virtual_time(story)


def test_a_server_that_does_not_speak_the_protocol_is_asked_twice() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, Failure(Kind.PROTOCOL, "it is not HTTP"), always=True)

        with pytest.raises(LLMSetupError, match=r"^openai/x cannot be asked \(it is not HTTP\)$"):
            await provider.ask()

        assert len(provider.sent_at) == 2

    run_in_virtual_time(story)


def test_a_server_that_answered_before_is_asked_three_times_for_what_can_be_read() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, Failure(Kind.PROTOCOL, "it is not HTTP"), always=True)
        provider.limiter.on_answer()

        with pytest.raises(LLMUnavailableError, match=r"in 3 tries \(it is not HTTP\)$"):
            await provider.ask()

    run_in_virtual_time(story)


@pytest.mark.parametrize(("seconds", "tries"), [(40.0, 2), (60.0, 1)])
def test_a_try_is_not_made_when_less_time_is_left_than_the_last_one_took(seconds: float, tries: int) -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, failure(Kind.TRANSIENT), seconds=seconds, always=True)

        with pytest.raises(LLMUnavailableError):
            await provider.ask(Timeouts(120.0, 100.0))

        assert len(provider.sent_at) == tries

    run_in_virtual_time(story)


def test_requests_that_a_transport_repeats_count_as_retries() -> None:
    async def story(clock: Clock) -> None:
        twice = Failure(Kind.TRANSIENT, "broken", retries=1)
        provider = Provider(clock, twice)

        assert await provider.ask() == (ANSWER, 2)

    run_in_virtual_time(story)


def test_a_refused_key_is_named_as_the_provider_names_it() -> None:
    async def story(clock: Clock) -> None:
        provider = Provider(clock, Failure(Kind.SETUP, "401: no", 401))
        provider.label = "deepseek/x"

        with pytest.raises(LLMSetupError, match="check LLM_API_KEY or DEEPSEEK_API_KEY"):
            await provider.ask()

    run_in_virtual_time(story)

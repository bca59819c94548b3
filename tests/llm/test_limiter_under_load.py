"""A whole run against a provider with limits and faults, in virtual time: its time and its refusals."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from support.load import FixedWindow, Provider, TokenBucket
from support.virtual_time import run_in_virtual_time

Setup = Callable[[Provider], None]


def run(setup: Setup, calls: int = 2000, maximum: int = 64) -> tuple[Provider, float]:
    """The provider after the run, and how many seconds it took."""

    async def story(clock: Callable[[], float]) -> tuple[Provider, float]:
        random.seed(0)  # retries wait for random times
        provider = Provider(clock, maximum=maximum)
        setup(provider)
        return provider, await provider.run(calls)

    return run_in_virtual_time(story)


def _with_bucket(rate: float, burst: float | None = None, *, shown: bool = False) -> Setup:
    def setup(provider: Provider) -> None:
        provider.bucket = TokenBucket(provider.clock, rate, burst)
        provider.shows_quotas = shown

    return setup


def test_faults_of_every_kind_cost_little_more_than_one_hung_request() -> None:
    def setup(provider: Provider) -> None:
        provider.rates = {"429": 0.05, "500": 0.03, "hang": 0.01, "malformed": 0.01}

    provider, seconds = run(setup)

    assert seconds <= 45
    assert provider.limiter.limit == 64
    assert provider.limiter.rate is None


@pytest.mark.parametrize("seed", [4, 20, 34, 45])
def test_a_call_that_hangs_again_does_not_cost_a_second_full_wait(seed: int) -> None:
    def setup(provider: Provider) -> None:
        provider.random = random.Random(seed)
        provider.rates = {"429": 0.05, "500": 0.03, "hang": 0.01, "malformed": 0.01}

    _, seconds = run(setup)

    assert seconds <= 45


def test_slow_answers_are_waited_for_although_some_requests_hang() -> None:
    def setup(provider: Provider) -> None:
        provider.rates = {"hang": 0.01, "slow": 0.01}

    provider, _ = run(setup)

    assert provider.accepted == 2000  # none of the slow ones was sent, and paid for, twice


def test_isolated_failures_keep_four_fifths_of_the_rate() -> None:
    def setup(provider: Provider) -> None:
        provider.latency = 0.2
        provider.rates = {"500": 0.03}

    _, seconds = run(setup)

    assert 2000 * 0.2 / 64 / seconds >= 0.8


def test_a_few_refusals_at_random_do_not_stop_the_others() -> None:
    def setup(provider: Provider) -> None:
        provider.rates = {"429": 0.05}

    _, seconds = run(setup)

    assert seconds < 8  # a pause of one second for each of the first ten would take longer


def test_a_token_bucket_is_used_up_with_few_refusals() -> None:
    provider, seconds = run(_with_bucket(60.0))

    assert (2000 - 60) / 60 / seconds >= 0.95
    assert provider.refused / provider.sent <= 0.05


def test_a_token_bucket_that_is_described_in_headers_refuses_almost_nothing() -> None:
    provider, seconds = run(_with_bucket(60.0, shown=True))

    assert (2000 - 60) / 60 / seconds >= 0.95
    assert provider.refused / provider.sent <= 0.01


def test_a_fixed_window_that_is_described_in_headers_is_waited_for() -> None:
    def setup(provider: Provider) -> None:
        provider.bucket = FixedWindow(provider.clock, 60.0, 600.0)
        provider.shows_quotas = True

    provider, seconds = run(setup)

    assert provider.refused == 0
    assert seconds < 31  # three whole windows of ten seconds pass


def test_a_limit_that_is_halved_and_doubled_again_is_followed_within_seconds() -> None:
    def setup(provider: Provider) -> None:
        bucket = provider.bucket = TokenBucket(provider.clock, 60.0)
        loop = asyncio.get_running_loop()
        loop.call_later(15.0, bucket.change, 30.0)
        loop.call_later(30.0, bucket.change, 60.0)

    provider, _ = run(setup, 3000)

    assert provider.accepted_between(17.0, 30.0) >= 0.95 * 30
    assert provider.accepted_between(40.0, 50.0) >= 0.95 * 60
    assert provider.refused / provider.sent <= 0.07


def test_hung_requests_do_not_hold_the_places_of_a_learned_limit() -> None:
    def setup(provider: Provider) -> None:
        provider.bucket = TokenBucket(provider.clock, 20.0)
        provider.rates = {"hang": 0.02}

    _, seconds = run(setup, 1000)

    assert seconds <= (1000 - 20) / 20 + 31  # the latest hung request ends after all others, and is retried


def test_more_at_once_than_the_provider_takes() -> None:
    def setup(provider: Provider) -> None:
        provider.most_at_once = 20
        provider.retry_after = None

    provider, seconds = run(setup)

    assert provider.refused / provider.sent <= 0.15
    assert seconds < 15

"""The budget lets a job exceed a limit by at most what one record uses, however many are in flight."""

from __future__ import annotations

import random

import pytest

from penstock.entities import Constraints, Usage
from penstock.jobs.budget import Budget

TEN = Usage(input_tokens=7, output_tokens=3)


def run_records(budget: Budget, concurrency: int, usages: list[Usage]) -> tuple[int, str | None]:
    """Begin records whenever the budget admits one, finish them in any order; records made, limit reached."""
    waiting, exceeded = list(usages), None
    in_flight: list[Usage] = []
    order = random.Random(7)
    while True:
        while waiting and exceeded is None and len(in_flight) < concurrency and budget.admits():
            budget.begin()
            in_flight.append(waiting.pop(0))
        if not in_flight:
            return budget.finished, exceeded
        used = in_flight.pop(order.randrange(len(in_flight)))
        exceeded = budget.finish(used) or exceeded


def started(budget: Budget, finished: int, in_flight: int, usage: Usage = TEN) -> Budget:
    """The budget after some records have finished and others have begun."""
    for _ in range(finished):
        budget.begin()
        budget.finish(usage)
    for _ in range(in_flight):
        budget.begin()
    return budget


@pytest.mark.row("A45", "D7")
@pytest.mark.parametrize("concurrency", [1, 2, 5, 64])
def test_a_limit_of_25_tokens_makes_exactly_three_records_of_ten_at_any_concurrency(concurrency: int) -> None:
    budget = Budget(Constraints(max_total_tokens=25))

    made, exceeded = run_records(budget, concurrency, [TEN] * 50)

    assert (made, exceeded) == (3, "max_total_tokens")


@pytest.mark.row("A46")
def test_a_limit_of_zero_stops_after_the_first_record() -> None:
    budget = Budget(Constraints(max_total_tokens=0))

    made, exceeded = run_records(budget, 8, [TEN] * 5)

    assert (made, exceeded) == (1, "max_total_tokens")


@pytest.mark.row("A47")
def test_of_two_limits_that_are_reached_the_first_in_the_contracts_order_is_named() -> None:
    budget = Budget(Constraints(max_total_output_tokens=1, max_total_input_tokens=1))

    _, exceeded = run_records(budget, 1, [TEN] * 5)

    assert exceeded == "max_total_input_tokens"


@pytest.mark.row("D7")
@pytest.mark.parametrize("concurrency", [1, 4, 64])
@pytest.mark.parametrize("limit", [1, 9, 100, 101, 555])
def test_usage_exceeds_a_limit_by_at_most_one_record_of_even_size(limit: int, concurrency: int) -> None:
    budget = Budget(Constraints(max_total_tokens=limit))

    run_records(budget, concurrency, [TEN] * 200)

    assert limit <= budget.spent.total_tokens < limit + TEN.total_tokens


@pytest.mark.row("A44")
@pytest.mark.parametrize("limit", [-1, None])
def test_minus_one_and_none_are_no_limit(limit: int | None) -> None:
    budget = Budget(Constraints(max_total_tokens=limit))

    made, exceeded = run_records(budget, 8, [TEN] * 100)

    assert (made, exceeded) == (100, None)


def test_without_a_limit_any_number_of_records_may_begin() -> None:
    assert started(Budget(Constraints()), finished=0, in_flight=1000).admits()


# --- what is in flight


@pytest.mark.row("D7")
def test_the_first_record_runs_alone() -> None:
    budget = Budget(Constraints(max_total_tokens=1000))

    assert budget.admits()
    assert not started(budget, finished=0, in_flight=1).admits()


@pytest.mark.row("D7")
@pytest.mark.parametrize(("in_flight", "admitted"), [(0, True), (2, True), (3, False)])
def test_at_most_as_many_records_are_in_flight_as_have_finished(in_flight: int, admitted: bool) -> None:
    budget = Budget(Constraints(max_total_tokens=1000))

    assert started(budget, finished=3, in_flight=in_flight).admits() is admitted


@pytest.mark.row("D7")
@pytest.mark.parametrize(
    ("limit", "usage"),
    [
        ("max_total_tokens", Usage(input_tokens=7, output_tokens=3)),
        ("max_total_input_tokens", Usage(input_tokens=10)),
        ("max_total_output_tokens", Usage(output_tokens=10)),
        ("max_total_cached_tokens", Usage(cached_tokens=10)),
        ("max_total_cost", Usage(cost=10.0)),
    ],
)
def test_records_in_flight_are_expected_to_use_what_the_largest_used(limit: str, usage: Usage) -> None:
    """Five records of 10 have finished, so with three in flight 80 are expected."""
    below, reached = (
        started(Budget(Constraints.model_validate({limit: most})), finished=5, in_flight=3, usage=usage)
        for most in (81, 80)
    )

    assert below.admits()
    assert not reached.admits()


@pytest.mark.row("D7")
@pytest.mark.parametrize(
    ("limit", "kind"),
    [
        ("max_total_input_tokens", "input_tokens"),
        ("max_total_output_tokens", "output_tokens"),
        ("max_total_cached_tokens", "cached_tokens"),
        ("max_total_cost", "cost"),
    ],
)
def test_the_largest_record_counts_and_not_the_last(limit: str, kind: str) -> None:
    budget = Budget(Constraints.model_validate({limit: 100}))
    for amount in (40, 1, 1):
        budget.begin()
        budget.finish(Usage(**{kind: amount}))
    budget.begin()

    admitted_with_one = budget.admits()
    budget.begin()

    assert admitted_with_one  # 42 + 40 are below 100
    assert not budget.admits()  # 42 + 2 * 40 are not


@pytest.mark.row("D7")
@pytest.mark.parametrize(("limit", "admitted"), [(1070, True), (1030, False)])
def test_a_record_in_flight_is_expected_to_take_as_long_as_the_slowest(limit: float, admitted: bool) -> None:
    budget = Budget(Constraints(max_total_execution_time=limit), seconds=1000.0)
    for seconds in (50.0, 1.0):
        budget.begin()
        budget.finish(Usage(start_time=100.0, end_time=100.0 + seconds))
    budget.begin()

    assert budget.admits() is admitted


def test_a_record_of_unknown_price_ends_what_is_known_of_the_cost() -> None:
    budget = Budget(Constraints(max_total_cost=1.0))

    made, exceeded = run_records(budget, 4, [Usage(cost=None)] * 10)

    assert (made, exceeded) == (10, None)


def test_money_is_limited_too() -> None:
    budget = Budget(Constraints(max_total_cost=0.10))

    made, exceeded = run_records(budget, 4, [Usage(cost=0.04)] * 10)

    assert (made, exceeded) == (3, "max_total_cost")


# --- earlier runs


@pytest.mark.row("A50")
@pytest.mark.parametrize(
    "spent",
    [
        Usage(input_tokens=20, output_tokens=10),
        Usage(input_tokens=30),
        Usage(output_tokens=30),
    ],
)
def test_what_earlier_runs_spent_counts(spent: Usage) -> None:
    budget = Budget(Constraints(max_total_tokens=25), spent=spent)

    assert not budget.admits()
    assert budget.find_exceeded() == "max_total_tokens"


@pytest.mark.parametrize("limit", ["max_total_cached_tokens", "max_total_cost", "max_total_execution_time"])
def test_cached_tokens_money_and_time_of_earlier_runs_count_too(limit: str) -> None:
    spent = Usage(cached_tokens=30, cost=30.0)

    assert not Budget(Constraints.model_validate({limit: 25}), spent=spent, seconds=30.0).admits()


@pytest.mark.parametrize(
    ("limit", "spent", "seconds"),
    [
        ("max_total_cached_tokens", Usage(cached_tokens=1), 0.0),
        ("max_total_cost", Usage(cost=0.01), 0.0),
        ("max_total_execution_time", Usage(), 1.0),
    ],
)
def test_a_limit_of_zero_admits_nothing_once_something_was_used(
    limit: str, spent: Usage, seconds: float
) -> None:
    assert not Budget(Constraints.model_validate({limit: 0}), spent=spent, seconds=seconds).admits()


def test_a_job_that_spent_nothing_before_may_begin_though_its_limit_is_zero() -> None:
    assert Budget(Constraints(max_total_cost=0.0), spent=Usage()).admits()


def test_the_time_of_earlier_runs_is_part_of_the_jobs_time() -> None:
    assert 100.0 <= Budget(Constraints(), seconds=100.0).seconds < 110.0

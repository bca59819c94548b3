"""A budget lets a job pass a limit by at most what one record uses, however many are in flight."""

from __future__ import annotations

import random

import pytest

from penstock.entities import Constraints, Usage
from penstock.jobs.budget import Budget

TEN = Usage(input_tokens=7, output_tokens=3)


def _work_off(budget: Budget, concurrency: int, uses: list[Usage]) -> tuple[int, str | None]:
    """Begin records as soon as the budget allows, finish them in any order; records made, limit reached."""
    waiting, exceeded = list(uses), None
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


@pytest.mark.row("A45", "D7")
@pytest.mark.parametrize("concurrency", [1, 2, 5, 64])
def test_a_limit_of_25_tokens_makes_exactly_three_records_of_ten_at_any_concurrency(concurrency: int) -> None:
    budget = Budget(Constraints(max_total_tokens=25))

    made, exceeded = _work_off(budget, concurrency, [TEN] * 50)

    assert (made, exceeded) == (3, "max_total_tokens")


@pytest.mark.row("A46")
def test_a_limit_of_zero_stops_after_the_first_record() -> None:
    budget = Budget(Constraints(max_total_tokens=0))

    made, exceeded = _work_off(budget, 8, [TEN] * 5)

    assert (made, exceeded) == (1, "max_total_tokens")


@pytest.mark.row("A47")
def test_of_two_limits_that_are_reached_the_first_in_the_contracts_order_is_named() -> None:
    budget = Budget(Constraints(max_total_output_tokens=1, max_total_input_tokens=1))

    _, exceeded = _work_off(budget, 1, [TEN] * 5)

    assert exceeded == "max_total_input_tokens"


@pytest.mark.row("D7")
@pytest.mark.parametrize("concurrency", [1, 4, 64])
@pytest.mark.parametrize("limit", [1, 9, 100, 101, 555])
def test_usage_passes_a_limit_by_at_most_one_record_of_even_size(limit: int, concurrency: int) -> None:
    budget = Budget(Constraints(max_total_tokens=limit))

    _work_off(budget, concurrency, [TEN] * 200)

    assert limit <= budget.spent.total_tokens < limit + TEN.total_tokens


@pytest.mark.row("A44")
@pytest.mark.parametrize("limit", [-1, None])
def test_minus_one_and_none_are_no_limit(limit: int | None) -> None:
    budget = Budget(Constraints(max_total_tokens=limit))

    made, exceeded = _work_off(budget, 8, [TEN] * 100)

    assert (made, exceeded) == (100, None)


def test_what_earlier_runs_spent_counts() -> None:
    budget = Budget(Constraints(max_total_tokens=25), spent=Usage(input_tokens=20, output_tokens=10))

    assert not budget.admits()


def test_a_job_that_spent_nothing_before_may_begin_though_its_limit_is_zero() -> None:
    assert Budget(Constraints(max_total_cost=0.0), spent=Usage()).admits()


def test_money_is_limited_too() -> None:
    budget = Budget(Constraints(max_total_cost=0.10))

    made, exceeded = _work_off(budget, 4, [Usage(cost=0.04)] * 10)

    assert (made, exceeded) == (3, "max_total_cost")

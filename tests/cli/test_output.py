"""Amounts, durations and counts as commands print them."""

from __future__ import annotations

import pytest

from penstock.cli.output import format_duration, format_money, pluralize


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(None, "price unknown"), (0.0, "$0.00"), (0.01234, "$0.0123"), (1.0, "$1.00"), (12.345, "$12.35")],
)
def test_small_amounts_have_more_decimals(dollars: float | None, text: str) -> None:
    assert format_money(dollars) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (3660, "1 h 01 min")],
)
def test_durations_are_shown_in_seconds_minutes_or_hours(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_only_one_is_singular() -> None:
    assert [pluralize(count, "record") for count in (0, 1, 2)] == ["0 records", "1 record", "2 records"]

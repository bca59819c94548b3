"""The gate that compares samples."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError
from penstock.gates.builtin.similarity import SimilarityGate


def look_at_samples(*samples: Any, least: float = 0.97, part: str | None = None) -> Any:
    made = [{"text": sample} for sample in samples]
    return SimilarityGate(part, least).look(Parts(made[0], samples=made))


def test_a_single_sample_is_skipped() -> None:
    verdict = look_at_samples("one")

    assert verdict.skipped == "a single sample cannot disagree"
    assert SimilarityGate().look(Parts({"text": "one"})).skipped


def test_samples_that_differ_only_in_spacing_or_key_order_pass() -> None:
    assert look_at_samples("x = f(1)", "x  =  f( 1 )").passed
    assert look_at_samples({"a": 1, "b": 2}, {"b": 2, "a": 1}).passed


def test_the_two_least_similar_samples_decide() -> None:
    verdict = look_at_samples("a b c d", "a b c d", "a b x y")

    (finding,) = verdict.findings
    assert finding.part == "text"
    assert finding.message == "the samples of text disagree: two of 3 are alike by 0.50 of 0.97"
    assert look_at_samples("a b c d", "a b x y", least=0.5).passed


def test_a_part_that_some_samples_lack_is_a_finding() -> None:
    verdict = look_at_samples({"a": "x"}, {}, part="text.a")

    assert [finding.message for finding in verdict.findings] == ["1 of 2 samples have no a"]


def test_long_and_repetitive_samples_are_compared() -> None:
    assert not look_at_samples("a " * 50_000, "b " * 50_000).passed
    assert look_at_samples("a " * 50_000, "a " * 49_999 + "b").passed
    assert not look_at_samples(None, 10**400, 10**5000, least=1.0).passed


def test_a_minimum_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(DefinitionError, match="write a number between 0 and 1"):
        SimilarityGate(min_similarity=97)

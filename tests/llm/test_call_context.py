"""What calls belong to."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from penstock.llm import CallContext, current_call_context, seed_digest, use_call_context


@pytest.mark.parametrize(
    ("variables", "digest"),
    [
        ({}, "bf78e4a953b40eee238ca2e9"),
        (
            {
                "topic": "tides",
                "n": 3,
                "nested": {"b": [1, 2.5, None, True], "a": "é"},
                "text": 'line\nbreak "quoted"',
            },
            "1db769a4bf01ae4e52ee0683",
        ),
        ({1: "a", "day": date(2024, 5, 1), "nan": float("nan")}, "d920222da356c52efa314bbb"),
    ],
)
def test_the_digest_of_a_seed_is_the_one_that_existing_journals_hold(
    variables: dict[Any, Any], digest: str
) -> None:
    assert seed_digest(variables) == digest
    assert seed_digest(dict(reversed(variables.items()))) == digest


def test_another_value_has_another_digest() -> None:
    digests = {seed_digest({"x": value}) for value in (1, "1", 1.0, True, None, [1], 2**70)}

    assert len(digests) == 7


def test_contexts_nest() -> None:
    outer, inner = CallContext(), CallContext()

    with use_call_context(outer):
        with use_call_context(inner) as entered:
            assert entered is inner is current_call_context()
        assert current_call_context() is outer

    assert current_call_context() is None
